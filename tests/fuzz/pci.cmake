qvm_fuzzer(pci qvm-core)
