/* The kernel's own back ends of virtio devices, by their nodes: each works a pair of queues off, in
 * the memory of who asks it to. That of a network card moves its frames from and to a tap, that of
 * a vsock has its connections, as sockets of the family AF_VSOCK.
 *
 * Source: linux/vhost.h. What is done with a descriptor: qvm-worker/vhost/kernel.h. */
#ifndef QVM_PROTO_BASE_VHOST_NODE_H
#define QVM_PROTO_BASE_VHOST_NODE_H

#include <stddef.h>

struct err;

#define VHOST_NET_DEVICE   "/dev/vhost-net"
#define VHOST_VSOCK_DEVICE "/dev/vhost-vsock"

/* Open it `count` times, once for each pair of queues; all or none. -ENOENT: this kernel has none,
 * or has not loaded it; -EACCES: no right to it. */
int vhost_net_open(size_t count, int *fds, struct err *err);
int vhost_vsock_open(int *fd, struct err *err);

/* The same words for a node that somebody else could not open, by `code` (-errno). */
int vhost_vsock_refuse(int code, struct err *err);

#endif
