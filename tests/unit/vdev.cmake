include(${CMAKE_CURRENT_LIST_DIR}/../fake/vdevs.cmake)
foreach(name ${emulated_vdevs})
  qvm_unit_test(vdev_${name} vdev-static-${name})
endforeach()
qvm_unit_test(vdev_ser8250_fifo vdev-static-ser8250)
qvm_unit_test(vdev_flash_shown vdev-static-flash)
qvm_unit_test(vdev_shmem vdev-static-shmem)
qvm_unit_test(vdev_apart ${emulated_vdevs_static})
qvm_unit_test(vdev_fields vdev-fields)
qvm_unit_test(vdev_save ${emulated_vdevs_static})
qvm_unit_test(coalesce vdev-host qvm-core console PkgConfig::UV)

# Modules for the test of the host, in a folder of their own: the sample, and broken ones.
set(vdev_test_dir ${CMAKE_CURRENT_BINARY_DIR}/test-vdevs)
qvm_vdev_module(sample ${CMAKE_CURRENT_LIST_DIR}/../../vdevs/sample/vdev-sample.c)
set_target_properties(vdev-sample PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${vdev_test_dir})
set(vdev_test_modules vdev-sample)
foreach(what abi size symbol pointer name option operation device words lines timers clash twice)
  qvm_vdev_module(broken-${what} ${CMAKE_CURRENT_LIST_DIR}/../data/vdev-broken.c)
  string(TOUPPER BROKEN_${what} upper)
  target_compile_definitions(vdev-broken-${what} PRIVATE ${upper} NAME=broken-${what})
  set_target_properties(vdev-broken-${what} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${vdev_test_dir})
  list(APPEND vdev_test_modules vdev-broken-${what})
endforeach()
# Modules of the header that was released first, which is kept, of one that is still to come, one that
# fails at work, and one on PCI that is rung.
foreach(name old later fail bell)
  qvm_vdev_module(${name} ${CMAKE_CURRENT_LIST_DIR}/../data/vdev-${name}.c)
  set_target_properties(vdev-${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${vdev_test_dir})
  list(APPEND vdev_test_modules vdev-${name})
endforeach()
qvm_unit_test(loc loc)
foreach(name vdev_host vdev_host_run vdev_host_save vdev_host_pci vdev_sockets virtio_console_host)
  qvm_unit_test(${name} vdev-host qvm-core console PkgConfig::UV)
  target_compile_definitions(test_${name} PRIVATE TEST_VDEV_DIR="${vdev_test_dir}"
    REAL_VDEV_DIR="$<TARGET_FILE_DIR:vdev-ser8250>")
  add_dependencies(test_${name} ${vdev_test_modules} vdev-ser8250 vdev-mc146818 vdev-pckeyboard
    vdev-hpet vdev-timer8254 vdev-virtio-vsock vdev-virtio-console)
endforeach()

add_test(NAME unit-vdev-outside COMMAND ${CMAKE_CURRENT_LIST_DIR}/vdev_outside.sh
  ${CMAKE_C_COMPILER} ${CMAKE_BINARY_DIR} ${CMAKE_CURRENT_LIST_DIR}/../../vdevs/sample/vdev-sample.c)
set_tests_properties(unit-vdev-outside PROPERTIES LABELS unit TIMEOUT 60)
