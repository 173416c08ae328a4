# qvm: the configuration, the conversation with qvmd, the life around a VM.
add_library(qvm-plan STATIC plan.c plan_vdev.c plan_set.c plan_needs.c plan_print.c)
target_link_libraries(qvm-plan PUBLIC conf words qvm-core)

add_library(qvm-control STATIC control.c control_peer.c ask.c exit_record.c reset_pace.c)
target_link_libraries(qvm-control PUBLIC proto base PRIVATE PkgConfig::UV)

add_executable(qvm main.c alone.c under.c under_state.c life.c run.c dryrun.c grant.c sources.c
  signals.c terminal.c)
target_compile_definitions(qvm PRIVATE QVM_VERSION="${PROJECT_VERSION}"
  QVM_VDEVDIR="${QVM_VDEVDIR}")
target_link_libraries(qvm PRIVATE qvm-control qvm-plan vdev-host qvm-core proto conf
  PkgConfig::UV Threads::Threads)
install(TARGETS qvm RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/qvm)
install(FILES qvm.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES qvmconf.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
