/* Every module under random accesses, bytes, times and resets. The device must keep its promises to
 * the vdev host: never take more than it was given, never crash, answer `state` at any time. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/vdev_slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define VDEV(name) extern const struct vdev_module *const vdev_##name##_module;
#include "emulated_vdevs.inc"
#undef VDEV

#define MEMORY_SIZE 65536u

static struct vdev_slot slot;
static uint8_t memory[MEMORY_SIZE]; /* of the guest, from 0 on */

static void access_device(const uint8_t *step)
{
    static const uint32_t sizes[] = {1, 2, 4, 8};
    const struct vdev_region *regions = slot.module->default_regions;
    uint32_t region = step[1] % slot.module->default_region_count;
    uint64_t offset = (step[2] | (uint64_t)step[3] << 8) % regions[region].size;
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

static void type(const uint8_t *step)
{
    uint8_t typed[64] = {step[2]};

    if (slot.module->ops->receive != NULL &&
        fake_slot_type(&slot, typed, step[1] % sizeof(typed)) > step[1] % sizeof(typed)) {
        abort();
    }
}

/* A timer that comes late, or although it was set anew or the device reset meanwhile. */
static void fire(const uint8_t *step)
{
    const struct vdev_module *module = slot.module;
    uint32_t count = module->timer_count != 0 ? module->timer_count : 1;

    if (module->ops->timer != NULL) {
        module->ops->timer(slot.device, step[1] % count);
    }
}

/* What reaches interrupt controllers: lines of others, INTA cycles, ends of interrupts. */
static void disturb_controller(const uint8_t *step)
{
    const struct vdev_ops *ops = slot.module->ops;

    if ((step[3] & 3) == 0 && ops->acknowledge != NULL) {
        int vector = ops->acknowledge(slot.device);

        if (vector > 255 && (vector < VDEV_CASCADED || vector > VDEV_CASCADED + 255)) {
            abort();
        }
    } else if ((step[3] & 3) == 1 && ops->end_of_interrupt != NULL) {
        ops->end_of_interrupt(slot.device, step[1]);
    } else if (ops->input != NULL) {
        ops->input(slot.device, step[1] % 24, (step[2] & 1) != 0);
    }
}

static void press(const uint8_t *step)
{
    if (slot.module->ops->key != NULL) {
        (void)slot.module->ops->key(slot.device, (uint16_t)(step[1] | step[2] << 8),
                                    (step[3] & 1) != 0);
    }
}

/* The host does what the device began, or cannot; what the device itself rang is taken. */
static void serve_file(const uint8_t *step)
{
    if (slot.module->ops->event != NULL) {
        fake_slot_run(&slot);
    }
    if (slot.io_count > 0) {
        fake_slot_end_io(&slot, step[1] % slot.io_count, (step[2] & 1) != 0 ? -EIO : 0);
    }
}

/* Everything but an access of the guest. */
static void take_event(const uint8_t *step)
{
    switch (step[0] >> 3) {
    case 1:
        type(step);
        break;
    case 2:
        fake_slot_reset(&slot);
        break;
    case 3:
        (void)fake_slot_state(&slot);
        break;
    case 4:
        slot.wall_ns = (uint64_t)step[1] << 56 >> 2 | (uint64_t)step[2] << 40; /* was set */
        break;
    case 5:
        memory[step[1]] = step[2];
        break;
    case 6:
        fire(step);
        break;
    case 7:
    case 8:
        disturb_controller(step);
        break;
    case 9:
        press(step);
        break;
    case 10:
        serve_file(step);
        break;
    default:
        fake_slot_advance(&slot, (uint64_t)step[1] * step[2] * 1000);
    }
}

static void take_step(const uint8_t *step)
{
    if ((step[0] & 3) == 0) {
        take_event(step);
    } else {
        access_device(step);
    }
}

/* At its usual places; with a file, if it may have one. */
static int make(const struct vdev_module *module, bool is_read_only)
{
    const struct vdev_option *option = module->options;
    struct vdev_config config = {.regions = module->default_regions,
                                 .region_count = module->default_region_count,
                                 .intr_count = 1};

    for (; option != NULL && option->name != NULL; option++) {
        if (option->kind == VDEV_OPTION_IMAGE) {
            slot.has_image = true;
            slot.image = (struct vdev_image){.size = module->default_regions[0].size,
                                             .block = 512,
                                             .is_read_only = is_read_only};
            return fake_slot_build(&slot, module, &config);
        }
    }
    return fake_slot_create(&slot, module, NULL, 0, NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
#define VDEV(name) vdev_##name##_module,
    const struct vdev_module *const modules[] = {
#include "emulated_vdevs.inc"
    };
#undef VDEV
    const size_t count = sizeof(modules) / sizeof(modules[0]);

    if (size < 1 || make(modules[data[0] % count], data[0] > 0xf0) != 0) {
        return 0;
    }
    memset(memory, 0, sizeof(memory));
    slot.memory[0] = (struct fake_memory){0, memory, sizeof(memory)};
    slot.file_count = 1;
    slot.files[0].name = "etc/file";
    slot.files[0].bytes = data;
    slot.files[0].size = (uint32_t)size;
    for (size_t at = 1; at + 4 <= size; at += 4) {
        take_step(data + at);
    }
    (void)fake_slot_state(&slot);
    fake_slot_destroy(&slot);
    return 0;
}
