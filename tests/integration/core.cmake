# The machine on the real /dev/kvm, and the door of its threads. No door in sanitized builds.
add_executable(machine_driver machine_driver.c)
target_link_libraries(machine_driver PRIVATE qvm-core)
foreach(room machine lockdown)
  add_executable(test_${room} test_${room}.c)
  target_link_libraries(test_${room} PRIVATE qvm-core PkgConfig::CHECK)
  add_test(NAME integration-${room} COMMAND test_${room})
  set_tests_properties(integration-${room} PROPERTIES LABELS integration TIMEOUT 180
    ENVIRONMENT CK_DEFAULT_TIMEOUT=60)
endforeach()
