/* Another helper for a device whose first one has ended.
 *
 * Whoever finds that it is gone says so, on any thread; the control thread wishes for another one,
 * and wishes again when somebody comes who can hear it. What is lost stays written here until one
 * has come, or is said to come never. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/vdev/backend.h"
#include "qvm-worker/vdev/frames.h"
#include "qvm-worker/vdev/private.h"

struct slot_again {
    uv_async_t async; /* to the control thread */
    atomic_bool is_lost;
    bool is_closed;
};

/* `fd` is taken over; -1: none comes. */
static void follow(struct vdev_slot *slot, int fd)
{
    struct err err = {0};
    int r;

    atomic_store(&slot->again->is_lost, false);
    if (slot->backend != NULL) {
        r = vdev_host_follow_backend(slot, fd, &err);
    } else if (slot->image != NULL) {
        r = image_follow(slot->image, fd, &err);
    } else {
        r = vdev_host_follow_network(slot, fd, &err);
    }
    if (r != 0) {
        log_line(LOG_warn, "vdev: its new helper is none device=%s why=\"%s\"", slot->name,
                 err.msg);
        (void)vdev_host_lose_helper(slot);
    } else if (fd >= 0) {
        log_line(LOG_info, "vdev: it has another helper device=%s", slot->name);
    }
}

static void wish(struct vdev_slot *slot)
{
    const struct vdev_host_env *env = &slot->host->env;
    int r;

    if (slot->again == NULL || slot->again->is_closed || !atomic_load(&slot->again->is_lost)) {
        return;
    }
    r = env->helper_wish(env->context, slot->name);
    if (r != 0 && r != -ENOTCONN) {
        follow(slot, -1);
    }
}

static void on_async(uv_async_t *async)
{
    wish(async->data);
}

bool vdev_host_lose_helper(struct vdev_slot *slot)
{
    if (slot->again == NULL) {
        return false;
    }
    atomic_store(&slot->again->is_lost, true);
    (void)uv_async_send(&slot->again->async); /* cannot fail for an open one */
    return true;
}

void vdev_host_wish_helpers(struct vdev_host *host)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        wish(host->slots[i]);
    }
}

/* It was told that none follows, or never wished: what has no helper takes one all the same. */
static bool is_without(struct vdev_slot *slot)
{
    bool is_it;

    if (slot->image != NULL) {
        return image_is_over(slot->image);
    }
    (void)pthread_mutex_lock(&slot->lock);
    is_it = slot->backend != NULL ? !vdev_host_backend_is_there(slot)
                                  : slot->frames != NULL && frames_are_over(slot->frames);
    (void)pthread_mutex_unlock(&slot->lock);
    return is_it;
}

void vdev_host_helper_given(struct vdev_host *host, const char *device, int fd)
{
    auto_close int taken = fd;

    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct vdev_slot *slot = host->slots[i];

        if (strcmp(slot->name, device) == 0 && slot->again != NULL && !slot->again->is_closed &&
            (atomic_load(&slot->again->is_lost) || (taken >= 0 && is_without(slot)))) {
            follow(slot, take_fd(&taken));
            return;
        }
    }
}

/* ---- its life ---- */

static bool has_helper(const struct vdev_slot *slot)
{
    return (slot->image_need.path != NULL && slot->image_need.kind == VDEV_HOST_NEED_HELPER) ||
           (slot->backend_need.path != NULL && slot->backend_need.kind == VDEV_HOST_NEED_HELPER) ||
           (slot->network_need.path != NULL && slot->network_need.kind == VDEV_HOST_NEED_USER);
}

int vdev_host_open_again(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_host_env *env = &slot->host->env;
    struct slot_again *again;

    if (!has_helper(slot) || env->is_dry || env->loop == NULL || env->helper_wish == NULL) {
        return 0;
    }
    again = calloc(1, sizeof(*again));
    if (again == NULL || uv_async_init(env->loop, &again->async, on_async) != 0) {
        free(again);
        return err_set(err, -ENOMEM, "%s: no memory for vdev '%s'", slot->where, slot->name);
    }
    again->async.data = slot;
    slot->open_handles++;
    slot->again = again;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct vdev_slot *slot = handle->data;

    vdev_host_closed_handle(slot);
}

void vdev_host_close_again(struct vdev_slot *slot)
{
    if (slot->again != NULL && !slot->again->is_closed) {
        slot->again->is_closed = true;
        uv_close((uv_handle_t *)&slot->again->async, on_closed);
    }
}
