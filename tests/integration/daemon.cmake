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

# qvmd with crash points in every kind of build: QVM_CRASH_AT=N kills it at its N-th durable step.
# The store's objects stand before its library, so that these are the ones that are taken.
file(GLOB store_sources ${CMAKE_SOURCE_DIR}/daemon/store*.c)
file(GLOB ops_sources ${CMAKE_SOURCE_DIR}/daemon/ops*.c)
add_executable(qvmd_crashing ${CMAKE_SOURCE_DIR}/daemon/main.c ${CMAKE_SOURCE_DIR}/daemon/rooms.c
  ${ops_sources} ${store_sources})
target_compile_definitions(qvmd_crashing PRIVATE QVM_CRASH_POINTS QVM_VERSION="${PROJECT_VERSION}")
target_link_libraries(qvmd_crashing PRIVATE qvmd-options qvmd-server qvmd-guest PkgConfig::UV
  PkgConfig::SQLITE)
