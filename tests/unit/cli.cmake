qvm_unit_test(cli_text cli)
qvm_unit_test(cli_options cli)
qvm_unit_test(cli_sources cli)
qvm_unit_test(docs cli)
