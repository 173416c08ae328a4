include(${CMAKE_CURRENT_LIST_DIR}/../fake/vdevs.cmake)
foreach(name ser8250 mc146818 pckeyboard)
  qvm_unit_test(vdev_${name} vdev-static-${name})
endforeach()
