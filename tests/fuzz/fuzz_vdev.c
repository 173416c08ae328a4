/* Every module under random accesses, bytes, times and resets. The device must keep its promises to
 * the vdev host: never take more than it was given, never crash, answer `state` at any time. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/fake/vdev_slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct vdev_module *const vdev_ser8250_module;
extern const struct vdev_module *const vdev_mc146818_module;
extern const struct vdev_module *const vdev_pckeyboard_module;

static struct vdev_slot slot;

static void access_device(const uint8_t *step)
{
    static const uint32_t sizes[] = {1, 2, 4, 8};
    const struct vdev_region *regions = slot.module->default_regions;
    uint32_t region = step[1] % slot.module->default_region_count;
    uint64_t offset = step[2] % regions[region].size;
    uint32_t size = sizes[step[1] >> 6];

    while (offset + size > regions[region].size) {
        size /= 2; /* as the bus does, accesses stay inside */
    }
    if ((step[0] & 4) != 0) {
        (void)slot.module->ops->read(slot.device, region, offset, size);
    } else {
        slot.module->ops->write(slot.device, region, offset, size,
                                step[3] * UINT64_C(0x0101010101010101));
    }
}

static void take_step(const uint8_t *step)
{
    switch (step[0] & 3) {
    case 0:
        if ((step[0] & 0xf8) == 0x08 && slot.module->ops->receive != NULL) {
            uint8_t typed[64] = {step[2]};

            if (fake_slot_type(&slot, typed, step[1] % sizeof(typed)) > step[1] % sizeof(typed)) {
                abort();
            }
        } else if ((step[0] & 0xf8) == 0x10) {
            fake_slot_reset(&slot);
        } else if ((step[0] & 0xf8) == 0x18) {
            (void)fake_slot_state(&slot);
        } else if ((step[0] & 0xf8) == 0x20) {
            slot.wall_ns = (uint64_t)step[1] << 56 >> 2 | (uint64_t)step[2] << 40; /* was set */
        } else {
            fake_slot_advance(&slot, (uint64_t)step[1] * step[2] * 1000);
        }
        break;
    default:
        access_device(step);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct vdev_module *modules[3];

    modules[0] = vdev_ser8250_module;
    modules[1] = vdev_mc146818_module;
    modules[2] = vdev_pckeyboard_module;
    if (size < 1 || fake_slot_create(&slot, modules[data[0] % 3], NULL, 0, NULL, 0) != 0) {
        return 0;
    }
    for (size_t at = 1; at + 4 <= size; at += 4) {
        take_step(data + at);
    }
    (void)fake_slot_state(&slot);
    fake_slot_destroy(&slot);
    return 0;
}
