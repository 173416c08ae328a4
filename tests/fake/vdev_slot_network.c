/* The network of a slot for one device. */
#include <errno.h>
#include <string.h>

#include "tests/fake/vdev_slot.h"

bool fake_slot_network(struct vdev_slot *slot, uint32_t event)
{
    slot->network_event = event;
    return slot->has_network;
}

int fake_slot_queue_send(struct vdev_slot *slot, uint32_t queue, const struct vdev_piece *pieces,
                         uint32_t count)
{
    struct fake_frame *to = &slot->out[slot->out_count % FAKE_FRAMES_MAX];

    if (slot->frame_room == 0) {
        return -EAGAIN;
    }
    slot->frame_room--;
    slot->out_count++;
    to->size = 0;
    to->queue = queue;
    for (uint32_t i = 0; i < count; i++) {
        for (uint64_t j = 0; j < pieces[i].size; j++, to->size++) {
            if (to->size < sizeof(to->bytes)) {
                to->bytes[to->size] = ((const uint8_t *)pieces[i].base)[j];
            }
        }
    }
    return 0;
}

int fake_slot_frame_send(struct vdev_slot *slot, const struct vdev_piece *pieces, uint32_t count)
{
    return fake_slot_queue_send(slot, 0, pieces, count);
}

size_t fake_slot_queue_receive(struct vdev_slot *slot, uint32_t queue, void *to, size_t size)
{
    const struct fake_frame *from = &slot->in[slot->in_next % FAKE_FRAMES_MAX];

    if (slot->in_next == slot->in_count || from->queue != queue) {
        return 0;
    }
    slot->in_next++;
    memset(to, 0xee, size);
    memcpy(to, from->bytes, from->size < sizeof(from->bytes) ? from->size : sizeof(from->bytes));
    return from->size;
}

size_t fake_slot_frame_receive(struct vdev_slot *slot, void *to, size_t size)
{
    return fake_slot_queue_receive(slot, 0, to, size);
}

bool fake_slot_network_is_up(struct vdev_slot *slot)
{
    return !slot->is_unlinked;
}

void fake_slot_link(struct vdev_slot *slot, bool is_up)
{
    slot->is_unlinked = !is_up;
    slot->module->ops->event(slot->device, slot->network_event);
}

void fake_slot_frame(struct vdev_slot *slot, const void *bytes, size_t size)
{
    fake_slot_queue_frame(slot, 0, bytes, size);
}

void fake_slot_queue_frame(struct vdev_slot *slot, uint32_t queue, const void *bytes, size_t size)
{
    struct fake_frame *to = &slot->in[slot->in_count++ % FAKE_FRAMES_MAX];

    to->size = size;
    to->queue = queue;
    memcpy(to->bytes, bytes, size < sizeof(to->bytes) ? size : sizeof(to->bytes));
    slot->module->ops->event(slot->device, slot->network_event + queue);
}
