/* The streams of a slot for one device. */
#include "tests/fake/vdev_slot.h"

void fake_slot_stream_write(struct vdev_slot *slot, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++, slot->sent_count++) {
        if (slot->sent_count < FAKE_SENT_MAX) {
            slot->sent[slot->sent_count] = data[i];
        }
    }
}

void fake_slot_stream_resume(struct vdev_slot *slot)
{
    slot->resume_count++;
}

void fake_slot_port_write(struct vdev_slot *slot, uint32_t port, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++, slot->ports[port].sent_count++) {
        if (slot->ports[port].sent_count < FAKE_PORT_SENT_MAX) {
            slot->ports[port].sent[slot->ports[port].sent_count] = data[i];
        }
    }
}

void fake_slot_port_resume(struct vdev_slot *slot, uint32_t port)
{
    slot->ports[port].resume_count++;
}
