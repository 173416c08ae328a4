/* Memory that a device shares with other guests; for vdev/shmem*.c alone. */
#ifndef QVM_WORKER_VDEV_SHMEM_PRIVATE_H
#define QVM_WORKER_VDEV_SHMEM_PRIVATE_H

#include <pthread.h>
#include <uv.h>

#include "proto/shmem.h"
#include "qvm-worker/vdev/private.h"

#define SHMEM_RULES_MAX 64u
#define SHMEM_PLACES    VDEV_BARS_MAX /* regions that are followed */

enum shared_state {
    SHARED_FREE,
    SHARED_THERE,
    SHARED_LEAVING, /* the control thread takes it away soon */
    SHARED_CLOSING, /* until the loop has closed the watch on its bell */
};

/* One region that the device is a client of. */
struct shared {
    struct vdev_slot *slot;
    enum shared_state state;
    char name[SHMEM_NAME_MAX + 1];
    uint32_t client;
    uint64_t bytes;
    int fds[SHMEM_FD_COUNT];
    void *memory;
    struct shmem_board *board;
    uv_poll_t poll; /* of our bell */
    bool is_missed; /* rung while the device was held */
    /* Under `places`: */
    bool is_shown, is_in_slot;
    uint32_t region;
    uint64_t offset; /* in it */
};

struct shmem_rule {
    char *text, *where;
};

/* Under the slot's lock but for what is said otherwise. */
struct slot_shmem {
    struct shmem_rule rules[SHMEM_RULES_MAX];
    uint32_t rule_count;
    uint64_t window; /* bytes */

    struct shared shared[VDEV_SHMEM_MAX];
    uv_async_t async; /* something for the control thread to do */
    bool has_async;
    bool is_closed;

    /* The wish of a vCPU that waits: one at a time. */
    pthread_cond_t answered;
    bool is_wished, is_sent, is_answered;
    int64_t serial;
    char name[SHMEM_NAME_MAX + 1];
    uint64_t bytes, most;
    enum vdev_shmem_status status;
    uint32_t handle;

    pthread_mutex_t places; /* a leaf: where the guest finds the device's regions */
    uint64_t starts[SHMEM_PLACES];
    bool are_there[SHMEM_PLACES];
};

/* The device that shares memory; NULL: there is none. */
struct vdev_slot *vdev_host_shmem_slot(const struct vdev_host *host);

#endif
