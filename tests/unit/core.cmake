qvm_unit_test(memory qvm-core)
qvm_unit_test(bus qvm-core)
qvm_unit_test(loader qvm-core)
