qvm_unit_test(store qvmd-store)
qvm_unit_test(reserve qvmd-reserve)
