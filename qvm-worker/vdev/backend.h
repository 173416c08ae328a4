/* The back end of a device, for the other files of this room. The slot's lock is held, unless said
 * otherwise. */
#ifndef QVM_WORKER_VDEV_BACKEND_H
#define QVM_WORKER_VDEV_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "vdevs/include/qvm/vdev.h"

struct err;
struct vdev_slot;

/* Its option; what was granted for it; greet it before the device is made; close it after the
 * device's end. On the control thread, without the lock. */
int vdev_host_read_backend(struct vdev_slot *slot, const struct vdev_value *value, struct err *err);
void vdev_host_grant_backend(struct vdev_slot *slot, int fd);
int vdev_host_open_backend(struct vdev_slot *slot, struct err *err);
void vdev_host_close_backend(struct vdev_slot *slot);

/* Descriptors to be watched at their edges, at most 2: how many. Then this is called, on the I/O
 * thread and without the lock. */
int vdev_host_watch_backend(const struct vdev_slot *slot, int *fds);
void vdev_host_serve_backend(struct vdev_slot *slot);

/* Whether that doorbell is the back end's, and nobody here hears it; `*call` is the event that its
 * queue's interrupts are. */
bool vdev_host_has_doorbell(const struct vdev_slot *slot, uint32_t event, uint32_t *call);

/* Another one follows, whose connection is taken over; -1: none does. Control thread, without the
 * lock. On failure it waits for yet another one. */
int vdev_host_follow_backend(struct vdev_slot *slot, int fd, struct err *err);

/* Have it stop where it is, and go on. -ETIMEDOUT: it did not by then (CLOCK_MONOTONIC). */
int vdev_host_hold_backend(struct vdev_slot *slot, uint64_t deadline_ns);
void vdev_host_release_backend(struct vdev_slot *slot);

/* The services. */
bool vdev_host_backend(struct vdev_slot *slot, uint32_t lost, struct vdev_backend *backend);
int vdev_host_backend_config(struct vdev_slot *slot, void *to, uint32_t size);
int vdev_host_backend_start(struct vdev_slot *slot, uint64_t features,
                            const struct vdev_backend_queue *queues, uint32_t count);
void vdev_host_backend_stop(struct vdev_slot *slot, uint32_t queue);
void vdev_host_backend_configure(struct vdev_slot *slot, uint32_t offset, const void *from,
                                 uint32_t size);
bool vdev_host_backend_is_there(struct vdev_slot *slot);

#endif
