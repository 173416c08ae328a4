# The machine on the real /dev/kvm, and the door of its threads. No door in sanitized builds.
add_executable(machine_driver machine_driver.c)
target_link_libraries(machine_driver PRIVATE qvm-core)
add_library(machine-fixture STATIC machine_fixture.c)
target_link_libraries(machine-fixture PUBLIC qvm-core PkgConfig::CHECK)
foreach(test machine machine_events lockdown)
  add_executable(test_${test} test_${test}.c)
  target_link_libraries(test_${test} PRIVATE machine-fixture)
  add_test(NAME integration-${test} COMMAND test_${test})
  set_tests_properties(integration-${test} PROPERTIES LABELS integration TIMEOUT 180
    ENVIRONMENT CK_DEFAULT_TIMEOUT=60)
endforeach()
