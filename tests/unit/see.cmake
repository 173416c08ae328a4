qvm_unit_test(counters counters)
qvm_unit_test(usage qvmd-host Threads::Threads)
