/* The kernel's part in a device's queues, from its options to the door: a tap's, or a vsock's. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/conf/value.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/vdev/tap_kernel.h"
#include "qvm-worker/vdev/tap_kernel_private.h"

int vdev_host_read_vhost(struct vdev_slot *slot, const struct vdev_value *value, struct err *err)
{
    bool is_on = false;

    if (strcmp(value->text, "auto") == 0) {
        slot->vhost = VDEV_HOST_VHOST_AUTO;
        slot->vhost_where = value->where;
        return 0;
    }
    if (conf_parse_bool(value->text, &is_on) != 0) {
        return err_set(err, -EINVAL, "%s: vhost '%s' is none of on, off and auto", value->where,
                       value->text);
    }
    slot->vhost = is_on ? VDEV_HOST_VHOST_ON : VDEV_HOST_VHOST_OFF;
    slot->vhost_where = value->where;
    return 0;
}

void vdev_host_read_cid(struct vdev_slot *slot, const struct vdev_value *value, bool is_fallback)
{
    (void)snprintf(slot->cid, sizeof(slot->cid), "%" PRIu64, value->number[0]);
    slot->cid_where = is_fallback ? NULL : value->where;
}

/* Where its programs find the guest is another thing with either: the host does not choose. */
static int settle_cid(struct vdev_slot *slot, struct err *err)
{
    if (slot->vhost == VDEV_HOST_VHOST_AUTO) {
        return err_set(err, -EINVAL,
                       "%s: programs of the host find a guest at another place with and without "
                       "the kernel: say 'vhost on' or 'vhost off'",
                       slot->vhost_where);
    }
    if (slot->vhost == VDEV_HOST_VHOST_OFF) {
        return 0;
    }
    if (slot->listen_need.path != NULL) {
        return err_set(err, -EINVAL,
                       "%s: with 'vhost on' programs of the host find the guest by its cid: leave "
                       "'listen' out, or take 'vhost off'",
                       slot->listen_need.where);
    }
    slot->cid_need = (struct vdev_host_need){.kind = VDEV_HOST_NEED_CID,
                                             .can_read = true,
                                             .can_write = true,
                                             .path = slot->cid,
                                             .where = slot->cid_where != NULL ? slot->cid_where
                                                                              : slot->vhost_where,
                                             .device = slot->name,
                                             .count = 1,
                                             .vhost = slot->vhost};
    return 0;
}

int vdev_host_settle_vhost(struct vdev_slot *slot, struct err *err)
{
    bool is_tap = slot->network_need.path != NULL && slot->network_need.kind == VDEV_HOST_NEED_TAP;

    if (*slot->cid != '\0') {
        return settle_cid(slot, err);
    }
    if (!is_tap) {
        return slot->vhost != VDEV_HOST_VHOST_ON
                   ? 0
                   : err_set(err, -EINVAL,
                             "%s: the kernel works off the queues of a tap: leave 'vhost' out, or "
                             "take a tap",
                             slot->vhost_where);
    }
    slot->network_need.vhost = slot->vhost;
    return 0;
}

int vdev_host_grant_vhost(struct vdev_slot *slot, uint32_t queue, int fd)
{
    auto_close int taken = fd;

    if (taken < 0 || queue >= VDEV_NETWORK_QUEUES_MAX) {
        return 0;
    }
    if (slot->tap_kernel == NULL) {
        slot->tap_kernel = calloc(1, sizeof(*slot->tap_kernel));
        if (slot->tap_kernel == NULL) {
            return -ENOMEM;
        }
        slot->tap_kernel->work_fd = -1;
        for (uint32_t i = 0; i < VDEV_NETWORK_QUEUES_MAX; i++) {
            slot->tap_kernel->fds[i] = -1;
        }
    }
    slot->tap_kernel->fds[queue] = take_fd(&taken);
    return 0;
}

static int own(struct slot_vhost *vhost, const struct vdev_slot *slot)
{
    int r = 0;

    vhost->offered = UINT64_MAX;
    vhost->count = vdev_host_vhost_need(slot)->count;
    for (uint32_t i = 0; r == 0 && i < vhost->count; i++) {
        uint64_t offered = 0;

        r = vhost_kernel_own(vhost->fds[i], &offered);
        r = r == 0 ? vhost_kernel_set_memory(vhost->fds[i], slot->host->env.memory) : r;
        vhost->offered &= offered;
    }
    if (r == 0 && slot->cid_need.path != NULL) {
        r = vhost_kernel_set_cid(vhost->fds[0], strtoull(slot->cid, NULL, 10));
    }
    vhost->work_fd = r == 0 ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
    return r == 0 && vhost->work_fd < 0 ? -errno : r;
}

static int refuse(const struct vdev_slot *slot, int r, struct err *err)
{
    if (r == -EADDRINUSE) {
        return err_set(err, r,
                       "%s: another program of the host has the cid %s for a guest of its own: "
                       "take another one",
                       slot->cid_need.where, slot->cid);
    }
    return err_sys(err, r, "%s: the kernel does not work off the queues of '%s'", slot->vhost_where,
                   slot->cid_need.path != NULL ? slot->name : slot->network_need.path);
}

int vdev_host_open_vhost(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_host_need *need = vdev_host_vhost_need(slot);
    struct slot_vhost *vhost = slot->tap_kernel;
    pthread_condattr_t attributes;
    int r;

    if (slot->host->env.is_dry || need->path == NULL) {
        return 0;
    }
    r = vhost == NULL || slot->host->env.memory == NULL ? -ENODEV : own(vhost, slot);
    if (r != 0 && need->vhost == VDEV_HOST_VHOST_ON) {
        return refuse(slot, r, err);
    }
    if (r != 0 && vhost != NULL) {
        log_line(LOG_warn, "vdev: the kernel does not work its queues off device=%s why=%s",
                 slot->name, strerrordesc_np(-r));
        vdev_host_close_vhost(slot);
    }
    if (r != 0) {
        return 0;
    }
    (void)pthread_condattr_init(&attributes); /* none of these can fail for plain ones */
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&vhost->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    vhost->is_open = true;
    return 0;
}

void vdev_host_close_vhost(struct vdev_slot *slot)
{
    struct slot_vhost *vhost = take_ptr(slot->tap_kernel);

    if (vhost == NULL) {
        return;
    }
    if (vhost->is_open) {
        (void)pthread_cond_destroy(&vhost->changed); /* nobody waits: no vCPU runs */
    }
    for (uint32_t i = 0; i < VDEV_NETWORK_QUEUES_MAX; i++) {
        cleanup_close(&vhost->fds[i]);
    }
    cleanup_close(&vhost->work_fd);
    free(vhost);
}
