/* The front end of vhost-user: what a qvm says to a process outside (the back end) that works the
 * queues of a virtio device off, in guest memory that both have mapped.
 *
 * Source: "Vhost-user Protocol" of the QEMU project. The back end is a stranger as far as its words
 * go: each answer has the request, the flags and the size that are due, or the back end is *lost*:
 * the connection is shut, and every call from then on fails at once. What it does in guest memory
 * nobody can check; whoever names it in a configuration trusts it with the guest.
 *
 * Every call waits for the back end, VHOST_WAIT_MS at most for each thing that is sent or due.
 * Addresses are told as the guest has them: a back end learns nothing of ours.
 *
 * Threads: one at a time. System calls: sendmsg, read, poll, shutdown, clock_gettime. */
#ifndef QVM_WORKER_VHOST_H
#define QVM_WORKER_VHOST_H

#include <stdbool.h>
#include <stdint.h>

struct err;

#define VHOST_WAIT_MS     2000u
#define VHOST_REGIONS_MAX 8u   /* that every back end takes */
#define VHOST_CONFIG_MAX  256u /* bytes of a device's configuration */
#define VHOST_QUEUES_MAX  1024u

/* A piece of guest memory: where the guest has it, and where it lies in the file. */
struct vhost_region {
    uint64_t start, size, offset;
};

/* A split queue (virtio 1.2, 2.7); addresses are guest-physical. */
struct vhost_queue {
    uint32_t index;
    uint16_t size;
    uint16_t base; /* index of the next buffer to be taken */
    uint64_t descriptors, driver, device;
    int kick_fd, call_fd; /* eventfds; borrowed */
};

struct vhost {
    int fd; /* -1: not connected */
    bool is_lost;
    uint64_t features;    /* of the device and its rings, that the back end offers */
    uint64_t protocol;    /* features of the protocol that both have */
    uint32_t queue_count; /* at most; 0: it does not say */
};

/* Take the connected stream socket `fd` over, greet the back end and hear what it offers. On
 * failure `vhost` is as after vhost_fini. -EPROTO: it answers nonsense; -ENOTSUP: it lacks what
 * every back end of today has; -ETIMEDOUT; -ECONNRESET. */
int vhost_init(struct vhost *vhost, int fd, struct err *err);
void vhost_fini(struct vhost *vhost);

/* Show it guest memory, which lies in the file `fd`. -E2BIG: more than VHOST_REGIONS_MAX. */
int vhost_set_memory(struct vhost *vhost, const struct vhost_region *regions, uint32_t count,
                     int fd);

/* The first `size` bytes of the device's configuration, at most VHOST_CONFIG_MAX. -ENOTSUP: this
 * back end has none; -EINVAL: it has not so many. Neither loses it. */
int vhost_read_config(struct vhost *vhost, void *to, uint32_t size);
int vhost_write_config(struct vhost *vhost, uint32_t offset, const void *from, uint32_t size);

/* What was agreed with the driver: before the first queue starts. */
int vhost_set_features(struct vhost *vhost, uint64_t features);

/* Have the back end work a queue off; have it stop, `*base` is where it would go on. */
int vhost_start(struct vhost *vhost, const struct vhost_queue *queue);
int vhost_stop(struct vhost *vhost, uint32_t index, uint16_t *base);

/* Talk to it no more. */
void vhost_lose(struct vhost *vhost);

/* Whether it is still there: nothing may have come that nobody asked for, an end above all. */
bool vhost_is_there(struct vhost *vhost);

#endif
