/* Restoring what is no state of any device: bytes of a saved one that are changed at will. It is
 * refused, and the device is as after a reset, or the device lives on with what it took. */
#include <stdlib.h>
#include <string.h>

#include "tests/fake/vdev_drive.h"
#include "tests/fuzz/fuzz.h"

#define VDEV(name) extern const struct vdev_module *const vdev_##name##_module;
#include "emulated_vdevs.inc"
#undef VDEV

#define MEMORY_SIZE 65536u
#define PATCH_SIZE  3u /* where (2), what (1) */

static struct vdev_slot slot;
static uint8_t memory[MEMORY_SIZE];

static void drive(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + VDEV_DRIVE_STEP <= size; at += VDEV_DRIVE_STEP) {
        (void)vdev_drive(&slot, data + at);
    }
}

/* Half of the input drives the device, before and after; the other half changes what it saved. */
static void save_and_restore(const uint8_t *data, size_t size)
{
    struct fields_writer saved = {0};

    drive(data, size / 2);
    if (fake_slot_save(&slot, &saved) != 0) {
        abort();
    }
    for (size_t at = size / 2; at + PATCH_SIZE <= size && saved.size > 0; at += PATCH_SIZE) {
        saved.bytes[(data[at] | (size_t)data[at + 1] << 8) % saved.size] = data[at + 2];
    }
    (void)fake_slot_restore(&slot, saved.bytes, saved.size);
    fields_discard(&saved);
    drive(data, size / 2);
    (void)fake_slot_state(&slot);
    if (fake_slot_save(&slot, &saved) != 0) {
        abort();
    }
    fields_discard(&saved);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
#define VDEV(name) vdev_##name##_module,
    const struct vdev_module *const modules[] = {
#include "emulated_vdevs.inc"
    };
#undef VDEV
    const struct vdev_module *module;

    if (size < 2) {
        return 0;
    }
    module = modules[data[0] % (sizeof(modules) / sizeof(modules[0]))];
    if (module->ops->save == NULL || fake_slot_create(&slot, module, NULL, 0, NULL, 0) != 0) {
        return 0;
    }
    memset(memory, 0, sizeof(memory));
    slot.memory[0] = (struct fake_memory){0, memory, sizeof(memory)};
    if ((data[1] & 1) != 0) {
        save_and_restore(data + 2, size - 2);
    } else {
        (void)fake_slot_restore(&slot, data + 2, size - 2);
        drive(data + 2, size - 2);
    }
    fake_slot_destroy(&slot);
    return 0;
}
