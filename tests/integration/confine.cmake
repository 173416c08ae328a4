# What a qvm cannot do, and the spares that wait confined.
set(has_door 1)
if(QVM_SANITIZE)
  set(has_door 0) # lockdown.h
endif()
foreach(test spare confined)
  add_test(NAME integration-${test}
    COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_${test}.py)
  set_tests_properties(integration-${test} PROPERTIES LABELS integration TIMEOUT 300
    SKIP_RETURN_CODE 77 ENVIRONMENT
    "QVM_BUILD=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1;QVM_HAS_DOOR=${has_door}")
endforeach()
