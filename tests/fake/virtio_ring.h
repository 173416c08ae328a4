/* The driver's end of one virtqueue in a fake slot's memory, as plain as can be: a test writes each
 * descriptor itself. */
#ifndef QVM_TESTS_FAKE_VIRTIO_RING_H
#define QVM_TESTS_FAKE_VIRTIO_RING_H

#include "tests/fake/vdev_slot.h"

#define RING_NEXT     1u
#define RING_WRITE    2u
#define RING_INDIRECT 4u

#define RING_NO_INTERRUPT 1u
#define RING_NO_NOTIFY    1u

/* Two pieces of guest memory that touch in the guest's eyes, and not in ours; below, between and
 * above them there is none. */
#define RING_MEMORY_START  0x10000u
#define RING_MEMORY_BORDER 0x20000u
#define RING_MEMORY_END    0x30000u

struct ring {
    struct vdev_slot *slot;
    uint16_t size;
    uint64_t table, available, used; /* guest-physical */
    uint16_t next_available, next_used;
};

/* Give `slot` its memory, all zero. */
void ring_memory(struct vdev_slot *slot);

/* Rings of `size` descriptors from `at` on; nothing is written. Returns the first address behind.
 */
uint64_t ring_place(struct ring *ring, struct vdev_slot *slot, uint16_t size, uint64_t at);

void ring_describe(struct ring *ring, uint16_t i, uint64_t address, uint32_t size, unsigned flags,
                   unsigned next);

/* The same in a table of its own. */
void ring_describe_at(struct vdev_slot *slot, uint64_t table, uint16_t i, uint64_t address,
                      uint32_t size, unsigned flags, unsigned next);

/* Make the chain at `head` available. */
void ring_offer(struct ring *ring, uint16_t head);

/* Take the next used element: false if there is none. */
bool ring_take(struct ring *ring, uint32_t *id, uint32_t *size);

void ring_set_available_flags(struct ring *ring, uint16_t flags);
void ring_set_available_index(struct ring *ring, uint16_t index);
void ring_set_used_event(struct ring *ring, uint16_t index);
uint16_t ring_used_flags(struct ring *ring);
uint16_t ring_used_index(struct ring *ring);
uint16_t ring_avail_event(struct ring *ring);

#endif
