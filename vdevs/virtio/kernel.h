/* Queues of a virtio device that the host's kernel works off (vdev_tap_services), in pairs from the
 * first on; the others are the device's own.
 *
 * Where the kernel stopped is where the device's own queues stand, so all that looks at those
 * (saving, above all) need not know of it. As long as a stop is waited for the device's lock is
 * free: `is_stopping` says so to who comes in between. On the device's thread, under its lock. */
#ifndef QVM_VDEVS_VIRTIO_KERNEL_H
#define QVM_VDEVS_VIRTIO_KERNEL_H

#include "vdevs/virtio/virtio.h"

#define VIRTIO_KERNEL_QUEUES_MAX  (2 * VDEV_NETWORK_QUEUES_MAX)
#define VIRTIO_KERNEL_VECTORS_MAX (VIRTIO_KERNEL_QUEUES_MAX + 1) /* and that of what is left */
#define VIRTIO_KERNEL_EVENTS      (VIRTIO_KERNEL_QUEUES_MAX + 1) /* from `event` on */

struct virtio_kernel {
    bool is_there, is_running; /* the kernel can; it does */
    bool is_stopping;          /* that is to end, and the lock was let go of */

    /* private */
    struct virtio *virtio;
    uint32_t event;                         /* of the first queue */
    uint32_t count;                         /* of queues that it works off */
    int vectors[VIRTIO_KERNEL_VECTORS_MAX]; /* event descriptors of interrupts; -1: none */
    int calls[VIRTIO_KERNEL_QUEUES_MAX];    /* those of them that it was given for its queues */
};

/* During the vdev's create, after virtio_init: see whether the kernel has a part in it, which is
 * `*offered` then (virtio 1.2, 6), and is_there; the device's features are the caller's to cut. It
 * tells of queues by VIRTIO_KERNEL_EVENTS events from `event` on. `name` is what the kernel has for
 * it, `instead` what the configuration can say to do without. -EINVAL: after host->fail(), the
 * configuration wants it and that cannot be. */
int virtio_kernel_create(struct virtio_kernel *kernel, struct virtio *virtio, uint32_t event,
                         const char *name, const char *instead, uint64_t *offered);

/* Have it work off as many of the first `pairs` pairs as the driver has made whole; it is there,
 * and the driver is ready. None: nothing happens. */
void virtio_kernel_start(struct virtio_kernel *kernel, uint32_t pairs);

/* Have it stop, if it runs; true: it did, and who rang meanwhile was not heard. */
bool virtio_kernel_rest(struct virtio_kernel *kernel);

/* Before a device is saved: its queues are where the kernel has paused. */
void virtio_kernel_look(struct virtio_kernel *kernel);

/* After a write of the driver's: a queue has another vector now (4.1.5.1.2.1 has a driver choose
 * before it is ready; who chooses later is not to wait for interrupts for ever). Stop, and start
 * again. */
bool virtio_kernel_has_moved(const struct virtio_kernel *kernel);

/* An event from `event` on. True: the driver wrote nonsense, or it could not begin: the device
 * needs a reset now, and has to rest. */
bool virtio_kernel_event(struct virtio_kernel *kernel, uint32_t event);

#endif
