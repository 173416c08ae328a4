add_test(NAME integration-save
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_save.py)
set_tests_properties(integration-save PROPERTIES LABELS integration TIMEOUT 120
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR}")
