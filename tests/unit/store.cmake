qvm_unit_test(store qvmd-store)
qvm_unit_test(reserve qvmd-reserve)
qvm_unit_test(hand qvmd-hand PkgConfig::UV)
qvm_unit_test(hand_open qvmd-hand PkgConfig::UV)
