/* The driver's end of one packed virtqueue in a fake slot's memory, as plain as can be: a test
 * writes each descriptor itself. */
#ifndef QVM_TESTS_FAKE_PACKED_RING_H
#define QVM_TESTS_FAKE_PACKED_RING_H

#include "tests/fake/virtio_ring.h"

/* 2.8.1, 2.8.14 */
#define PACKED_AVAIL          0x0080u
#define PACKED_USED           0x8000u
#define PACKED_EVENTS_ENABLE  0u
#define PACKED_EVENTS_DISABLE 1u
#define PACKED_EVENTS_AT      2u
#define PACKED_LAP            0x8000u

struct packed_ring {
    struct vdev_slot *slot;
    uint16_t size;
    uint64_t ring, driver, device; /* guest-physical */
    uint16_t next, next_used;      /* offsets, with the wrap counter in bit 15 */
};

/* A ring of `size` descriptors from `at` on; nothing is written. Returns the first address behind.
 */
uint64_t packed_ring_place(struct packed_ring *ring, struct vdev_slot *slot, uint16_t size,
                           uint64_t at);

/* Write descriptor `i` as it is given. */
void packed_ring_put(struct packed_ring *ring, uint16_t i, uint64_t address, uint32_t size,
                     uint16_t id, unsigned flags);

/* The next descriptor, made available. */
void packed_ring_offer(struct packed_ring *ring, uint64_t address, uint32_t size, uint16_t id,
                       unsigned flags);

/* Take the next used buffer, of `count` descriptors: false if there is none. */
bool packed_ring_take(struct packed_ring *ring, uint16_t count, uint16_t *id, uint32_t *size);

uint16_t packed_ring_flags(struct packed_ring *ring, uint16_t i);

/* The driver's event structure; the device's. */
void packed_ring_wish(struct packed_ring *ring, uint16_t place, uint16_t flags);
uint32_t packed_ring_device_wish(struct packed_ring *ring); /* place, flags << 16 */

#endif
