/* The back end of a slot for one device. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/vdev_slot.h"

bool fake_slot_backend(struct vdev_slot *slot, uint32_t lost, struct vdev_backend *backend)
{
    slot->backend_lost = lost;
    *backend = slot->backend;
    return slot->has_backend;
}

int fake_slot_backend_config(struct vdev_slot *slot, void *to, uint32_t size)
{
    for (uint32_t i = 0; i < size && size <= slot->backend_config_size; i++) {
        ((uint8_t *)to)[i] = (uint8_t)(i + 1);
    }
    return size <= slot->backend_config_size ? 0 : -EINVAL;
}

int fake_slot_backend_start(struct vdev_slot *slot, uint64_t features,
                            const struct vdev_backend_queue *queues, uint32_t count)
{
    slot->backend_features = features;
    for (uint32_t i = 0; i < count; i++) {
        if (queues[i].index >= VDEV_BACKEND_QUEUES_MAX ||
            slot->is_backend_running[queues[i].index]) {
            abort(); /* a queue that runs is stopped before it is another */
        }
        slot->backend_queues[queues[i].index] = queues[i];
        slot->is_backend_running[queues[i].index] = true;
    }
    return 0;
}

void fake_slot_backend_configure(struct vdev_slot *slot, uint32_t offset, const void *from,
                                 uint32_t size)
{
    slot->backend_told_offset = offset;
    slot->backend_told_size = size;
    memcpy(slot->backend_told, from, size < sizeof(slot->backend_told) ? size : 0);
}

void fake_slot_backend_stop(struct vdev_slot *slot, uint32_t queue)
{
    slot->is_backend_running[queue] = false;
    if (slot->on_backend_stop != NULL) {
        slot->on_backend_stop(slot);
    }
}

int fake_slot_vector_event(struct vdev_slot *slot, uint32_t vector)
{
    return vector < slot->function.vector_count ? 100 + (int)vector : -EINVAL;
}

bool fake_slot_backend_is_there(struct vdev_slot *slot)
{
    return slot->has_backend && !slot->is_backend_gone;
}
