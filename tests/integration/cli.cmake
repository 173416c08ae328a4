# qvmctl: against a qvmd that says what a test wants, then against the real one.
foreach(test cli cli_read cli_many cli_hostile cli_shells cli_console cli_qvmd cli_examples cli_npm)
  add_test(NAME integration-${test}
    COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_${test}.py)
  set_tests_properties(integration-${test} PROPERTIES LABELS integration TIMEOUT 300
    SKIP_RETURN_CODE 77 ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR}")
endforeach()
