# qvm: the configuration, the conversation with qvmd, the life around a VM.
add_library(qvm-plan STATIC plan/plan.c plan/cpu.c plan/firmware.c plan/memory.c plan/vdev.c plan/policy.c
  plan/log.c plan/pass.c plan/pass_memory.c plan/set.c plan/needs.c plan/print.c plan/json.c plan/json_out.c)
target_link_libraries(qvm-plan PUBLIC conf loc words qvm-core)

add_library(qvm-control STATIC control/control.c control/peer.c control/ask.c
  control/exit_record.c control/reset_pace.c)
target_link_libraries(qvm-control PUBLIC proto base PRIVATE PkgConfig::UV)

add_executable(qvm main.c alone.c under.c dump_opener.c under_act.c under_host.c under_state.c life.c run.c
  run_events.c run_passed.c run_vdevs.c dryrun.c dryrun_images.c control/grant.c control/spare_memory.c plan/sources.c signals.c control/spare.c
  console/terminal.c)
target_sources(qvm PRIVATE control/command.c control/delayed.c control/listen.c under_birth.c under_cables.c under_check.c under_connect.c under_helper.c under_shmem.c)
target_compile_definitions(qvm PRIVATE QVM_VERSION="${PROJECT_VERSION}"
  QVM_VDEVDIR="${QVM_VDEVDIR}")
target_link_libraries(qvm PRIVATE qvm-control qvm-plan qvm-vfio qvm-ports qvm-hostmem vdev-host qvm-core proto conf
  PkgConfig::UV Threads::Threads)
install(TARGETS qvm RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/qvm)
install(FILES qvm.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES qvmconf.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
