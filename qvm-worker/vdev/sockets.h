/* Connections of a vdev with programs of the host; for vdev/ alone. */
#ifndef QVM_WORKER_VDEV_SOCKETS_H
#define QVM_WORKER_VDEV_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vdevs/include/qvm/vdev.h"

struct err;
struct vdev_slot;
struct vdev_value;

enum slot_socket_state {
    SOCKET_FREE,
    SOCKET_WISHED,  /* the device wants to be connected (connect.c) */
    SOCKET_ASKED,   /* and that is being tried */
    SOCKET_REFUSED, /* it cannot be */
    SOCKET_OPEN,
};

struct slot_socket {
    enum slot_socket_state state;
    int fd;          /* OPEN; otherwise -1 */
    uint32_t port;   /* WISHED, ASKED */
    bool is_ready;   /* something may be done since the device heard of it */
    bool is_closing; /* the device has let go of it */
};

/* Under the slot's lock. */
struct slot_sockets {
    int listen_fd; /* -1: none was granted */
    uint32_t event;
    bool is_full; /* somebody waits to be accepted until a handle is free */
    struct slot_socket list[VDEV_SOCKETS_MAX];
};

/* The lowest handle that is free, or VDEV_SOCKETS_MAX. */
uint32_t vdev_host_free_socket(const struct slot_sockets *sockets);

/* The option; the socket that was granted for it; look at it before the device is made; close it,
 * and all connections, after its end. */
int vdev_host_read_listen(struct vdev_slot *slot, const struct vdev_value *value, struct err *err);
void vdev_host_grant_listen(struct vdev_slot *slot, int fd);
int vdev_host_open_sockets(struct vdev_slot *slot, struct err *err);
void vdev_host_close_sockets(struct vdev_slot *slot);

/* Where connections arrive, to be watched; -1: the device has none. */
int vdev_host_listen_fd(const struct vdev_slot *slot);

/* Of the slot's events: something happened to that connection (any other number: one arrived). The
 * event that the device has for it. The slot's lock is held. */
uint32_t vdev_host_take_socket(struct vdev_slot *slot, uint32_t handle);

/* Close what the device has let go of. On the thread of its events, whose lock is held. */
void vdev_host_reap_sockets(struct vdev_slot *slot);

/* Have the device's events hear of a connection from now on. */
int vdev_host_watch_socket(const struct vdev_slot *slot, int fd, uint32_t handle);

/* The services. */
bool vdev_host_sockets(struct vdev_slot *slot, uint32_t event);
int vdev_host_socket_next(struct vdev_slot *slot);
int vdev_host_socket_accept(struct vdev_slot *slot);
int64_t vdev_host_socket_receive(struct vdev_slot *slot, uint32_t handle, void *to, size_t size);
int64_t vdev_host_socket_send(struct vdev_slot *slot, uint32_t handle, const void *from,
                              size_t size);
void vdev_host_socket_shut(struct vdev_slot *slot, uint32_t handle, uint32_t how);
void vdev_host_socket_close(struct vdev_slot *slot, uint32_t handle);

/* ---- connect.c ---- */

/* Wishes of one device that are told: so many at once, then one each GAP_MS. */
#define VDEV_HOST_CONNECT_BURST  64u
#define VDEV_HOST_CONNECT_GAP_MS 25u

/* Once there is a device; no vCPU runs any more. The memory is freed with the slot. */
int vdev_host_open_connects(struct vdev_slot *slot, struct err *err);
void vdev_host_close_connects(struct vdev_slot *slot);

/* The service. */
int vdev_host_socket_connect(struct vdev_slot *slot, uint32_t port);

#endif
