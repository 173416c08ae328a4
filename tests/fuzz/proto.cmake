qvm_fuzzer(msg proto)
