# The console, and the host of vdevs; included by the room's parts list.
add_library(console STATIC ${CMAKE_CURRENT_LIST_DIR}/console/bell.c
  ${CMAKE_CURRENT_LIST_DIR}/console/console.c ${CMAKE_CURRENT_LIST_DIR}/console/gather.c
  ${CMAKE_CURRENT_LIST_DIR}/console/session.c)
target_link_libraries(console PUBLIC console-ring base PRIVATE PkgConfig::UV Threads::Threads)

add_library(loc STATIC ${CMAKE_CURRENT_LIST_DIR}/loc.c)
target_link_libraries(loc PUBLIC conf base)

add_library(image STATIC ${CMAKE_CURRENT_LIST_DIR}/image/image.c
  ${CMAKE_CURRENT_LIST_DIR}/image/pool.c ${CMAKE_CURRENT_LIST_DIR}/image/probe.c
  ${CMAKE_CURRENT_LIST_DIR}/image/ring.c ${CMAKE_CURRENT_LIST_DIR}/image/helper.c
  ${CMAKE_CURRENT_LIST_DIR}/image/helper_open.c ${CMAKE_CURRENT_LIST_DIR}/image/helper_log.c
  ${CMAKE_CURRENT_LIST_DIR}/image/helper_follow.c)
target_link_libraries(image PUBLIC base vhost PRIVATE Threads::Threads)

add_library(vhost STATIC ${CMAKE_CURRENT_LIST_DIR}/vhost/vhost.c)
target_link_libraries(vhost PUBLIC base)

add_library(vdev-fields STATIC ${CMAKE_CURRENT_LIST_DIR}/fields.c)
target_link_libraries(vdev-fields PUBLIC base)

# The bus, guest memory and threads are those of qvm-core, which the program links.
add_library(vdev-host STATIC ${CMAKE_CURRENT_LIST_DIR}/vdev/host.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/kernel_open.c ${CMAKE_CURRENT_LIST_DIR}/vdev/tap_kernel.c ${CMAKE_CURRENT_LIST_DIR}/vhost/kernel.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/backend.c ${CMAKE_CURRENT_LIST_DIR}/vdev/backend_resume.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/again.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/chip.c ${CMAKE_CURRENT_LIST_DIR}/vdev/clock.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/implied.c ${CMAKE_CURRENT_LIST_DIR}/vdev/key.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/event.c ${CMAKE_CURRENT_LIST_DIR}/vdev/event_round.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/image.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/module.c ${CMAKE_CURRENT_LIST_DIR}/vdev/coalesce.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/shown.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/need.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/frames.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/network.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/option.c ${CMAKE_CURRENT_LIST_DIR}/vdev/ports.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/pci.c ${CMAKE_CURRENT_LIST_DIR}/vdev/save.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/service.c ${CMAKE_CURRENT_LIST_DIR}/vdev/shmem.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/shmem_rules.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/connect.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/sockets.c
  ${CMAKE_CURRENT_LIST_DIR}/vdev/state.c ${CMAKE_CURRENT_LIST_DIR}/vdev/stream.c)
target_link_libraries(vdev-host PUBLIC vhost vdev-fields image console loc conf base
  PRIVATE PkgConfig::UV Threads::Threads ${CMAKE_DL_LIBS})
