# Bootimages of every kind, from power-on to their own words.
add_test(NAME integration-boot
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_boot.py)
set_tests_properties(integration-boot PROPERTIES LABELS integration TIMEOUT 120
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR}")
add_test(NAME integration-seabios
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_seabios.py)
set_tests_properties(integration-seabios PROPERTIES LABELS integration TIMEOUT 300
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR}")
