include(${CMAKE_CURRENT_LIST_DIR}/../fake/vdevs.cmake)
qvm_fuzzer(vhost vhost)
qvm_fuzzer(virtio ${virtio_vdevs_static} fake-virtio-ring)
qvm_fuzzer(vsock vdev-static-virtio-vsock fake-virtio-ring)
