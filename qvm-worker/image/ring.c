/* Transfers of an image by io_uring: the kernel's own interface, no library.
 *
 * The ring is restricted before it is enabled: it knows one file, reads, writes and flushes it,
 * and makes holes in it; no descriptor and no buffer can be added. So a qvm that is taken over
 * opens nothing with it, although seccomp does not see what is in a ring. */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/image/private.h"

#define ENTRIES 256u /* that wait to be submitted; in flight may be VDEV_IO_MAX */
#define WORKERS 8u   /* threads of the kernel's for what blocks, at most */

struct ring {
    uint8_t *rings; /* both, in one mapping */
    size_t rings_size;
    struct io_uring_sqe *entries;
    struct io_uring_params params;
    uint32_t tail;   /* of the submission queue, ours */
    uint32_t filled; /* entries that the kernel was not told of */
    int fd;          /* the image's event_fd: readable when something has ended */
};

static uint32_t *at(const struct ring *ring, uint32_t offset)
{
    return (uint32_t *)(void *)(ring->rings + offset);
}

static int enter(const struct ring *ring, uint32_t submit, uint32_t wait)
{
    long r = syscall(SYS_io_uring_enter, ring->fd, submit, wait,
                     wait > 0 ? IORING_ENTER_GETEVENTS : 0u, NULL, 0);

    return r < 0 ? -errno : (int)r;
}

static int tell_kernel(const struct ring *ring, unsigned what, void *argument, unsigned count)
{
    return syscall(SYS_io_uring_register, ring->fd, what, argument, count) < 0 ? -errno : 0;
}

static int restrict_ring(struct ring *ring, int file)
{
    static const uint8_t allowed[] = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC,
                                      IORING_OP_FALLOCATE};
    struct io_uring_restriction rules[ARRAY_LEN(allowed) + 2];
    unsigned workers[2] = {WORKERS, WORKERS};
    int r;

    memset(rules, 0, sizeof(rules));
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
        rules[i].opcode = IORING_RESTRICTION_SQE_OP;
        rules[i].sqe_op = allowed[i];
    }
    rules[ARRAY_LEN(allowed)].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    rules[ARRAY_LEN(allowed)].sqe_flags = IOSQE_FIXED_FILE;
    rules[ARRAY_LEN(allowed) + 1].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
    rules[ARRAY_LEN(allowed) + 1].sqe_flags = IOSQE_FIXED_FILE;
    r = tell_kernel(ring, IORING_REGISTER_FILES, &file, 1);
    if (r == 0) {
        (void)tell_kernel(ring, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2); /* since 5.15 */
        r = tell_kernel(ring, IORING_REGISTER_RESTRICTIONS, rules, ARRAY_LEN(rules));
    }
    return r == 0 ? tell_kernel(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0) : r;
}

static int map_ring(struct ring *ring)
{
    size_t submission = ring->params.sq_off.array + ring->params.sq_entries * sizeof(uint32_t);
    size_t completion =
        ring->params.cq_off.cqes + ring->params.cq_entries * sizeof(struct io_uring_cqe);
    void *map;

    if ((ring->params.features & IORING_FEAT_SINGLE_MMAP) == 0 ||
        (ring->params.features & IORING_FEAT_NODROP) == 0) {
        return -ENOSYS;
    }
    ring->rings_size = submission > completion ? submission : completion;
    map = mmap(NULL, ring->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
               IORING_OFF_SQ_RING);
    if (map == MAP_FAILED) {
        return -errno;
    }
    ring->rings = map;
    map = mmap(NULL, ring->params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
               MAP_SHARED, ring->fd, IORING_OFF_SQES);
    if (map == MAP_FAILED) {
        return -errno;
    }
    ring->entries = map;
    return 0;
}

static void ring_close(struct image *image)
{
    struct ring *ring = image->engine;

    if (ring->entries != NULL) {
        (void)munmap(ring->entries, ring->params.sq_entries * sizeof(struct io_uring_sqe));
    }
    if (ring->rings != NULL) {
        (void)munmap(ring->rings, ring->rings_size);
    }
    cleanup_close(&image->event_fd); /* the ring itself */
    free(ring);
    image->engine = NULL;
}

static int ring_open(struct image *image, const struct image_spec *spec, struct err *err)
{
    struct ring *ring = calloc(1, sizeof(*ring));
    int r;

    if (ring == NULL) {
        return err_set(err, -ENOMEM, "no memory for an image");
    }
    image->engine = ring;
    ring->params.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE;
    ring->params.cq_entries = VDEV_IO_MAX;
    ring->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &ring->params);
    image->event_fd = ring->fd;
    r = ring->fd < 0 ? -errno : map_ring(ring);
    if (r == 0) {
        r = restrict_ring(ring, spec->fd);
    }
    if (r != 0) {
        ring_close(image);
        return err_sys(err, r, "this kernel has no ring for an image");
    }
    return 0;
}

/* Give the kernel what is filled in. EAGAIN, EBUSY: it is short of something for a moment. */
static void ring_submit(struct image *image)
{
    struct ring *ring = image->engine;

    while (ring->filled > 0) {
        int n = enter(ring, ring->filled, 0);

        if (n >= 0) {
            ring->filled -= (uint32_t)n;
        } else if (n != -EINTR && n != -EAGAIN && n != -EBUSY) {
            break; /* cannot be: the entries are right */
        }
    }
}

static void ring_start(struct image *image, uint16_t index)
{
    static const uint8_t opcodes[] = {
        [VDEV_IO_READ] = IORING_OP_READV,     [VDEV_IO_WRITE] = IORING_OP_WRITEV,
        [VDEV_IO_FLUSH] = IORING_OP_FSYNC,    [VDEV_IO_DISCARD] = IORING_OP_FALLOCATE,
        [VDEV_IO_ZERO] = IORING_OP_FALLOCATE, [VDEV_IO_FILL] = IORING_OP_WRITEV};
    struct ring *ring = image->engine;
    struct image_request *request = &image->requests[index];
    struct io_uring_sqe *entry;
    uint32_t slot;

    if (ring->filled == ring->params.sq_entries) {
        ring_submit(image);
    }
    slot = ring->tail & (ring->params.sq_entries - 1);
    entry = &ring->entries[slot];
    memset(entry, 0, sizeof(*entry));
    entry->opcode = opcodes[request->kind];
    entry->flags = IOSQE_FIXED_FILE;
    entry->user_data = index;
    if (request->kind == VDEV_IO_FLUSH) {
        entry->fsync_flags = IORING_FSYNC_DATASYNC;
    } else if (image_is_punch(request)) { /* the fields of fallocate are named after others */
        entry->addr = request->left;
        entry->len = IMAGE_PUNCH;
        entry->off = request->offset;
    } else {
        entry->addr = (uintptr_t)&request->pieces[request->first];
        entry->len = request->count;
        entry->off = request->offset;
    }
    at(ring, ring->params.sq_off.array)[slot] = slot;
    __atomic_store_n(at(ring, ring->params.sq_off.tail), ++ring->tail, __ATOMIC_RELEASE);
    ring->filled++;
}

static bool ring_has_ended(const struct image *image)
{
    const struct ring *ring = image->engine;

    return *at(ring, ring->params.cq_off.head) !=
           __atomic_load_n(at(ring, ring->params.cq_off.tail), __ATOMIC_ACQUIRE);
}

static void ring_reap(struct image *image)
{
    struct ring *ring = image->engine;
    uint32_t *head_at = at(ring, ring->params.cq_off.head);
    const struct io_uring_cqe *cqes = (const void *)(ring->rings + ring->params.cq_off.cqes);
    uint32_t head = *head_at; /* ours alone */

    while (head != __atomic_load_n(at(ring, ring->params.cq_off.tail), __ATOMIC_ACQUIRE)) {
        struct io_uring_cqe cqe = cqes[head & (ring->params.cq_entries - 1)];
        uint16_t index = (uint16_t)(cqe.user_data % VDEV_IO_MAX);

        __atomic_store_n(head_at, ++head, __ATOMIC_RELEASE);
        if (image_stepped(image, index, cqe.res)) {
            ring_start(image, index);
        }
    }
    ring_submit(image);
}

/* Interrupted, or at the deadline: the caller looks again. */
static void ring_wait(struct image *image, uint64_t deadline_ns)
{
    const struct ring *ring = image->engine;
    struct timespec now;
    struct __kernel_timespec left = {0};
    struct io_uring_getevents_arg argument = {.ts = (uintptr_t)&left};
    int64_t left_ns;

    if (deadline_ns == 0) {
        (void)enter(ring, 0, 1);
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    left_ns = (int64_t)deadline_ns - (int64_t)now.tv_sec * 1000000000 - now.tv_nsec;
    if (left_ns > 0) {
        left.tv_sec = left_ns / 1000000000;
        left.tv_nsec = left_ns % 1000000000;
        (void)syscall(SYS_io_uring_enter, ring->fd, 0, 1,
                      IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, sizeof(argument));
    }
}

const struct image_engine_ops image_ring_ops = {
    .name = "io_uring",
    .open = ring_open,
    .close = ring_close,
    .start = ring_start,
    .submit = ring_submit,
    .has_ended = ring_has_ended,
    .reap = ring_reap,
    .wait = ring_wait,
};
