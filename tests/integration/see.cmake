# What qvmd shows: events, figures.
foreach(test doctor events host metrics show stats top)
  add_test(NAME integration-${test}
    COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/test_${test}.py)
  set_tests_properties(integration-${test} PROPERTIES LABELS integration TIMEOUT 300
    SKIP_RETURN_CODE 77 ENVIRONMENT
    "QVM_BUILD=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")
endforeach()
