# qvm: alone on a terminal, and under a daemon that the test plays.
set(has_door 1)
if(QVM_SANITIZE)
  set(has_door 0) # lockdown.h
endif()
foreach(test qvm_alone qvm_words qvm_under chips)
  add_test(NAME integration-${test}
    COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_${test}.py)
  set_tests_properties(integration-${test} PROPERTIES LABELS integration TIMEOUT 120
    ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR};QVM_HAS_DOOR=${has_door}")
endforeach()
