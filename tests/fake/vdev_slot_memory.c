/* Memory of a slot for one device: what the guest gives back, and what the device shows. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/vdev_slot.h"

int fake_slot_memory_discard(struct vdev_slot *slot, void *at, uint64_t size)
{
    for (uint32_t i = 0; i < FAKE_MEMORY_MAX; i++) {
        const struct fake_memory *memory = &slot->memory[i];

        if (memory->bytes != NULL && (uint8_t *)at >= memory->bytes &&
            (uint64_t)((uint8_t *)at - memory->bytes) < memory->size &&
            size <= memory->size - (uint64_t)((uint8_t *)at - memory->bytes)) {
            slot->discard_count++;
            slot->discarded_at = memory->start + (uint64_t)((uint8_t *)at - memory->bytes);
            slot->discarded_size = size;
            memset(at, 0, size);
            return slot->discarded_at % 4096 == 0 && size % 4096 == 0 ? 0 : -EINVAL;
        }
    }
    return -EINVAL;
}

int fake_slot_memory_show(struct vdev_slot *slot, uint32_t region, uint64_t offset, void *memory,
                          uint64_t size)
{
    if (slot->refuses_memory) {
        return -ENOTSUP;
    }
    if (!slot->module->shows_memory || region != 0 ||
        (offset | size | (uintptr_t)memory) % 4096 != 0) {
        abort(); /* the device's own fault, whatever its guest does */
    }
    slot->shown = size > 0 ? memory : NULL;
    slot->shown_size = size;
    slot->show_count++;
    return 0;
}
