# qvmd, driven through its API by tests/integration/qvmtest.py.
foreach(test act dump api cables console logs life adopt liar many cgroup policy seat order drain request_id service
    nice partitions shmem shmem_programs taps)
  add_test(NAME integration-${test}
    COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_${test}.py)
  set_tests_properties(integration-${test} PROPERTIES LABELS integration TIMEOUT 300
    SKIP_RETURN_CODE 77 ENVIRONMENT
    "QVM_BUILD=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")
endforeach()

add_test(NAME integration-real_time
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_real_time.py)
set_tests_properties(integration-real_time PROPERTIES LABELS integration TIMEOUT 120 RUN_SERIAL ON
  SKIP_RETURN_CODE 77 ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")

# A qvm that lies, for test_liar.py.
add_executable(fake_liar ${CMAKE_SOURCE_DIR}/tests/fake/liar.c
  ${CMAKE_SOURCE_DIR}/tests/fake/start.c)
target_link_libraries(fake_liar PRIVATE qvm-flags)

# A qvm without a guest that asks for devices, for tests/lab/device.
add_executable(fake_borrower ${CMAKE_SOURCE_DIR}/tests/fake/borrower.c
  ${CMAKE_SOURCE_DIR}/tests/fake/start.c)
target_link_libraries(fake_borrower PRIVATE qvm-flags)
