qvm_unit_test(keys proto)
qvm_unit_test(words words)
qvm_unit_test(msg proto)
qvm_unit_test(settings proto)
