qvm_unit_test(shmem_reply qvm-shmem)
