/* What vdevs need opened outside: named one after the other, and given. */
#include "proto/base/cleanup.h"
#include "qvm-worker/vdev/backend.h"
#include "qvm-worker/vdev/ports.h"
#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vdev/sockets.h"
#include "qvm-worker/vdev/tap_kernel.h"

const struct vdev_host_need *vdev_host_next_need(const struct vdev_host *host,
                                                 const struct vdev_host_need *previous)
{
    bool is_after = previous == NULL;

    for (uint32_t i = 0; i < host->slot_count; i++) {
        const struct vdev_slot *slot = host->slots[i];
        const struct vdev_host_need *need;

        for (uint32_t j = 0; j < STREAM_COUNT; j++) {
            const struct slot_stream *stream = &slot->streams[j];

            if (is_after && stream->kind == STREAM_GRANTED &&
                (stream->need.can_read || stream->need.can_write)) {
                return &stream->need;
            }
            is_after = is_after || &stream->need == previous;
        }
        if (is_after && slot->image_need.path != NULL) {
            return &slot->image_need;
        }
        is_after = is_after || &slot->image_need == previous;
        if (is_after && slot->network_need.path != NULL) {
            return &slot->network_need;
        }
        is_after = is_after || &slot->network_need == previous;
        if (is_after && slot->cid_need.path != NULL) {
            return &slot->cid_need;
        }
        is_after = is_after || &slot->cid_need == previous;
        if (is_after && slot->backend_need.path != NULL) {
            return &slot->backend_need;
        }
        is_after = is_after || &slot->backend_need == previous;
        if (is_after && slot->listen_need.path != NULL) {
            return &slot->listen_need;
        }
        is_after = is_after || &slot->listen_need == previous;
        need = vdev_host_next_port_need(slot, previous, &is_after);
        if (need != NULL) {
            return need;
        }
    }
    return NULL;
}

void vdev_host_grant(struct vdev_host *host, const struct vdev_host_need *need, int fd)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        for (uint32_t j = 0; j < STREAM_COUNT; j++) {
            if (&host->slots[i]->streams[j].need == need) {
                cleanup_close(&host->slots[i]->streams[j].fd);
                host->slots[i]->streams[j].fd = fd;
            }
        }
        if (&host->slots[i]->image_need == need) {
            cleanup_close(&host->slots[i]->image_fd);
            host->slots[i]->image_fd = fd;
        }
        if (&host->slots[i]->network_need == need) {
            cleanup_close(&host->slots[i]->network_fds[0]);
            host->slots[i]->network_fds[0] = fd;
        }
        if (&host->slots[i]->cid_need == need) {
            (void)vdev_host_grant_vhost(host->slots[i], 0, fd); /* without memory: none is there */
        }
        if (&host->slots[i]->backend_need == need) {
            vdev_host_grant_backend(host->slots[i], fd);
        }
        if (&host->slots[i]->listen_need == need) {
            vdev_host_grant_listen(host->slots[i], fd);
        }
        vdev_host_grant_port(host->slots[i], need, fd);
    }
}

void vdev_host_grant_queue(struct vdev_host *host, const struct vdev_host_need *need,
                           uint32_t queue, int fd)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (&host->slots[i]->network_need == need) {
            cleanup_close(&host->slots[i]->network_fds[queue]);
            host->slots[i]->network_fds[queue] = fd;
        }
    }
}

void vdev_host_grant_back_end(struct vdev_host *host, const struct vdev_host_need *need,
                              uint32_t queue, int fd)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (&host->slots[i]->network_need == need) {
            (void)vdev_host_grant_vhost(host->slots[i], queue,
                                        fd); /* without memory: none is there */
        }
    }
}
