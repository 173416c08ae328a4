qvm_fuzzer(loader qvm-core)
