/* What the ring code costs beside everything else: the device's end of one virtqueue takes buffers
 * and gives them back, with the driver's end in a fake guest memory, and no device behind it.
 * Prints requests a second, medians of rounds; the driver's end, which is no part of it, stands
 * still meanwhile: it offers all of the ring, then the device takes and uses all of it.
 *
 *   ring           all of that
 *   ring N LAPS    the N-th shape alone, so often, for who counts the instructions of work_off():
 *                  prints what it is and how many requests there were; status 1: there is no N-th
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/base/cleanup.h"
#include "tests/fake/packed_ring.h"
#include "vdevs/virtio/queue.h"

enum { SIZE = 256, ROUNDS = 21, LAPS = 2000, SEGMENTS = 16, PIECE = 64 };

enum shape { SHAPE_ONE, SHAPE_CHAIN, SHAPE_INDIRECT };

static const struct {
    const char *what;
    enum shape shape;
    uint16_t descriptors; /* of a buffer */
    bool has_event_idx;
    bool is_packed;
} runs[] = {
    {"one descriptor", SHAPE_ONE, 1, false, false},
    {"one descriptor, event index", SHAPE_ONE, 1, true, false},
    {"three descriptors", SHAPE_CHAIN, 3, true, false},
    {"three in an indirect table", SHAPE_INDIRECT, 3, true, false},
    {"ten in an indirect table", SHAPE_INDIRECT, 10, true, false},
    {"packed: one descriptor", SHAPE_ONE, 1, false, true},
    {"packed: one, event index", SHAPE_ONE, 1, true, true},
    {"packed: three descriptors", SHAPE_CHAIN, 3, true, true},
    {"packed: three in a table", SHAPE_INDIRECT, 3, true, true},
    {"packed: ten in a table", SHAPE_INDIRECT, 10, true, true},
};

static struct vdev_slot slot;
static struct ring ring;
static struct packed_ring packed;
static uint64_t behind; /* the rings */

/* Write all descriptors that stay; returns how many buffers they are. */
static uint16_t describe(enum shape shape, uint16_t count, bool is_packed)
{
    uint16_t buffers = shape == SHAPE_CHAIN ? SIZE / count : SIZE;
    uint64_t data = RING_MEMORY_BORDER;

    for (uint16_t i = 0; i < buffers; i++) {
        uint64_t table = behind + UINT64_C(16) * SEGMENTS * i;

        for (uint16_t k = 0; k < count; k++) {
            unsigned flags = (k > 0 ? RING_WRITE : 0) | (k + 1 < count ? RING_NEXT : 0);

            if (shape == SHAPE_INDIRECT) {
                ring_describe_at(&slot, table, k, data, PIECE, is_packed ? 0 : flags,
                                 is_packed ? flags : k + 1u);
            } else if (!is_packed) {
                ring_describe(&ring, (uint16_t)(i * count + k), data, PIECE, flags,
                              (unsigned)(i * count + k) + 1);
            }
        }
        if (shape == SHAPE_INDIRECT && !is_packed) {
            ring_describe(&ring, i, table, 16u * count, RING_INDIRECT, 0);
        }
    }
    return buffers;
}

/* Make buffer `i` available. */
static void offer(size_t which, uint16_t i)
{
    uint16_t count = runs[which].descriptors;

    if (!runs[which].is_packed) {
        ring_offer(&ring, runs[which].shape == SHAPE_CHAIN ? (uint16_t)(i * count) : i);
    } else if (runs[which].shape == SHAPE_INDIRECT) {
        packed_ring_offer(&packed, behind + UINT64_C(16) * SEGMENTS * i, 16u * count, i,
                          RING_INDIRECT);
    } else {
        for (uint16_t k = 0; k < count; k++) {
            packed_ring_offer(&packed, RING_MEMORY_BORDER, PIECE, i,
                              (k > 0 ? RING_WRITE : 0) | (k + 1 < count ? RING_NEXT : 0));
        }
    }
}

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* there is one */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Take and use what was offered: how many buffers. A function of its own in the program, too. */
__attribute__((noinline)) static uint16_t work_off(struct virtq *queue)
{
    struct vdev_piece segments[SEGMENTS];
    struct virtq_chain chain = {.segments = segments, .room = SEGMENTS};
    uint16_t count = 0;

    while (virtq_take(queue, &chain) > 0) {
        count += virtq_use(queue, &chain, (uint32_t)chain.write_size);
        (void)virtq_wants_interrupt(queue);
    }
    (void)virtq_listen(queue);
    return count;
}

/* Nanoseconds in which the device took and used what was offered. */
static uint64_t lap(struct virtq *queue, uint16_t buffers)
{
    uint64_t begin = now_ns();
    uint16_t count = work_off(queue);

    if (count != buffers) {
        (void)fprintf(stderr, "ring: %u of %u buffers were used\n", count, buffers);
        exit(EXIT_FAILURE);
    }
    return now_ns() - begin;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Rings where the driver says that they are. */
static void set_up(struct virtq *queue, size_t which)
{
    uint64_t features = VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) |
                        (runs[which].has_event_idx ? VIRTIO_BIT(VIRTIO_F_EVENT_IDX) : 0) |
                        (runs[which].is_packed ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0);

    ring_memory(&slot);
    virtq_init(queue, SIZE, &fake_slot_services, &slot);
    if (runs[which].is_packed) {
        behind = packed_ring_place(&packed, &slot, SIZE, RING_MEMORY_START);
        queue->descriptors = packed.ring;
        queue->driver = packed.driver;
        queue->device = packed.device;
    } else {
        behind = ring_place(&ring, &slot, SIZE, RING_MEMORY_START);
        queue->descriptors = ring.table;
        queue->driver = ring.available;
        queue->device = ring.used;
    }
    if (virtq_enable(queue, features) != 0) {
        (void)fprintf(stderr, "ring: the queue cannot be enabled\n");
        exit(EXIT_FAILURE);
    }
}

/* Nanoseconds of so many laps; `*buffers` is how many there are in each. */
static uint64_t go_round(struct virtq *queue, size_t which, unsigned laps, uint16_t *buffers)
{
    uint64_t sum_ns = 0;

    *buffers = describe(runs[which].shape, runs[which].descriptors, runs[which].is_packed);
    for (unsigned i = 0; i < laps; i++) {
        for (uint16_t k = 0; k < *buffers; k++) {
            offer(which, k);
        }
        sum_ns += lap(queue, *buffers);
    }
    return sum_ns;
}

static void run(size_t which)
{
    double results[ROUNDS];
    struct virtq queue;
    uint16_t buffers = 0;

    set_up(&queue, which);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t sum_ns = go_round(&queue, which, LAPS, &buffers);

        results[round] = (double)sum_ns / ((double)LAPS * buffers);
    }
    qsort(results, ROUNDS, sizeof(results[0]), compare);
    printf("%-28s %6.1f million requests a second, %5.1f ns each (best %.1f)\n", runs[which].what,
           1000 / results[ROUNDS / 2], results[ROUNDS / 2], results[0]);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        size_t which = strtoul(argv[1], NULL, 10);
        unsigned laps = (unsigned)strtoul(argv[2], NULL, 10);
        struct virtq queue;
        uint16_t buffers = 0;

        if (which >= ARRAY_LEN(runs)) {
            return 1;
        }
        set_up(&queue, which);
        (void)go_round(&queue, which, laps, &buffers);
        printf("%s: %lu\n", runs[which].what, (unsigned long)laps * buffers);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        run(i);
    }
    return 0;
}
