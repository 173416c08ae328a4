qvm_unit_test(memory qvm-core)
qvm_unit_test(bus qvm-core)
