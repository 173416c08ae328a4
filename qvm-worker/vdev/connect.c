/* Connections of a vdev to programs of the host, which listen beside the socket of its LISTEN
 * option.
 *
 * A device wishes for one on its I/O thread and goes on; the control thread has them made, one
 * after the other, by whoever has the right to, and what comes of it is an event of the device's.
 * A guest may wish without end, and each wish is work of others: so many at once, then one each
 * while, and the rest wait here. */
#include <errno.h>
#include <stdlib.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/pace.h"
#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vdev/sockets.h"

struct slot_connects {
    uv_async_t async; /* to the control thread: there are wishes */
    uv_timer_t timer; /* one more may be told */
    struct pace pace;
    uint32_t turn; /* whose wish is looked at first */
    bool is_closed;
};

/* ---- on the control thread ---- */

/* The answer to the wish that waits. The device may have let go of it meanwhile. */
static void answer(struct vdev_host *host, int *fd)
{
    struct vdev_slot *slot = host->connecting.slot;
    struct slot_socket *socket = &slot->sockets->list[host->connecting.handle];

    (void)pthread_mutex_lock(&slot->lock);
    if (socket->state == SOCKET_ASKED && !socket->is_closing) {
        socket->state = SOCKET_REFUSED;
        if (*fd >= 0 && vdev_host_watch_socket(slot, *fd, host->connecting.handle) == 0) {
            socket->state = SOCKET_OPEN;
            socket->fd = take_fd(fd);
        }
        socket->is_ready = true;
        vdev_host_ring(slot, slot->sockets->event);
    }
    (void)pthread_mutex_unlock(&slot->lock);
    host->connecting.slot = NULL;
}

static void on_timer(uv_timer_t *timer);

/* Whether one more may be told now; otherwise we are called again. */
static bool has_turn(struct slot_connects *connects)
{
    if (pace_take(&connects->pace, uv_now(connects->timer.loop), VDEV_HOST_CONNECT_BURST,
                  VDEV_HOST_CONNECT_GAP_MS)) {
        return true;
    }
    (void)uv_timer_start(&connects->timer, on_timer, VDEV_HOST_CONNECT_GAP_MS, 0);
    return false; /* that fails for closed handles alone */
}

/* The next wish of that device becomes the one that waits. */
static bool take_wish(struct vdev_host *host, struct vdev_slot *slot, uint32_t *port)
{
    struct slot_connects *connects = slot->connects;

    (void)pthread_mutex_lock(&slot->lock);
    for (uint32_t i = 0; i < VDEV_SOCKETS_MAX && host->connecting.slot == NULL; i++) {
        uint32_t handle = (connects->turn + i) % VDEV_SOCKETS_MAX;
        struct slot_socket *socket = &slot->sockets->list[handle];

        if (socket->state != SOCKET_WISHED || socket->is_closing) {
            continue;
        }
        if (!has_turn(connects)) {
            break;
        }
        socket->state = SOCKET_ASKED;
        *port = socket->port;
        connects->turn = handle + 1;
        host->connecting.slot = slot;
        host->connecting.handle = handle;
        host->connecting.serial++;
    }
    (void)pthread_mutex_unlock(&slot->lock);
    return host->connecting.slot != NULL;
}

/* Have wishes tried until one is on its way, or there are no more. */
static void go_on(struct vdev_host *host)
{
    const struct vdev_host_env *env = &host->env;
    uint32_t port = 0;
    int none = -1;

    for (uint32_t i = 0; i < host->slot_count && host->connecting.slot == NULL; i++) {
        struct vdev_slot *slot = host->slots[i];

        while (slot->connects != NULL && host->connecting.slot == NULL &&
               take_wish(host, slot, &port)) {
            if (env->connect_wish(env->context, host->connecting.serial, slot->listen_need.path,
                                  port) != 0) {
                answer(host, &none);
            }
        }
    }
}

void vdev_host_connected(struct vdev_host *host, int64_t serial, int *fd)
{
    if (host->connecting.slot != NULL && (serial == 0 || serial == host->connecting.serial)) {
        answer(host, fd);
        go_on(host);
    }
}

static void on_async(uv_async_t *async)
{
    const struct vdev_slot *slot = async->data;

    go_on(slot->host);
}

static void on_timer(uv_timer_t *timer)
{
    const struct vdev_slot *slot = timer->data;

    go_on(slot->host);
}

/* ---- the service ---- */

int vdev_host_socket_connect(struct vdev_slot *slot, uint32_t port)
{
    struct slot_connects *connects = slot->connects;
    uint32_t handle;

    if (connects == NULL || connects->is_closed) {
        return -ENOTCONN;
    }
    handle = vdev_host_free_socket(slot->sockets);
    if (handle == VDEV_SOCKETS_MAX) {
        return -EMFILE;
    }
    slot->sockets->list[handle] =
        (struct slot_socket){.state = SOCKET_WISHED, .fd = -1, .port = port};
    (void)uv_async_send(&connects->async); /* cannot fail for an open one */
    return (int)handle;
}

/* ---- its life ---- */

int vdev_host_open_connects(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_host_env *env = &slot->host->env;
    struct slot_connects *connects;

    if (slot->sockets == NULL || env->is_dry || env->loop == NULL || env->connect_wish == NULL) {
        return 0;
    }
    connects = calloc(1, sizeof(*connects));
    if (connects == NULL || uv_async_init(env->loop, &connects->async, on_async) != 0) {
        free(connects);
        return err_set(err, -ENOMEM, "%s: vdev '%s' can connect to nobody", slot->where,
                       slot->name);
    }
    (void)uv_timer_init(env->loop, &connects->timer); /* cannot fail */
    connects->async.data = connects->timer.data = slot;
    slot->open_handles += 2;
    (void)pthread_mutex_lock(&slot->lock); /* its I/O thread runs already */
    slot->connects = connects;
    (void)pthread_mutex_unlock(&slot->lock);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct vdev_slot *slot = handle->data;

    vdev_host_closed_handle(slot);
}

void vdev_host_close_connects(struct vdev_slot *slot)
{
    if (slot->connects != NULL && !slot->connects->is_closed) {
        slot->connects->is_closed = true;
        uv_close((uv_handle_t *)&slot->connects->async, on_closed);
        uv_close((uv_handle_t *)&slot->connects->timer, on_closed);
    }
}
