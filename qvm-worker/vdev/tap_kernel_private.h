/* Queues of one device that the host's kernel works off; for kernel_open.c and tap_kernel.c alone.
 */
#ifndef QVM_WORKER_VDEV_TAP_KERNEL_PRIVATE_H
#define QVM_WORKER_VDEV_TAP_KERNEL_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vhost/kernel.h"
#include "vdevs/include/qvm/vdev.h"

#define QUEUES_MAX (2 * VDEV_NETWORK_QUEUES_MAX)

struct slot_vhost {
    int fds[VDEV_NETWORK_QUEUES_MAX]; /* one of each queue of the tap, or a vsock's; -1: none */
    uint32_t count;                   /* of them, once it is open */
    bool is_open;                     /* the kernel has guest memory */
    uint64_t offered;
    uint32_t event; /* the device's, of the first interrupt; behind them that of nonsense */
    int work_fd;    /* wakes the I/O thread */

    /* Under the slot's lock. */
    bool is_wanted, is_paused, is_running;
    bool is_beginning; /* the tap is made ready; the lock was let go of */
    bool is_fresh;     /* a driver that has just come: what waits in the tap is not for it */
    uint64_t features;
    uint32_t pairs;
    struct vdev_tap_queue queues[QUEUES_MAX];
    struct vhost_kernel_ring rings[QUEUES_MAX];
    pthread_cond_t changed;
};

/* What was asked for: a tap, or the address of a vsock; without a path: neither. */
static inline const struct vdev_host_need *vdev_host_vhost_need(const struct vdev_slot *slot)
{
    return slot->cid_need.path != NULL ? &slot->cid_need : &slot->network_need;
}

#endif
