#include "tests/fake/virtio_ring.h"

#include <stdlib.h>
#include <string.h>

static _Alignas(4096) uint8_t low[RING_MEMORY_BORDER - RING_MEMORY_START];
static _Alignas(4096) uint8_t high[RING_MEMORY_END - RING_MEMORY_BORDER];

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

void ring_memory(struct vdev_slot *slot)
{
    memset(low, 0, sizeof(low));
    memset(high, 0, sizeof(high));
    slot->memory[0] = (struct fake_memory){RING_MEMORY_START, low, sizeof(low)};
    slot->memory[1] = (struct fake_memory){RING_MEMORY_BORDER, high, sizeof(high)};
}

uint64_t ring_place(struct ring *ring, struct vdev_slot *slot, uint16_t size, uint64_t at)
{
    *ring = (struct ring){.slot = slot, .size = size, .table = at};
    ring->available = ring->table + UINT64_C(16) * size;
    ring->used = (ring->available + 6 + UINT64_C(2) * size + 3) / 4 * 4;
    return (ring->used + 6 + UINT64_C(8) * size + 15) / 16 * 16;
}

void ring_describe_at(struct vdev_slot *slot, uint64_t table, uint16_t i, uint64_t address,
                      uint32_t size, unsigned flags, unsigned next)
{
    uint64_t at = table + UINT64_C(16) * i;

    put(slot, at, address, 8);
    put(slot, at + 8, size, 4);
    put(slot, at + 12, flags, 2);
    put(slot, at + 14, next, 2);
}

void ring_describe(struct ring *ring, uint16_t i, uint64_t address, uint32_t size, unsigned flags,
                   unsigned next)
{
    ring_describe_at(ring->slot, ring->table, i, address, size, flags, next);
}

void ring_offer(struct ring *ring, uint16_t head)
{
    put(ring->slot, ring->available + 4 + UINT64_C(2) * (ring->next_available % ring->size), head,
        2);
    ring_set_available_index(ring, (uint16_t)(ring->next_available + 1));
}

bool ring_take(struct ring *ring, uint32_t *id, uint32_t *size)
{
    uint64_t at = ring->used + 4 + UINT64_C(8) * (ring->next_used % ring->size);

    if (ring_used_index(ring) == ring->next_used) {
        return false;
    }
    *id = (uint32_t)get(ring->slot, at, 4);
    *size = (uint32_t)get(ring->slot, at + 4, 4);
    ring->next_used++;
    return true;
}

void ring_set_available_flags(struct ring *ring, uint16_t flags)
{
    put(ring->slot, ring->available, flags, 2);
}

void ring_set_available_index(struct ring *ring, uint16_t index)
{
    ring->next_available = index;
    put(ring->slot, ring->available + 2, index, 2);
}

void ring_set_used_event(struct ring *ring, uint16_t index)
{
    put(ring->slot, ring->available + 4 + UINT64_C(2) * ring->size, index, 2);
}

uint16_t ring_used_flags(struct ring *ring)
{
    return (uint16_t)get(ring->slot, ring->used, 2);
}

uint16_t ring_used_index(struct ring *ring)
{
    return (uint16_t)get(ring->slot, ring->used + 2, 2);
}

uint16_t ring_avail_event(struct ring *ring)
{
    return (uint16_t)get(ring->slot, ring->used + 4 + UINT64_C(8) * ring->size, 2);
}
