qvm_unit_test(console_ring console-ring)
qvm_unit_test(console console PkgConfig::UV)
qvm_unit_test(console_typist console PkgConfig::UV)
