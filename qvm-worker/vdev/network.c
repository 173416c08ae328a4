/* The network behind a vdev's TAP or PEER option.
 *
 * A tap takes a frame from several pieces and tells at once whether it has room; it is this qvm's
 * alone. A cable to a peer is a pair of sockets that both guests' qvms have, one of which may be
 * hostile: it is told with each call not to wait, what is sent to it is one copy, and descriptors
 * that come with a frame are closed by the kernel, as nobody asks for them. A user's network is a
 * stream to a helper (frames.h). */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/base/tap.h"
#include "qvm-worker/vdev/frames.h"
#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vdev/tap_kernel.h"

#define PIECES_MAX 1024u /* of one frame: IOV_MAX */

/* As users of QNX Hypervisor write it. */
#define PEER_PREFIX      "/dev/qvm/"
#define HOST_PEER_PREFIX "/dev/vdevpeer"

static int check_tap(const struct vdev_value *value, struct err *err)
{
    const char *comma = strchr(value->text, ',');
    size_t size = comma != NULL ? (size_t)(comma - value->text) : strlen(value->text);

    if (!tap_is_name(value->text, size) ||
        (comma != NULL && !tap_is_name(comma + 1, strlen(comma + 1)))) {
        return err_set(err, -EINVAL,
                       "%s: tap '%s' is no NAME or NAME,BRIDGE of network devices (up to %d bytes "
                       "each, no '/', no space)",
                       value->where, value->text, IFNAMSIZ - 1);
    }
    return 0;
}

static bool is_part(const char *text, size_t size)
{
    return size > 0 && size <= VDEV_HOST_NAME_MAX && memchr(text, '/', size) == NULL;
}

/* GUEST/VDEV, or /dev/qvm/GUEST/VDEV. */
static int check_peer(const struct vdev_value *value, const char **path, struct err *err)
{
    const char *text = value->text, *slash;

    if (strncmp(text, HOST_PEER_PREFIX, sizeof(HOST_PEER_PREFIX) - 1) == 0) {
        return err_set(err, -EINVAL,
                       "%s: peer '%s' is the host: on Linux that is a tap, 'tap NAME[,BRIDGE]'",
                       value->where, text);
    }
    if (strncmp(text, PEER_PREFIX, sizeof(PEER_PREFIX) - 1) == 0) {
        text += sizeof(PEER_PREFIX) - 1;
    }
    slash = strchr(text, '/');
    if (slash == NULL || !is_part(text, (size_t)(slash - text)) ||
        !is_part(slash + 1, strlen(slash + 1))) {
        return err_set(err, -EINVAL,
                       "%s: peer '%s' is no GUEST/VDEV: the name of another guest, and the 'name' "
                       "of its virtio-net",
                       value->where, value->text);
    }
    *path = text;
    return 0;
}

int vdev_host_read_network(struct vdev_slot *slot, const struct vdev_value *value, struct err *err)
{
    enum vdev_option_kind kind = slot->loaded->module.options[value->option].kind;
    bool is_user = kind == VDEV_OPTION_USER, is_peer = kind == VDEV_OPTION_PEER;
    struct vdev_host_need need = {.kind = is_user   ? VDEV_HOST_NEED_USER
                                          : is_peer ? VDEV_HOST_NEED_PEER
                                                    : VDEV_HOST_NEED_TAP,
                                  .can_read = true,
                                  .can_write = true,
                                  .path = is_user ? slot->name : value->text,
                                  .where = value->where,
                                  .device = slot->name};
    int r = is_user ? 0 : is_peer ? check_peer(value, &need.path, err) : check_tap(value, err);

    if (r == 0 && slot->network_need.path != NULL && slot->network_need.kind != need.kind) {
        r = err_set(err, -EINVAL,
                    "%s: a vdev has one of a tap, a peer and a user's network: another is at %s",
                    value->where, slot->network_need.where);
    }
    if (r == 0) {
        slot->network_need = need;
    }
    return r;
}

int vdev_host_settle_network(struct vdev_slot *slot, struct err *err)
{
    slot->network_need.count = slot->network_queues > 1 ? slot->network_queues : 1;
    if (slot->network_need.count > 1 && slot->network_need.path != NULL &&
        slot->network_need.kind != VDEV_HOST_NEED_TAP) {
        return err_set(err, -EINVAL, "%s: %s has one queue: leave 'queues' out, or take a tap",
                       slot->network_queues_where,
                       slot->network_need.kind == VDEV_HOST_NEED_PEER ? "a cable to a peer"
                                                                      : "a user's network");
    }
    return vdev_host_settle_vhost(slot, err);
}

/* What was granted is a socket of whole frames (SOCK_SEQPACKET), if it is to be a peer. */
static bool is_local(int fd, int wanted)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof(domain);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && domain == AF_UNIX &&
           type == wanted;
}

int vdev_host_open_network(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_host_need *need = &slot->network_need;

    if (need->path == NULL || slot->host->env.is_dry) {
        return 0;
    }
    for (uint32_t i = 0; i < need->count; i++) {
        if (slot->network_fds[i] < 0) {
            return err_set(err, -ENODEV, "%s: '%s' was not given to vdev '%s'", need->where,
                           need->path, slot->name);
        }
    }
    if (need->kind == VDEV_HOST_NEED_PEER) {
        if (!is_local(slot->network_fds[0], SOCK_SEQPACKET)) {
            return err_set(err, -EINVAL, "%s: what came for peer '%s' is no cable", need->where,
                           need->path);
        }
        slot->network_buffer = malloc(VDEV_FRAME_MAX);
        if (slot->network_buffer == NULL) {
            return err_set(err, -ENOMEM, "%s: no memory for a vdev's network", need->where);
        }
    }
    if (need->kind == VDEV_HOST_NEED_USER) {
        int fd = slot->network_fds[0];

        if (!is_local(fd, SOCK_STREAM) || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
            return err_set(err, -EINVAL, "%s: what came for '%s' is no stream", need->where,
                           need->path);
        }
        slot->frames = frames_create(fd);
        if (slot->frames == NULL) {
            return err_set(err, -ENOMEM, "%s: no memory for a vdev's network", need->where);
        }
    }
    return 0;
}

void vdev_host_close_network(struct vdev_slot *slot)
{
    for (uint32_t i = 0; i < VDEV_NETWORK_QUEUES_MAX; i++) {
        cleanup_close(&slot->network_fds[i]);
    }
    free(slot->network_buffer);
    slot->network_buffer = NULL;
    frames_destroy(slot->frames);
    slot->frames = NULL;
}

/* ---- the services ---- */

bool vdev_host_network(struct vdev_slot *slot, uint32_t event)
{
    if (slot->network_need.path == NULL || event >= VDEV_EVENTS_MAX ||
        slot->network_need.count > VDEV_EVENTS_MAX - event) {
        return false;
    }
    for (uint32_t i = 0; i < slot->network_need.count; i++) {
        if (vdev_host_open_event(slot, event + i) != 0) {
            return false;
        }
    }
    slot->network_event = event;
    return true;
}

static int send_to_tap(int fd, const struct vdev_piece *pieces, uint32_t count)
{
    struct iovec vectors[PIECES_MAX];

    if (count > PIECES_MAX) {
        return -EMSGSIZE;
    }
    for (uint32_t i = 0; i < count; i++) {
        vectors[i] = (struct iovec){pieces[i].base, (size_t)pieces[i].size};
    }
    return writev(fd, vectors, (int)count) >= 0 ? 0 : -errno;
}

static int send_to_peer(const struct vdev_slot *slot, const struct vdev_piece *pieces,
                        uint32_t count)
{
    size_t size = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (pieces[i].size > VDEV_FRAME_MAX - size) {
            return -EMSGSIZE;
        }
        memcpy(slot->network_buffer + size, pieces[i].base, (size_t)pieces[i].size);
        size += (size_t)pieces[i].size;
    }
    return send(slot->network_fds[0], slot->network_buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0
               ? 0
               : -errno;
}

/* A helper that has ended is as a cable that was pulled out. */
static void note_end(struct vdev_slot *slot)
{
    if (frames_are_over(slot->frames) && !atomic_exchange(&slot->is_unlinked, true)) {
        log_line(LOG_warn, "vdev: its user's network is gone device=%s", slot->name);
        (void)vdev_host_lose_helper(slot);
        vdev_host_ring(slot, slot->network_event);
    }
}

int vdev_host_follow_network(struct vdev_slot *slot, int fd, struct err *err)
{
    auto_close int taken = fd;
    int r = 0;

    if (fd < 0) {
        return 0;
    }
    if (!is_local(fd, SOCK_STREAM) || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        return err_set(err, -EINVAL, "what came is no stream");
    }
    (void)pthread_mutex_lock(&slot->lock);
    r = vdev_host_watch_network(slot, fd);
    if (r == 0) {
        cleanup_close(&slot->network_fds[0]);
        slot->network_fds[0] = take_fd(&taken);
        frames_restart(slot->frames, fd);
        atomic_store(&slot->is_unlinked, false);
        vdev_host_ring(slot, slot->network_event);
    }
    (void)pthread_mutex_unlock(&slot->lock);
    return r == 0 ? 0 : err_sys(err, r, "it cannot be watched");
}

void vdev_host_flush_network(struct vdev_slot *slot)
{
    if (slot->frames != NULL) {
        frames_flush(slot->frames);
        note_end(slot);
    }
}

int vdev_host_queue_send(struct vdev_slot *slot, uint32_t queue, const struct vdev_piece *pieces,
                         uint32_t count)
{
    if (queue >= VDEV_NETWORK_QUEUES_MAX || slot->network_fds[queue] < 0) {
        return -ENODEV;
    }
    if (slot->frames != NULL) {
        int r = frames_send(slot->frames, pieces, count);

        note_end(slot);
        return r;
    }
    return slot->network_need.kind == VDEV_HOST_NEED_PEER
               ? send_to_peer(slot, pieces, count)
               : send_to_tap(slot->network_fds[queue], pieces, count);
}

int vdev_host_frame_send(struct vdev_slot *slot, const struct vdev_piece *pieces, uint32_t count)
{
    return vdev_host_queue_send(slot, 0, pieces, count);
}

size_t vdev_host_queue_receive(struct vdev_slot *slot, uint32_t queue, void *to, size_t size)
{
    int fd = queue < VDEV_NETWORK_QUEUES_MAX ? slot->network_fds[queue] : -1;
    ssize_t n = -1;

    if (fd >= 0 && slot->frames != NULL) {
        n = (ssize_t)frames_receive(slot->frames, to, size);
        note_end(slot);
    } else if (fd >= 0) {
        n = slot->network_need.kind == VDEV_HOST_NEED_PEER
                ? recv(fd, to, size, MSG_DONTWAIT | MSG_TRUNC)
                : read(fd, to, size);
    }
    return n > 0 ? (size_t)n : 0;
}

size_t vdev_host_frame_receive(struct vdev_slot *slot, void *to, size_t size)
{
    return vdev_host_queue_receive(slot, 0, to, size);
}

void vdev_host_look_at_tap(struct vdev_slot *slot, uint32_t queue, uint32_t events)
{
    if ((events & EPOLLERR) != 0 && queue < VDEV_NETWORK_QUEUES_MAX &&
        slot->network_need.kind == VDEV_HOST_NEED_TAP &&
        !atomic_exchange(&slot->is_unlinked, true)) {
        log_line(LOG_warn, "vdev: its tap was taken away device=%s tap=%s", slot->name,
                 slot->network_need.path);
    }
}

bool vdev_host_network_is_up(struct vdev_slot *slot)
{
    return !atomic_load(&slot->is_unlinked);
}

void vdev_host_set_link(struct vdev_host *host, const char *name, bool is_up)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct vdev_slot *slot = host->slots[i];

        if (slot->network_need.path != NULL && slot->frames == NULL &&
            strcmp(slot->name, name) == 0 && atomic_exchange(&slot->is_unlinked, !is_up) == is_up &&
            slot->device != NULL) {
            vdev_host_ring(slot, slot->network_event);
        }
    }
}
