/* A tap, or a vsock, whose queues the host's kernel works off (vhost-net, vhost-vsock), for the
 * other files of this room. The slot's lock is held, unless said otherwise.
 *
 * The device wants them to be worked off, or no more; its I/O thread, which alone has the door for
 * it, says so to the kernel. As long as they are, neither doorbells nor the tap are heard here. */
#ifndef QVM_WORKER_VDEV_TAP_KERNEL_H
#define QVM_WORKER_VDEV_TAP_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "vdevs/include/qvm/vdev.h"

struct err;
struct vdev_slot;
struct vdev_value;

/* The options; what was granted for them; own it before the device is made, and let go of it after
 * the device's end. On the control thread, without the lock. */
int vdev_host_read_vhost(struct vdev_slot *slot, const struct vdev_value *value, struct err *err);
void vdev_host_read_cid(struct vdev_slot *slot, const struct vdev_value *value, bool is_fallback);
int vdev_host_settle_vhost(struct vdev_slot *slot, struct err *err);
int vdev_host_grant_vhost(struct vdev_slot *slot, uint32_t queue, int fd);
int vdev_host_open_vhost(struct vdev_slot *slot, struct err *err);
void vdev_host_close_vhost(struct vdev_slot *slot);

/* What wakes the I/O thread for vdev_host_serve_vhost(), which is called there without the lock;
 * -1: the kernel has no part in it. */
int vdev_host_vhost_fd(const struct vdev_slot *slot);
void vdev_host_serve_vhost(struct vdev_slot *slot);

/* Have it stop where it is, and go on. -ETIMEDOUT: it did not by then (CLOCK_MONOTONIC; 0: no such
 * time). */
int vdev_host_hold_vhost(struct vdev_slot *slot, uint64_t deadline_ns);
void vdev_host_release_vhost(struct vdev_slot *slot);

/* The services. */
extern const struct vdev_tap_services vdev_host_tap_services;

#endif
