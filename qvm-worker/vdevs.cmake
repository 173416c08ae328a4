# The console, and the host of vdevs; included by the room's parts list.
add_library(console STATIC ${CMAKE_CURRENT_LIST_DIR}/console.c
  ${CMAKE_CURRENT_LIST_DIR}/console_session.c)
target_link_libraries(console PUBLIC console-ring base PRIVATE PkgConfig::UV Threads::Threads)
