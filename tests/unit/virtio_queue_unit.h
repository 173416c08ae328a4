/* A queue of SIZE descriptors with the driver's end in a fake slot's memory. */
#ifndef QVM_TESTS_VIRTIO_QUEUE_UNIT_H
#define QVM_TESTS_VIRTIO_QUEUE_UNIT_H

#include <errno.h>
#include <string.h>

#include "tests/fake/virtio_ring.h"
#include "tests/unit/unit.h"
#include "vdevs/virtio/queue.h"

#define SIZE 8u

static struct vdev_slot slot;
static struct ring ring;
static struct virtq queue;
static struct vdev_piece segments[2 * SIZE];
static struct virtq_chain chain;
static uint64_t buffers; /* guest memory behind the rings */

static inline void set_up(bool has_event_idx, bool has_indirect)
{
    uint64_t features = (has_event_idx ? VIRTIO_BIT(VIRTIO_F_EVENT_IDX) : 0) |
                        (has_indirect ? VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) : 0);

    memset(&slot, 0, sizeof(slot));
    ring_memory(&slot);
    buffers = ring_place(&ring, &slot, SIZE, RING_MEMORY_START);
    virtq_init(&queue, SIZE, &fake_slot_services, &slot);
    queue.descriptors = ring.table;
    queue.driver = ring.available;
    queue.device = ring.used;
    chain = (struct virtq_chain){.segments = segments, .room = 2 * SIZE};
    ck_assert_int_eq(virtq_enable(&queue, features), 0);
}

static inline void expect_broken(void)
{
    ck_assert_int_eq(virtq_take(&queue, &chain), -EPROTO);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 0); /* told once */
    ck_assert_uint_eq(ring_used_index(&ring), 0);
}

#endif
