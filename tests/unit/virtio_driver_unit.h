/* A driver of a real vdev over MMIO in a fake slot: one queue, brought up. */
#ifndef QVM_TESTS_VIRTIO_DRIVER_UNIT_H
#define QVM_TESTS_VIRTIO_DRIVER_UNIT_H

#include <string.h>

#include "tests/fake/virtio_ring.h"
#include "tests/unit/unit.h"

enum { QUEUE_SIZE = 16, QUEUES_MAX = 6, QUEUE_SPACE = 0x1000 };

#define DATA       (RING_MEMORY_START + QUEUES_MAX * QUEUE_SPACE)
#define EVENT_IDX  (UINT64_C(1) << 29)
#define VERSION_1  (UINT64_C(1) << 32)
#define FEATURE(n) (UINT64_C(1) << (n))

static struct vdev_slot slot;
static struct ring rings[QUEUES_MAX];

static inline uint32_t get(uint64_t at)
{
    return (uint32_t)slot.module->ops->read(slot.device, 0, at, 4);
}

static inline void set(uint64_t at, uint32_t value)
{
    fake_slot_write(&slot, 0, at, 4, value);
}

static inline uint64_t offered(void)
{
    uint64_t features;

    set(0x14, 0);
    features = get(0x10);
    set(0x14, 1);
    return features | (uint64_t)get(0x10) << 32;
}

static inline int create(const struct vdev_module *module, const struct vdev_value *values,
                         uint32_t value_count)
{
    static struct vdev_region region = {VDEV_SPACE_MEMORY, 0xfeb00000, 512};
    struct vdev_config config = {.regions = &region,
                                 .region_count = 1,
                                 .values = values,
                                 .value_count = value_count,
                                 .intr_count = 1,
                                 .intrs = {16}};

    ring_memory(&slot);
    return fake_slot_build(&slot, module, &config);
}

/* Reset, negotiate, enable all queues, DRIVER_OK. */
static inline void drive(uint64_t features)
{
    set(0x70, 0);
    set(0x70, 3);
    set(0x24, 0);
    set(0x20, (uint32_t)features);
    set(0x24, 1);
    set(0x20, (uint32_t)(features >> 32));
    set(0x70, 11);
    ck_assert_uint_eq(get(0x70), 11);
    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        (void)ring_place(&rings[i], &slot, QUEUE_SIZE, RING_MEMORY_START + i * QUEUE_SPACE);
        memset(fake_slot_memory(&slot, RING_MEMORY_START + i * QUEUE_SPACE, QUEUE_SPACE), 0,
               QUEUE_SPACE);
        set(0x30, i);
        set(0x38, QUEUE_SIZE);
        set(0x80, (uint32_t)rings[i].table);
        set(0x90, (uint32_t)rings[i].available);
        set(0xa0, (uint32_t)rings[i].used);
        set(0x44, 1);
    }
    set(0x70, 15);
    fake_slot_run(&slot);
}

static inline void kick(uint32_t queue)
{
    set(0x50, queue);
}

static inline bool needs_reset(void)
{
    return (get(0x70) & 0x40) != 0;
}

/* Guest memory at an address of the test's choice. */
static inline uint8_t *memory(uint64_t address)
{
    return fake_slot_memory(&slot, address, 1);
}

#endif
