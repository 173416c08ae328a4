/* A helper and the ring between it and us: for helper.c and helper_open.c alone. */
#ifndef QVM_WORKER_IMAGE_HELPER_PRIVATE_H
#define QVM_WORKER_IMAGE_HELPER_PRIVATE_H

#include "proto/base/err.h"
#include "qvm-worker/image/private.h"
#include "qvm-worker/vhost/vhost.h"

#define HELPER_SLOTS      32u
#define HELPER_SLOT_SIZE  (256u << 10) /* bytes of data of one step */
#define HELPER_QUEUE_SIZE 128u         /* descriptors: three for each slot, and a power of two */
#define HELPER_START      UINT64_C(0x40000000) /* where it takes the file to be */

struct helper_descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
};

struct helper_used {
    uint32_t id, size;
};

struct helper_slot {
    uint32_t type, reserved; /* the request's header */
    uint64_t sector;
    uint64_t range_sector; /* of what is discarded, or to be zero */
    uint32_t range_count, range_flags;
    uint8_t status;
};

/* What both have mapped. */
struct helper_shared {
    struct helper_descriptor descriptors[HELPER_QUEUE_SIZE];
    struct {
        uint16_t flags, index;
        uint16_t ring[HELPER_QUEUE_SIZE], unused;
    } driver;
    struct {
        _Alignas(4) uint16_t flags;
        uint16_t index;
        struct helper_used ring[HELPER_QUEUE_SIZE];
    } device;
    struct helper_slot slots[HELPER_SLOTS];
    _Alignas(4096) uint8_t data[HELPER_SLOTS][HELPER_SLOT_SIZE];
};

/* What a request is to the helper, as we have asked it. */
struct helper_issued {
    struct helper_slot slot;
    uint32_t size; /* bytes of data, or of the range */
    bool has_data;
};

/* What was acknowledged, and is not known to be on the disk: a killed helper takes tables of the
 * image with it. Two halves: what a flush that is on its way will have brought there, and later. */
#define HELPER_LOG_HALF (UINT64_C(12) << 20)
#define HELPER_NO_SLOT  UINT16_MAX
struct helper_log {
    uint8_t *halves[2]; /* NULL: nothing is kept */
    uint64_t used[2];
    uint64_t reserved; /* for requests on their way */
    uint32_t active;   /* the half that is filled */
    uint16_t covering; /* the slot of that flush */
    uint32_t replay_half;
    uint64_t replay_at;
};

/* In the place of a request's number. */
#define HELPER_OWN_FLUSH (VDEV_IO_MAX)
#define HELPER_REPLAY    (VDEV_IO_MAX + 1)

struct helper {
    struct image *image;
    struct vhost vhost;
    int memory_fd, kick_fd, call_fd, work_fd, epoll_fd;
    struct helper_shared *shared;
    pthread_t thread;
    pthread_cond_t ended;
    bool has_thread, is_ready, is_closing;
    bool is_lost;
    bool is_over;      /* and none follows */
    bool is_held;      /* the guest's requests wait */
    bool is_replaying; /* and what was acknowledged is written again */
    bool has_failed;   /* a flush of ours: the guest's next one does, too */
    void (*on_lost)(void *context);
    struct helper_log log;
    struct helper_issued issued[HELPER_SLOTS];
    bool is_filled; /* the helper was not told of what is in its ring */
    int (*on_thread)(void *context, struct err *err);
    void *context;
    struct err err; /* of the thread, if it could not begin */
    struct image_list waiting;
    uint16_t unused[HELPER_SLOTS];
    uint32_t unused_count;
    uint16_t requests[HELPER_SLOTS];
    uint32_t sizes[HELPER_SLOTS]; /* bytes of the step */
    bool is_used[HELPER_SLOTS];
    uint16_t driver_index, device_index;
};

static inline uint64_t helper_address(const struct helper *helper, const void *at)
{
    return HELPER_START + (uint64_t)((const uint8_t *)at - (const uint8_t *)helper->shared);
}

/* Begin: `image->fd` is the connection, and is taken over. On failure nothing is left of it. */
int helper_open(struct image *image, const struct image_spec *spec, struct err *err);
void helper_close(struct image *image);

/* The log; the image's lock is held. Room for one more request, or not yet. */
int helper_log_init(struct helper_log *log);
void helper_log_fini(struct helper_log *log);
bool helper_log_reserve(struct helper_log *log, uint64_t size);
/* It has ended, and if it was acknowledged is added: `data` as issued->has_data. */
void helper_log_release(struct helper_log *log, const struct helper_issued *issued);
void helper_log_add(struct helper_log *log, const struct helper_issued *issued,
                    const uint8_t *data);
/* A flush is asked for by that slot; it was done. */
void helper_log_cover(struct helper_log *log, uint16_t slot);
void helper_log_covered(struct helper_log *log, uint16_t slot);
bool helper_log_wants_flush(const struct helper_log *log);
/* Nothing is on its way any more. */
void helper_log_lose(struct helper_log *log);
/* From the first record on: the next one, or NULL; its data lies behind it. */
bool helper_log_rewind(struct helper_log *log);
const struct helper_issued *helper_log_next(struct helper_log *log);

/* Whoever waits for transfers looks again; all fails from now on; what waits may begin. The image's
 * lock is held. */
void helper_tell_ended(struct helper *helper);
void helper_fail_all(struct helper *helper);
void helper_start_waiting(struct helper *helper);

/* What the disk is, as that helper says; have it work the ring off. */
int helper_read_facts(struct vhost *vhost, struct vdev_image *facts, struct err *err);
int helper_take_on(struct helper *helper, struct vhost *vhost, struct err *err);
int helper_watch(const struct helper *helper, int fd, uint32_t how);

/* Its thread: hears the helper until is_closing. */
void *helper_thread_main(void *context);
void helper_wake(const struct helper *helper);

#endif
