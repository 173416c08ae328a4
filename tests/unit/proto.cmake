qvm_unit_test(words words)
qvm_unit_test(msg proto)
