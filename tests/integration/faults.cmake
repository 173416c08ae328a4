# Faults of qvmd and of what it stands on: killed at each of its steps.
foreach(test crash hang hostile store upgrade)
  add_test(NAME integration-${test}
    COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_${test}.py)
  set_tests_properties(integration-${test} PROPERTIES LABELS integration TIMEOUT 600
    SKIP_RETURN_CODE 77 ENVIRONMENT
    "QVM_BUILD=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")
endforeach()

# qvmd with crash points (daemon/crash_point.h), in every kind of build: what names them is compiled
# once more, and stands before the libraries that have the real ones. Who comes to name one is seen
# here, for each change of a source has the list made again.
function(qvm_add_again target from)
  get_target_property(kind ${from} TYPE)
  if(NOT kind STREQUAL INTERFACE_LIBRARY)
    get_target_property(directory ${from} SOURCE_DIR)
    get_target_property(sources ${from} SOURCES)
    list(TRANSFORM sources PREPEND ${directory}/)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${sources})
    foreach(source ${sources})
      file(STRINGS ${source} points LIMIT_COUNT 1 REGEX "crash_point\\.h|QVM_CRASH_POINTS")
      if(points OR kind STREQUAL EXECUTABLE)
        target_sources(${target} PRIVATE ${source})
      endif()
    endforeach()
    target_compile_definitions(${target} PRIVATE
      $<FILTER:$<TARGET_PROPERTY:${from},COMPILE_DEFINITIONS>,EXCLUDE,^$>)
  endif()
  if(kind STREQUAL STATIC_LIBRARY)
    target_link_libraries(${target} PRIVATE ${from})
  endif()
  get_target_property(libraries ${from} INTERFACE_LINK_LIBRARIES)
  get_target_property(own_libraries ${from} LINK_LIBRARIES)
  list(APPEND libraries ${own_libraries})
  list(TRANSFORM libraries REPLACE "^\\$<LINK_ONLY:(.*)>$" "\\1")
  list(REMOVE_DUPLICATES libraries)
  foreach(library ${libraries})
    if(library MATCHES "^qvmd-")
      get_property(done TARGET ${target} PROPERTY QVM_ADDED)
      if(NOT library IN_LIST done)
        set_property(TARGET ${target} APPEND PROPERTY QVM_ADDED ${library})
        qvm_add_again(${target} ${library})
      endif()
    elseif(NOT library MATCHES "NOTFOUND$")
      target_link_libraries(${target} PRIVATE ${library})
    endif()
  endforeach()
endfunction()
add_executable(qvmd_crashing ${CMAKE_SOURCE_DIR}/daemon/crash_point.c)
target_compile_definitions(qvmd_crashing PRIVATE QVM_CRASH_POINTS)
qvm_add_again(qvmd_crashing qvmd)

# A qvm of version 1 from its recorded words, for test_upgrade.py.
add_executable(fake_replay_v1 ${CMAKE_SOURCE_DIR}/tests/fake/replay_v1.c)
target_compile_definitions(fake_replay_v1 PRIVATE
  REPLAY_FILE="${CMAKE_SOURCE_DIR}/tests/data/qvm-v1/control.jsonl")
set_source_files_properties(${CMAKE_SOURCE_DIR}/tests/fake/replay_v1.c PROPERTIES
  OBJECT_DEPENDS ${CMAKE_SOURCE_DIR}/tests/data/qvm-v1/control.jsonl)
target_link_libraries(fake_replay_v1 PRIVATE qvm-flags)
