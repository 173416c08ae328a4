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

struct helper {
    struct image *image;
    struct vhost vhost;
    int memory_fd, kick_fd, call_fd, work_fd, epoll_fd;
    struct helper_shared *shared;
    pthread_t thread;
    pthread_cond_t ended;
    bool has_thread, is_ready, is_closing;
    bool is_lost;
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

/* Its thread: hears the helper until is_closing. */
void *helper_thread_main(void *context);
void helper_wake(const struct helper *helper);

#endif
