/* A packed queue of SIZE descriptors with the driver's end in a fake slot's memory. */
#ifndef QVM_TESTS_VIRTIO_PACKED_UNIT_H
#define QVM_TESTS_VIRTIO_PACKED_UNIT_H

#include <errno.h>
#include <string.h>

#include "tests/fake/packed_ring.h"
#include "tests/unit/unit.h"
#include "vdevs/virtio/queue.h"

#define SIZE     5u /* no power of two: it need not be one */
#define PACKED   VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define INDIRECT VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC)
#define EVENTS   VIRTIO_BIT(VIRTIO_F_EVENT_IDX)

static struct vdev_slot slot;
static struct packed_ring ring;
static struct virtq queue;
static struct vdev_piece segments[4 * SIZE];
static struct virtq_chain chain;
static uint64_t buffers; /* guest memory behind the ring */

static inline void set_up(uint64_t features)
{
    memset(&slot, 0, sizeof(slot));
    ring_memory(&slot);
    buffers = packed_ring_place(&ring, &slot, SIZE, RING_MEMORY_START);
    virtq_init(&queue, 8, &fake_slot_services, &slot);
    queue.size = SIZE;
    queue.descriptors = ring.ring;
    queue.driver = ring.driver;
    queue.device = ring.device;
    chain = (struct virtq_chain){.segments = segments, .room = 4 * SIZE};
    ck_assert_int_eq(virtq_enable(&queue, PACKED | features), 0);
}

static inline void expect_broken(void)
{
    uint16_t id;
    uint32_t size;

    ck_assert_int_eq(virtq_take(&queue, &chain), -EPROTO);
    ck_assert_int_eq(virtq_take(&queue, &chain), 0); /* told once */
    ck_assert(!packed_ring_take(&ring, 1, &id, &size));
}

/* One writable buffer there and back; returns whether the driver wants to know. */
static inline bool use_one(void)
{
    packed_ring_offer(&ring, buffers, 4, 7, RING_WRITE);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert(virtq_use(&queue, &chain, 4));
    return virtq_wants_interrupt(&queue);
}

#endif
