if(TARGET qvm-vfio)
  qvm_fuzzer(vfio qvm-vfio)
  qvm_fuzzer(vfio_told qvm-vfio)
endif()
