qvm_fuzzer(shmem_reply qvm-shmem)
