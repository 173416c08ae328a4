# PCI on the real /dev/kvm, with the bare-metal guest.
add_test(NAME integration-pci COMMAND ${QVM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test_pci.py)
set_tests_properties(integration-pci PROPERTIES LABELS integration TIMEOUT 120
  ENVIRONMENT "QVM_BUILD=${CMAKE_BINARY_DIR}")
