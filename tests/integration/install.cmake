# The installed programs, by the paths that were compiled into them.
add_test(NAME integration-install
  COMMAND ${CMAKE_CURRENT_LIST_DIR}/test_install.sh ${CMAKE_BINARY_DIR})
set_tests_properties(integration-install PROPERTIES LABELS integration TIMEOUT 120)
