# qvmd, driven through its API by tests/integration/qvmtest.py.
find_program(QVM_PYTHON NAMES python3 REQUIRED)
foreach(test api life adopt liar many)
  add_test(NAME integration-${test}
    COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_${test}.py)
  set_tests_properties(integration-${test} PROPERTIES LABELS integration TIMEOUT 300
    SKIP_RETURN_CODE 77 ENVIRONMENT
    "QVM_BUILD=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")
endforeach()

# A qvm that lies, for test_liar.py.
add_executable(fake_liar ${CMAKE_SOURCE_DIR}/tests/fake/liar.c)
target_link_libraries(fake_liar PRIVATE qvm-flags)
