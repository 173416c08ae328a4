# The console, and the host of vdevs; included by the room's parts list.
add_library(console STATIC ${CMAKE_CURRENT_LIST_DIR}/console.c
  ${CMAKE_CURRENT_LIST_DIR}/console_session.c)
target_link_libraries(console PUBLIC console-ring base PRIVATE PkgConfig::UV Threads::Threads)

# The bus is whatever the program links: qvm-core, or a fake one in tests.
add_library(vdev-host STATIC ${CMAKE_CURRENT_LIST_DIR}/vdev_host.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev_host_module.c ${CMAKE_CURRENT_LIST_DIR}/vdev_host_option.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev_host_service.c)
target_link_libraries(vdev-host PUBLIC console conf base
  PRIVATE PkgConfig::UV Threads::Threads ${CMAKE_DL_LIBS})
