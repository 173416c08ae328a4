add_test(NAME integration-virtio
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_virtio.py)
set_tests_properties(integration-virtio PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR}")
add_test(NAME integration-vhost
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_vhost.py)
set_tests_properties(integration-vhost PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR}")

add_test(NAME integration-helper
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_helper.py)
set(has_door 1)
if(QVM_SANITIZE)
  set(has_door 0) # lockdown.h
endif()
set_tests_properties(integration-helper PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR};QVM_HAS_DOOR=${has_door}")

add_test(NAME integration-folder
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_folder.py)
set_tests_properties(integration-folder PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR};QVM_HAS_DOOR=${has_door}")

add_test(NAME integration-helper_asked
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_helper_asked.py)
set_tests_properties(integration-helper_asked PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR};QVM_HAS_DOOR=${has_door}")

add_test(NAME integration-user_network
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_user_network.py)
set_tests_properties(integration-user_network PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR}")

add_test(NAME integration-vsock
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_vsock.py)
set_tests_properties(integration-vsock PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR}")

add_test(NAME integration-qvmimage
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_qvmimage.py)
set_tests_properties(integration-qvmimage PROPERTIES LABELS integration TIMEOUT 180)

add_test(NAME integration-disk_trouble
  COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_disk_trouble.py)
set_tests_properties(integration-disk_trouble PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR}")
