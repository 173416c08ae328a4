/* Doorbells of one device, and who hears them; for vdev_host*.c alone. */
#ifndef QVM_WORKER_VDEV_EVENT_PRIVATE_H
#define QVM_WORKER_VDEV_EVENT_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "proto/base/err.h"
#include "qvm-worker/vdev/coalesce.h"
#include "vdevs/include/qvm/vdev.h"

struct vdev_slot;

struct vdev_bell {
    uint32_t region;
    uint64_t offset;
    uint32_t access; /* bytes; 0: any */
    bool has_value;
    uint64_t value;
    uint32_t event;
    /* Where the guest finds its region; under the bells' lock. */
    enum vdev_space space;
    uint64_t start;
    bool is_there;
    bool is_in_kernel; /* KVM hears it; else the bus does */
    bool is_refused;   /* KVM will not hear it there */
};

enum vdev_thread_state { VDEV_THREAD_BEGINS, VDEV_THREAD_RUNS, VDEV_THREAD_FAILED };

struct vdev_events {
    struct vdev_bell bells[VDEV_EVENTS_MAX];
    uint32_t bell_count;
    pthread_mutex_t
        lock;        /* of the bells' places: a leaf, but for what PCI holds when it moves them */
    uint64_t missed; /* rung while the device was held; under its lock */
    int fds[VDEV_EVENTS_MAX]; /* eventfd of each event; -1: nobody rings it */
    int epoll_fd;             /* readable when one of them, or anything else of the device, is */

    uv_poll_t poll; /* of a device without a thread */
    bool has_poll;

    pthread_t thread;
    bool has_thread;
    int quit_fd;
    enum vdev_thread_state thread_state; /* under the slot's lock, as is what follows */
    pthread_cond_t thread_changed;
    struct err thread_err;
    uint32_t begun;           /* transfers of this round, */
    uint64_t begun_bytes;     /* and what they move */
    struct coalesce coalesce; /* of a device with an image; its I/O thread's alone */
};

/* The services. */
int vdev_host_doorbell(struct vdev_slot *slot, uint32_t region, uint64_t offset, uint32_t access,
                       bool has_value, uint64_t value, uint32_t event);
void vdev_host_ring(struct vdev_slot *slot, uint32_t event);

/* Make the event one that can be rung. */
int vdev_host_open_event(struct vdev_slot *slot, uint32_t event);

/* Hear a connection that took the place of another one: of a user's network, to a back end. */
int vdev_host_watch_network(const struct vdev_slot *slot, int fd);
int vdev_host_watch_vhost(const struct vdev_slot *slot, int fd);

/* Whether a doorbell, or a queue of the network, is heard here; on its I/O thread, whose door has
 * to be that for it. */
void vdev_host_hear_event(const struct vdev_slot *slot, uint32_t event, bool is_here);
void vdev_host_hear_network(const struct vdev_slot *slot, uint32_t queue, bool is_here);

/* Of a device with an image and a thread, which waits once a round: let more come, where that pays;
 * count what the round began. */
void vdev_host_coalesce(struct vdev_slot *slot);
void vdev_host_end_round(struct vdev_slot *slot);

/* Ring what was missed while the device was held. */
void vdev_host_ring_missed(struct vdev_slot *slot);

/* A write that came over the bus: rings the doorbell that is there. False: there is none. */
bool vdev_host_answer(struct vdev_slot *slot, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t value);

/* A region of the device begins at `start` now, or is not there any more. Any thread. */
void vdev_host_place_bells(struct vdev_slot *slot, uint32_t region, enum vdev_space space,
                           uint64_t start, bool is_there);

/* Begin to hear, once there is a device; stop (its thread ends); let go of the descriptors. */
int vdev_host_listen_events(struct vdev_slot *slot, struct err *err);

/* Until its thread, if it has one, is as it is to be: before the guest runs. A failure is why it
 * cannot be. */
int vdev_host_await_events(struct vdev_slot *slot, struct err *err);
void vdev_host_stop_events(struct vdev_slot *slot);
void vdev_host_close_events(struct vdev_slot *slot);

#endif
