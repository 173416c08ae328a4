include(${CMAKE_CURRENT_LIST_DIR}/../fake/vdevs.cmake)
qvm_fuzzer(vdev ${emulated_vdevs_static})
qvm_fuzzer(vdev_save ${emulated_vdevs_static})
qvm_fuzzer(shmem vdev-static-shmem)
