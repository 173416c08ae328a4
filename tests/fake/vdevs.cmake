# vdev-static-NAME: a vdev linked into a test, its module under a name of its own, with the fake
# slot below it. emulated_vdevs.inc lists them for the tests of all: VDEV(NAME) for each.
set(emulated_vdevs 8259 debug-exit debugcon flash fw-cfg hpet ioapic mc146818 pckeyboard progress ser8250
  test-dev timer8254 wdt-ib700)
set(emulated_vdevs_static ${emulated_vdevs})
list(TRANSFORM emulated_vdevs_static PREPEND vdev-static-)

# virtio_vdevs.inc lists those of virtio in the same way.
set(virtio_vdevs balloon blk console entropy input net)
set(virtio_vdevs_static ${virtio_vdevs})
list(TRANSFORM virtio_vdevs_static PREPEND vdev-static-virtio-)

if(NOT TARGET fake-vdev-slot)
  set(root ${CMAKE_CURRENT_LIST_DIR}/../..)
  set(emulated_vdevs_dir ${CMAKE_BINARY_DIR}/tests/fake)
  add_library(fake-vdev-slot STATIC ${root}/tests/fake/vdev_slot.c
    ${root}/tests/fake/vdev_slot_backend.c
    ${root}/tests/fake/vdev_slot_image.c
    ${root}/tests/fake/vdev_slot_memory.c
    ${root}/tests/fake/vdev_slot_network.c
    ${root}/tests/fake/vdev_slot_ports.c
    ${root}/tests/fake/vdev_slot_sockets.c
    ${root}/tests/fake/vdev_slot_tap.c
    ${root}/tests/fake/vdev_drive.c)
  target_link_libraries(fake-vdev-slot PUBLIC vdev-fields qvm-vdev-header qvm-flags)
  target_include_directories(fake-vdev-slot PUBLIC ${emulated_vdevs_dir})

  set(sources_of_mc146818 mc146818_save.c mc146818_time.c)
  set(sources_of_ser8250 ser8250_save.c)
  set(sources_of_flash flash_file.c)
  set(sources_of_virtio_console virtio_console_control.c)
  set(sources_of_hpet hpet_save.c)
  set(sources_of_pckeyboard pckeyboard_keys.c pckeyboard_save.c)
  set(sources_of_timer8254 timer8254_counter.c)
  set(sources_of_virtio_net net_filter.c net_frame.c net_mac.c virtio_net_control.c virtio_net_kernel.c virtio_net_receive.c virtio_net_send.c)
  set(inc "")
  foreach(name ${emulated_vdevs})
    string(REPLACE "-" "_" symbol ${name})
    set(sources vdev-${name}.c ${sources_of_${name}})
    list(TRANSFORM sources PREPEND ${root}/vdevs/)
    add_library(vdev-static-${name} STATIC ${sources})
    target_link_libraries(vdev-static-${name} PUBLIC fake-vdev-slot)
    target_compile_definitions(vdev-static-${name} PRIVATE qvm_vdev_module=vdev_${symbol}_module)
    string(APPEND inc "VDEV(${symbol})\n")
  endforeach()
  file(CONFIGURE OUTPUT ${emulated_vdevs_dir}/emulated_vdevs.inc CONTENT "${inc}")

  add_library(vdev-static-shmem STATIC ${root}/vdevs/vdev-shmem.c ${root}/tests/fake/vdev_shmem.c)
  target_link_libraries(vdev-static-shmem PUBLIC fake-vdev-slot)
  target_compile_definitions(vdev-static-shmem PRIVATE qvm_vdev_module=vdev_shmem_module)

  add_library(vdev-static-vhost-user STATIC ${root}/vdevs/vdev-vhost-user.c
    ${root}/vdevs/vhost_user.c)
  target_link_libraries(vdev-static-vhost-user PUBLIC fake-vdev-slot virtio)
  target_compile_definitions(vdev-static-vhost-user PRIVATE qvm_vdev_module=vdev_vhost_user_module)

  add_library(vdev-static-virtio-vsock STATIC ${root}/vdevs/vdev-virtio-vsock.c
    ${root}/vdevs/virtio_vsock_call.c ${root}/vdevs/virtio_vsock_connection.c
    ${root}/vdevs/virtio_vsock_kernel.c ${root}/vdevs/virtio_vsock_packet.c)
  target_link_libraries(vdev-static-virtio-vsock PUBLIC fake-vdev-slot virtio)
  target_compile_definitions(vdev-static-virtio-vsock
    PRIVATE qvm_vdev_module=vdev_virtio_vsock_module)

  add_library(fake-virtio-ring STATIC ${root}/tests/fake/packed_ring.c
    ${root}/tests/fake/virtio_ring.c)
  target_link_libraries(fake-virtio-ring PUBLIC fake-vdev-slot)
  set(inc "")
  set(sources_of_virtio_blk virtio_blk_request.c)
  foreach(name ${virtio_vdevs})
    set(sources vdev-virtio-${name}.c ${sources_of_virtio_${name}})
    list(TRANSFORM sources PREPEND ${root}/vdevs/)
    add_library(vdev-static-virtio-${name} STATIC ${sources})
    target_link_libraries(vdev-static-virtio-${name} PUBLIC fake-vdev-slot virtio)
    target_compile_definitions(vdev-static-virtio-${name}
      PRIVATE qvm_vdev_module=vdev_virtio_${name}_module)
    string(APPEND inc "VDEV(virtio_${name})\n")
  endforeach()
  file(CONFIGURE OUTPUT ${emulated_vdevs_dir}/virtio_vdevs.inc CONTENT "${inc}")
endif()
