/* Connections of a vdev with programs of the host, by its LISTEN option.
 *
 * The socket at which they arrive came with the grant. All is done on the device's I/O thread,
 * behind a door of its own; who closes a connection elsewhere (a reset) leaves that to this thread,
 * too. What happens to a connection is an edge of the device's epoll descriptor. */
#include "qvm-worker/vdev/sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/vdev/private.h"

int vdev_host_read_listen(struct vdev_slot *slot, const struct vdev_value *value, struct err *err)
{
    const char *path = value->text;

    if (*path == '\0' || strchr("<>|@", *path) != NULL || strcmp(path, "-") == 0) {
        return err_set(err, -EINVAL, "%s: %s '%s' is no path: give the PATH of a socket to be made",
                       value->where, slot->loaded->module.options[value->option].name, path);
    }
    if (slot->sockets == NULL) {
        slot->sockets = calloc(1, sizeof(*slot->sockets));
        if (slot->sockets == NULL) {
            return err_set(err, -ENOMEM, "%s: no memory for connections", value->where);
        }
        slot->sockets->listen_fd = -1;
        for (uint32_t i = 0; i < VDEV_SOCKETS_MAX; i++) {
            slot->sockets->list[i].fd = -1;
        }
    }
    slot->listen_need = (struct vdev_host_need){.kind = VDEV_HOST_NEED_LISTEN,
                                                .can_read = true,
                                                .can_write = true,
                                                .path = path,
                                                .where = value->where,
                                                .device = slot->name};
    return 0;
}

void vdev_host_grant_listen(struct vdev_slot *slot, int fd)
{
    cleanup_close(&slot->sockets->listen_fd);
    slot->sockets->listen_fd = fd;
}

/* What was granted is a stream socket that connections arrive at. */
static bool is_listening(int fd)
{
    int domain = 0, type = 0, listens = 0;
    socklen_t size = sizeof(int);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && domain == AF_UNIX &&
           type == SOCK_STREAM && listens != 0;
}

int vdev_host_open_sockets(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_host_need *need = &slot->listen_need;

    if (slot->sockets == NULL || slot->host->env.is_dry) {
        return 0;
    }
    if (slot->sockets->listen_fd < 0 || !is_listening(slot->sockets->listen_fd)) {
        return err_set(err, -ENODEV, "%s: '%s' was not given to vdev '%s'", need->where, need->path,
                       slot->name);
    }
    return 0;
}

int vdev_host_listen_fd(const struct vdev_slot *slot)
{
    return slot->sockets != NULL ? slot->sockets->listen_fd : -1;
}

void vdev_host_close_sockets(struct vdev_slot *slot)
{
    for (uint32_t i = 0; slot->sockets != NULL && i < VDEV_SOCKETS_MAX; i++) {
        cleanup_close(&slot->sockets->list[i].fd);
    }
    if (slot->sockets != NULL) {
        cleanup_close(&slot->sockets->listen_fd);
    }
    free(slot->sockets);
    slot->sockets = NULL;
}

uint32_t vdev_host_take_socket(struct vdev_slot *slot, uint32_t handle)
{
    if (handle < VDEV_SOCKETS_MAX) {
        slot->sockets->list[handle].is_ready = true;
    }
    return slot->sockets->event;
}

void vdev_host_reap_sockets(struct vdev_slot *slot)
{
    struct slot_sockets *sockets = slot->sockets;
    bool is_any = false;

    for (uint32_t i = 0; sockets != NULL && i < VDEV_SOCKETS_MAX; i++) {
        if (sockets->list[i].is_closing) {
            cleanup_close(&sockets->list[i].fd); /* -1 if it was never connected */
            sockets->list[i] = (struct slot_socket){.fd = -1};
            is_any = true;
        }
    }
    if (is_any && sockets->is_full) {
        sockets->is_full = false;
        vdev_host_ring(slot, sockets->event);
    }
}

/* ---- the services ---- */

/* What the device has that handle for, or NULL. */
static struct slot_socket *find(struct vdev_slot *slot, uint32_t handle)
{
    struct slot_socket *socket =
        slot->sockets != NULL && handle < VDEV_SOCKETS_MAX ? &slot->sockets->list[handle] : NULL;

    return socket != NULL && socket->state != SOCKET_FREE && !socket->is_closing ? socket : NULL;
}

/* A connection, or NULL. */
static struct slot_socket *find_open(struct vdev_slot *slot, uint32_t handle)
{
    struct slot_socket *socket = find(slot, handle);

    return socket != NULL && socket->state == SOCKET_OPEN ? socket : NULL;
}

uint32_t vdev_host_free_socket(const struct slot_sockets *sockets)
{
    uint32_t handle = 0;

    while (handle < VDEV_SOCKETS_MAX && sockets->list[handle].state != SOCKET_FREE) {
        handle++;
    }
    return handle;
}

bool vdev_host_sockets(struct vdev_slot *slot, uint32_t event)
{
    if (slot->sockets == NULL || event >= VDEV_EVENTS_MAX ||
        vdev_host_open_event(slot, event) != 0) {
        return false;
    }
    slot->sockets->event = event;
    return true;
}

int vdev_host_socket_next(struct vdev_slot *slot)
{
    for (uint32_t i = 0; i < VDEV_SOCKETS_MAX; i++) {
        struct slot_socket *socket = find(slot, i);

        if (socket != NULL && socket->is_ready) {
            socket->is_ready = false;
            return (int)i;
        }
    }
    return -1;
}

int vdev_host_socket_accept(struct vdev_slot *slot)
{
    struct slot_sockets *sockets = slot->sockets;
    auto_close int fd = -1;
    uint32_t handle;

    if (sockets == NULL || sockets->listen_fd < 0) {
        return -EAGAIN;
    }
    handle = vdev_host_free_socket(sockets);
    fd = handle < VDEV_SOCKETS_MAX
             ? accept4(sockets->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
             : -1;
    if (handle == VDEV_SOCKETS_MAX || (fd < 0 && (errno == EMFILE || errno == ENFILE))) {
        sockets->is_full = true;
        return -EMFILE;
    }
    if (fd < 0 || vdev_host_watch_socket(slot, fd, handle) != 0) {
        return -EAGAIN;
    }
    sockets->list[handle] = (struct slot_socket){.fd = take_fd(&fd), .state = SOCKET_OPEN};
    return (int)handle;
}

int64_t vdev_host_socket_receive(struct vdev_slot *slot, uint32_t handle, void *to, size_t size)
{
    const struct slot_socket *socket = find_open(slot, handle);
    ssize_t n;

    if (socket == NULL) {
        return -EBADF;
    }
    n = recv(socket->fd, to, size, MSG_DONTWAIT);
    return n >= 0 ? n : errno == EINTR ? -EAGAIN : -errno;
}

int64_t vdev_host_socket_send(struct vdev_slot *slot, uint32_t handle, const void *from,
                              size_t size)
{
    const struct slot_socket *socket = find_open(slot, handle);
    ssize_t n;

    if (socket == NULL) {
        return -EBADF;
    }
    n = send(socket->fd, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n >= 0 ? n : errno == EINTR ? -EAGAIN : -errno;
}

void vdev_host_socket_shut(struct vdev_slot *slot, uint32_t handle, uint32_t how)
{
    const struct slot_socket *socket = find_open(slot, handle);

    if (socket != NULL && (how & VDEV_SOCKET_NO_RECEIVE) != 0) {
        (void)shutdown(socket->fd, SHUT_RD); /* whoever is gone need not be told */
    }
    if (socket != NULL && (how & VDEV_SOCKET_NO_SEND) != 0) {
        (void)shutdown(socket->fd, SHUT_WR);
    }
}

void vdev_host_socket_close(struct vdev_slot *slot, uint32_t handle)
{
    struct slot_socket *socket = find(slot, handle);

    if (socket != NULL) {
        socket->is_closing = true;
        if (!slot->is_dispatching) {
            vdev_host_ring(slot, slot->sockets->event);
        }
    }
}
