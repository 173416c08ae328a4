/* A guest, a clock and a console that drive one device. */
#include "tests/fake/vdev_drive.h"

#define TYPED_MAX 16u /* bytes of the console in one step */

static uint64_t access_device(struct vdev_slot *slot, const uint8_t *step)
{
    static const uint32_t sizes[] = {1, 2, 4, 8};
    const struct vdev_module *module = slot->module;
    uint32_t region = (step[1] & 0x3f) % module->default_region_count;
    uint64_t space = module->default_regions[region].size;
    uint64_t offset = (step[2] | (uint64_t)(step[1] & 1) << 8) % space;
    uint32_t size = sizes[step[1] >> 6];
    uint64_t mask, value = step[3];

    if (module->default_regions[region].space == VDEV_SPACE_MEMORY) {
        size = size == 1 ? 8 : 4; /* registers of memory are words, in the first part */
        offset = (offset & 0x1ff) / size * size;
    }
    while (offset + size > space) {
        size /= 2; /* as the bus does, accesses stay inside */
    }
    mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
    if ((step[0] & 0x80) != 0) {
        return module->ops->read(slot->device, region, offset, size) & mask;
    }
    if ((step[0] & 0x40) != 0) {
        value *= UINT64_C(0x0101010101010101);
    }
    module->ops->write(slot->device, region, offset, size, value & mask);
    return 0;
}

static uint64_t type(struct vdev_slot *slot, const uint8_t *step)
{
    uint8_t typed[TYPED_MAX] = {step[2], step[3], step[2] ^ step[3]};

    return slot->module->ops->receive != NULL ? fake_slot_type(slot, typed, step[1] % TYPED_MAX)
                                              : 0;
}

/* What local APICs and lines do with interrupt controllers. */
static uint64_t drive_controller(struct vdev_slot *slot, const uint8_t *step)
{
    const struct vdev_ops *ops = slot->module->ops;

    if ((step[1] & 3) < 2 && ops->input != NULL) {
        ops->input(slot->device, step[2] % 8, (step[1] & 1) != 0);
    } else if ((step[1] & 3) == 2 && ops->acknowledge != NULL) {
        return (uint64_t)ops->acknowledge(slot->device);
    } else if (ops->end_of_interrupt != NULL) {
        ops->end_of_interrupt(slot->device, step[2]);
    }
    return 0;
}

uint64_t vdev_drive(struct vdev_slot *slot, const uint8_t step[VDEV_DRIVE_STEP])
{
    switch (step[0] & 0x0f) {
    case 0:
        return type(slot, step);
    case 1:
        return drive_controller(slot, step);
    case 2:
        return slot->module->ops->key != NULL
                   ? slot->module->ops->key(slot->device, step[1], (step[2] & 1) != 0)
                   : 0;
    case 3:
        fake_slot_advance(slot, (uint64_t)step[1] * step[2] * 1000);
        return 0;
    case 4:
        fake_slot_advance(slot, (uint64_t)step[1] * 4000000);
        return 0;
    default:
        return access_device(slot, step);
    }
}
