include(${CMAKE_CURRENT_LIST_DIR}/../fake/vdevs.cmake)
qvm_fuzzer(vdev vdev-static-ser8250 vdev-static-mc146818 vdev-static-pckeyboard)
