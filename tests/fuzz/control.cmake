qvm_fuzzer(conf conf)
