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

int vdev_host_key(struct vdev_host *host, uint16_t key, bool is_down)
{
    struct vdev_slot *slot = find_input(host, key >= BUTTON_FIRST);
    bool is_taken;

    if (slot == NULL) {
        return -ENODEV;
    }
    (void)pthread_mutex_lock(&slot->lock);
    is_taken = slot->loaded->ops.key(slot->device, key, is_down);
    (void)pthread_mutex_unlock(&slot->lock);
    return is_taken ? 0 : -ENOBUFS;
}

int vdev_host_point(struct vdev_host *host, uint16_t x, uint16_t y)
{
    struct vdev_slot *slot = find_input(host, true);
    bool is_taken;

    if (slot == NULL) {
        return -ENODEV;
    }
    (void)pthread_mutex_lock(&slot->lock);
    is_taken = slot->loaded->ops.point(slot->device, x, y);
    (void)pthread_mutex_unlock(&slot->lock);
    return is_taken ? 0 : -ENOBUFS;
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
