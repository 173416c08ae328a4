qvm_fuzzer(console console-ring)
