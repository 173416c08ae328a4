# vdev-static-NAME: a vdev linked into a test, its module under a name of its own, with the fake
# slot below it.
if(NOT TARGET fake-vdev-slot)
  set(root ${CMAKE_CURRENT_LIST_DIR}/../..)
  add_library(fake-vdev-slot STATIC ${root}/tests/fake/vdev_slot.c)
  target_link_libraries(fake-vdev-slot PUBLIC qvm-vdev-header qvm-flags)
  foreach(name ser8250 mc146818 pckeyboard)
    add_library(vdev-static-${name} STATIC ${root}/vdevs/vdev-${name}.c)
    target_link_libraries(vdev-static-${name} PUBLIC fake-vdev-slot)
    target_compile_definitions(vdev-static-${name} PRIVATE qvm_vdev_module=vdev_${name}_module)
  endforeach()
  target_sources(vdev-static-mc146818 PRIVATE ${root}/vdevs/mc146818_time.c)
endif()
