qvm_unit_test(console_ring console-ring)
