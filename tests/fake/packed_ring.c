#include "tests/fake/packed_ring.h"

#include <stdlib.h>

static void put(struct vdev_slot *slot, uint64_t address, uint64_t value, uint64_t size)
{
    if (fake_slot_services.memory_write(slot, address, &value, size) != 0) {
        abort(); /* the test itself is wrong */
    }
}

static uint64_t get(struct vdev_slot *slot, uint64_t address, uint64_t size)
{
    uint64_t value = 0;

    if (fake_slot_services.memory_read(slot, address, &value, size) != 0) {
        abort();
    }
    return value;
}

static uint16_t forward(const struct packed_ring *ring, uint16_t place, uint16_t count)
{
    uint16_t offset = (uint16_t)((place & ~PACKED_LAP) + count);
    uint16_t lap = place & PACKED_LAP;

    return offset < ring->size ? (uint16_t)(offset | lap)
                               : (uint16_t)((offset - ring->size) | (lap ^ PACKED_LAP));
}

uint64_t packed_ring_place(struct packed_ring *ring, struct vdev_slot *slot, uint16_t size,
                           uint64_t at)
{
    *ring = (struct packed_ring){
        .slot = slot, .size = size, .ring = at, .next = PACKED_LAP, .next_used = PACKED_LAP};
    ring->driver = at + UINT64_C(16) * size;
    ring->device = ring->driver + 4;
    return at + UINT64_C(16) * size + 16;
}

void packed_ring_put(struct packed_ring *ring, uint16_t i, uint64_t address, uint32_t size,
                     uint16_t id, unsigned flags)
{
    uint64_t at = ring->ring + UINT64_C(16) * i;

    put(ring->slot, at, address, 8);
    put(ring->slot, at + 8, size, 4);
    put(ring->slot, at + 12, id, 2);
    put(ring->slot, at + 14, flags, 2);
}

void packed_ring_offer(struct packed_ring *ring, uint64_t address, uint32_t size, uint16_t id,
                       unsigned flags)
{
    packed_ring_put(ring, ring->next & (uint16_t)~PACKED_LAP, address, size, id,
                    flags | ((ring->next & PACKED_LAP) != 0 ? PACKED_AVAIL : PACKED_USED));
    ring->next = forward(ring, ring->next, 1);
}

bool packed_ring_take(struct packed_ring *ring, uint16_t count, uint16_t *id, uint32_t *size)
{
    uint16_t i = ring->next_used & (uint16_t)~PACKED_LAP;
    uint64_t at = ring->ring + UINT64_C(16) * i;
    unsigned wanted = (ring->next_used & PACKED_LAP) != 0 ? PACKED_AVAIL | PACKED_USED : 0;

    if ((packed_ring_flags(ring, i) & (PACKED_AVAIL | PACKED_USED)) != wanted) {
        return false;
    }
    *id = (uint16_t)get(ring->slot, at + 12, 2);
    *size = (uint32_t)get(ring->slot, at + 8, 4);
    ring->next_used = forward(ring, ring->next_used, count);
    return true;
}

uint16_t packed_ring_flags(struct packed_ring *ring, uint16_t i)
{
    return (uint16_t)get(ring->slot, ring->ring + UINT64_C(16) * i + 14, 2);
}

void packed_ring_wish(struct packed_ring *ring, uint16_t place, uint16_t flags)
{
    put(ring->slot, ring->driver, place, 2);
    put(ring->slot, ring->driver + 2, flags, 2);
}

uint32_t packed_ring_device_wish(struct packed_ring *ring)
{
    return (uint32_t)get(ring->slot, ring->device, 4);
}
