/* The image of a slot for one device. */
#include <errno.h>
#include <string.h>

#include "tests/fake/vdev_slot.h"

bool fake_slot_image(struct vdev_slot *slot, struct vdev_image *image)
{
    *image = slot->image;
    return slot->has_image;
}

int fake_slot_image_io(struct vdev_slot *slot, const struct vdev_io *io)
{
    struct fake_io *to = &slot->ios[slot->io_count];
    uint64_t size = 0;

    for (uint32_t i = 0; i < io->piece_count; i++) {
        size += io->pieces[i].size;
    }
    if (io->piece_count > VDEV_IO_PIECES || io->offset > slot->image.size ||
        size > slot->image.size - io->offset ||
        (io->kind == VDEV_IO_WRITE && slot->image.is_read_only)) {
        return -EINVAL;
    }
    if (slot->io_count == FAKE_IO_MAX) {
        return -EBUSY;
    }
    to->io = *io;
    if (io->piece_count > 0) { /* a flush has none */
        memcpy(to->pieces, io->pieces, io->piece_count * sizeof(to->pieces[0]));
    }
    to->io.pieces = to->pieces;
    slot->io_count++;
    slot->io_begins++;
    return 0;
}

void fake_slot_image_stop(struct vdev_slot *slot)
{
    slot->io_count = 0;
    slot->io_stops++;
}

void fake_slot_image_settle(struct vdev_slot *slot)
{
    while (slot->io_count > 0) {
        fake_slot_end_io(slot, 0, 0);
    }
}

static void take_out(struct vdev_slot *slot, uint32_t i)
{
    slot->io_count--;
    for (; i < slot->io_count; i++) {
        slot->ios[i] = slot->ios[i + 1];
        slot->ios[i].io.pieces = slot->ios[i].pieces;
    }
}

void fake_slot_image_drop(struct vdev_slot *slot, bool (*is_meant)(void *context, uint64_t token),
                          void *context)
{
    for (uint32_t i = slot->io_count; i-- > 0;) {
        if (is_meant(context, slot->ios[i].io.token)) {
            take_out(slot, i);
        }
    }
}

void fake_slot_end_io(struct vdev_slot *slot, uint32_t i, int result)
{
    uint64_t token = slot->ios[i].io.token;

    take_out(slot, i);
    slot->module->ops->io_done(slot->device, token, result);
}
