/* The kernel's own back ends (vhost-net, vhost-vsock): a pair of queues is worked off by a thread
 * of the kernel's, in guest memory, as this process has it mapped.
 *
 * Source: linux/vhost.h. The kernel takes every address below for one of this process and looks at
 * nothing else: whoever calls has checked that rings lie in guest memory. What the rings say it
 * translates by vhost_kernel_set_memory(), and reaches nothing besides.
 *
 * Threads: one at a time for each descriptor. System calls: ioctl. */
#ifndef QVM_WORKER_VHOST_KERNEL_H
#define QVM_WORKER_VHOST_KERNEL_H

#include <stdint.h>

struct memory;

#define VHOST_KERNEL_REGIONS_MAX 64u /* what every kernel takes */

/* A split ring (virtio 1.2, 2.7), in our address space. */
struct vhost_kernel_ring {
    uint16_t size;
    uint16_t base; /* index of the next buffer to be taken; filled in by vhost_kernel_stop */
    void *descriptors, *driver, *device;
    int kick_fd, call_fd, error_fd; /* eventfds; borrowed */
};

#define VHOST_KERNEL_RECEIVE  0u
#define VHOST_KERNEL_TRANSMIT 1u
#define VHOST_KERNEL_RINGS    2u

#define VHOST_KERNEL_NO_TAP (-1) /* it is a vsock's */

/* Make the descriptor this process's, whose control groups its thread is in, and ask what it
 * offers. 0 or -errno. */
int vhost_kernel_own(int fd, uint64_t *features);

/* Show it guest RAM, as far as the guest can write it. -E2BIG: it is in too many pieces. */
int vhost_kernel_set_memory(int fd, const struct memory *memory);

/* Of a vsock: the guest's address. -EADDRINUSE: a program of the host has it for its guest. */
int vhost_kernel_set_cid(int fd, uint64_t cid);

/* Have it work both rings off, frames from and to the tap, which has a header of 12 bytes, or a
 * vsock's packets. What failed half-way was undone. */
int vhost_kernel_start(int fd, uint64_t features, const struct vhost_kernel_ring *rings,
                       int tap_fd);

/* Have it stop. When this returns, it touches nothing, and all that it took is used. */
int vhost_kernel_stop(int fd, struct vhost_kernel_ring *rings, int tap_fd);

#endif
