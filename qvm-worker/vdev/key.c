/* What people do to the devices of a VM: keys, breaks, the sizes of console and balloon.
 */
#include <errno.h>

#include "qvm-worker/vdev/private.h"

#define BUTTON_FIRST 0x100u /* BTN_MISC: what is below is a key */

/* The first pointer, or the first keyboard. */
static struct vdev_slot *find_input(struct vdev_host *host, bool is_pointer)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct vdev_slot *slot = host->slots[i];
        const struct vdev_ops *ops = &slot->loaded->ops;

        if (slot->device != NULL && ops->key != NULL && (!is_pointer || ops->point != NULL)) {
            return slot;
        }
    }
    return NULL;
}

/* The slot's lock is held. */
static bool give_input(struct vdev_slot *slot, const struct held_input *input)
{
    const struct vdev_ops *ops = &slot->loaded->ops;

    return input->is_move ? ops->point(slot->device, input->code, input->y)
                          : ops->key(slot->device, input->code, input->is_down);
}

/* While the VM is paused nobody writes into its memory: what is pressed then is pressed when it
 * goes on. A function that is no bus master hears nothing at all: it has no driver. */
static int take_input(struct vdev_slot *slot, struct held_input input)
{
    struct held_inputs *held;
    bool is_taken = false;

    if (slot == NULL) {
        return -ENODEV;
    }
    held = &slot->host->held_inputs;
    input.slot = slot;
    (void)pthread_mutex_lock(&slot->lock);
    if (slot->is_mute) {
        is_taken = false;
    } else if (!slot->is_held) {
        is_taken = give_input(slot, &input);
    } else if (held->count < (input.is_down || input.is_move ? HELD_INPUTS : 2 * HELD_INPUTS)) {
        held->rows[held->count++] = input;
        is_taken = true;
    }
    (void)pthread_mutex_unlock(&slot->lock);
    return is_taken ? 0 : -ENOBUFS;
}

int vdev_host_key(struct vdev_host *host, uint16_t key, bool is_down)
{
    return take_input(find_input(host, key >= BUTTON_FIRST),
                      (struct held_input){.code = key, .is_down = is_down});
}

int vdev_host_point(struct vdev_host *host, uint16_t x, uint16_t y)
{
    return take_input(find_input(host, true),
                      (struct held_input){.is_move = true, .code = x, .y = y});
}

void vdev_host_forget_held_inputs(struct vdev_slot *slot)
{
    struct held_inputs *held = &slot->host->held_inputs;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < held->count; i++) {
        if (held->rows[i].slot != slot) {
            held->rows[kept++] = held->rows[i];
        }
    }
    held->count = kept;
}

void vdev_host_give_held_inputs(struct vdev_host *host)
{
    struct held_inputs *held = &host->held_inputs;

    for (uint32_t i = 0; i < held->count; i++) {
        struct vdev_slot *slot = held->rows[i].slot;

        (void)pthread_mutex_lock(&slot->lock);
        if (!slot->is_mute) {
            (void)give_input(slot, &held->rows[i]); /* the device counts what has no room */
        }
        (void)pthread_mutex_unlock(&slot->lock);
    }
    held->count = 0;
}

int vdev_host_break(struct vdev_host *host)
{
    struct vdev_slot *line = NULL;
    bool is_heard;

    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct vdev_slot *slot = host->slots[i];

        if (slot->device != NULL && slot->loaded->ops.line_break != NULL &&
            (line == NULL || (vdev_host_has_console(slot) && !vdev_host_has_console(line)))) {
            line = slot;
        }
    }
    if (line == NULL) {
        return -ENODEV;
    }
    (void)pthread_mutex_lock(&line->lock);
    is_heard = line->loaded->ops.line_break(line->device);
    (void)pthread_mutex_unlock(&line->lock);
    return is_heard ? 0 : -ENOBUFS;
}

int vdev_host_resize(struct vdev_host *host, uint16_t columns, uint16_t rows)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct vdev_slot *slot = host->slots[i];

        if (slot->device != NULL && slot->loaded->ops.resize != NULL &&
            vdev_host_has_console(slot)) {
            (void)pthread_mutex_lock(&slot->lock);
            slot->loaded->ops.resize(slot->device, columns, rows);
            (void)pthread_mutex_unlock(&slot->lock);
            return 0;
        }
    }
    return -ENODEV;
}

int vdev_host_balloon(struct vdev_host *host, uint64_t bytes)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct vdev_slot *slot = host->slots[i];
        int r;

        if (slot->device != NULL && slot->loaded->ops.balloon != NULL) {
            (void)pthread_mutex_lock(&slot->lock);
            r = slot->loaded->ops.balloon(slot->device, bytes);
            (void)pthread_mutex_unlock(&slot->lock);
            return r;
        }
    }
    return -ENODEV;
}

const char *vdev_host_discards(const struct vdev_host *host, uint32_t index)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (host->slots[i]->loaded->module.discards_memory && index-- == 0) {
            return host->slots[i]->where;
        }
    }
    return NULL;
}
