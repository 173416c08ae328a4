/* The back end of one device, outside of this process; for backend.c alone.
 *
 * What the device wants is written under its lock, and done by its I/O thread, which talks to the
 * back end without that lock: nobody who holds it waits for a process outside. */
#ifndef QVM_WORKER_VDEV_BACKEND_PRIVATE_H
#define QVM_WORKER_VDEV_BACKEND_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/vhost/vhost.h"
#include "vdevs/include/qvm/vdev.h"

struct vdev_slot;

/* What is wanted of a queue. */
struct backend_queue {
    bool is_wanted;
    struct vhost_queue place; /* without base */
};

/* All that is wanted. */
struct backend_wish {
    struct backend_queue queues[VDEV_BACKEND_QUEUES_MAX];
    uint64_t features;
    bool is_paused;
    uint32_t config_offset, config_size; /* to be told; size 0: nothing */
    uint8_t config[VDEV_BACKEND_CONFIG_MAX];
};

struct slot_backend {
    int fd; /* as it was granted, until `vhost` has it */
    bool is_open;
    bool has_doorbells; /* the first ones are the back end's */
    uint32_t lost;      /* the event that tells so */
    int work_fd;        /* wakes the I/O thread */

    /* Under the slot's lock. */
    struct backend_wish wish;
    uint64_t asked, done; /* how many wishes there were, and which is fulfilled */
    pthread_cond_t changed;
    bool is_told; /* the device knows that it is lost */
    bool is_over; /* and none follows */
    bool has_fresh;
    struct vhost fresh; /* one that follows, until the I/O thread takes it; then the one before */

    /* The I/O thread's, once it runs. */
    struct vhost vhost;
    bool is_running[VDEV_BACKEND_QUEUES_MAX];
    uint16_t bases[VDEV_BACKEND_QUEUES_MAX];
    bool is_resuming[VDEV_BACKEND_QUEUES_MAX]; /* what another one left, once it starts */
    bool is_resting[VDEV_BACKEND_QUEUES_MAX];  /* until its driver resets it */
};

/* On the I/O thread: where the back end that follows another one finds what that one left. */
void vdev_host_resume_backend(struct vdev_slot *slot, const struct backend_wish *wish);

/* Both sides look at that queue, in case that somebody rang when nobody heard. */
void vdev_host_nudge(const struct vhost_queue *queue);

#endif
