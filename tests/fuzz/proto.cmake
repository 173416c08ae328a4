qvm_fuzzer(msg proto)
qvm_fuzzer(settings proto)
