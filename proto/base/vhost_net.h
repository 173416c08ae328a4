/* The kernel's own back end of a virtio network card: it works a pair of queues off, in the memory
 * of who asks it to, and moves their frames from and to a tap.
 *
 * Source: linux/vhost.h. What is done with a descriptor: qvm-worker/vhost/kernel.h. */
#ifndef QVM_PROTO_BASE_VHOST_NET_H
#define QVM_PROTO_BASE_VHOST_NET_H

#include <stddef.h>

struct err;

#define VHOST_NET_DEVICE "/dev/vhost-net"

/* Open it `count` times, once for each pair of queues; all or none. -ENOENT: this kernel has none,
 * or has not loaded it; -EACCES: no right to it. */
int vhost_net_open(size_t count, int *fds, struct err *err);

#endif
