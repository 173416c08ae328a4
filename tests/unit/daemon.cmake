qvm_unit_test(guest_life qvmd-guest PkgConfig::UV)
qvm_unit_test(server qvmd-server PkgConfig::UV)
qvm_unit_test(instance qvmd-worker qvmd-options)
