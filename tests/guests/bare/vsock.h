/* Sockets between this guest and the host: virtio 1.2, 5.10. */
#ifndef QVM_TESTS_GUESTS_BARE_VSOCK_H
#define QVM_TESTS_GUESTS_BARE_VSOCK_H

void vsock_command(const char *arguments);

#endif
