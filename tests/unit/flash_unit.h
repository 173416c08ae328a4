/* A flash chip of 128 KiB to test, and its bus cycles. */
#ifndef QVM_TESTS_FLASH_UNIT_H
#define QVM_TESTS_FLASH_UNIT_H

#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

#define SIZE (128u << 10)

extern const struct vdev_module *const vdev_flash_module;

static struct vdev_slot slot;

static int build(uint64_t size)
{
    struct vdev_region region = {VDEV_SPACE_MEMORY, 0xffe00000, size};
    struct vdev_config config = {.regions = &region, .region_count = 1, .intr_count = 1};

    return fake_slot_build(&slot, vdev_flash_module, &config);
}

static void give(uint64_t at, unsigned value)
{
    fake_slot_out(&slot, 0, at, (uint8_t)value);
}

static uint8_t take(uint64_t at)
{
    return fake_slot_in(&slot, 0, at);
}

static void program(uint64_t at, unsigned value)
{
    give(at, 0x10);
    give(at, value);
}

#endif
