/* The connections of a slot for one device. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/fake/vdev_slot.h"

static void tell(struct vdev_slot *slot)
{
    slot->module->ops->event(slot->device, slot->sockets_event);
}

bool fake_slot_sockets(struct vdev_slot *slot, uint32_t event)
{
    slot->sockets_event = event;
    return slot->has_sockets;
}

int fake_slot_socket_next(struct vdev_slot *slot)
{
    for (int i = 0; i < (int)VDEV_SOCKETS_MAX; i++) {
        if ((slot->sockets[i].is_open || slot->sockets[i].is_called) && slot->sockets[i].is_ready) {
            slot->sockets[i].is_ready = false;
            return i;
        }
    }
    return -1;
}

static void add(struct fake_socket *socket, const void *bytes, size_t size)
{
    size_t room = FAKE_BYTES_MAX - socket->said_count;

    size = size < room ? size : room;
    memcpy(socket->said + socket->said_count, bytes, size);
    socket->said_count += size;
}

/* The lowest handle that is free. */
static int take_handle(struct vdev_slot *slot)
{
    for (int i = 0; i < (int)VDEV_SOCKETS_MAX; i++) {
        struct fake_socket *socket = &slot->sockets[i];

        if (!socket->is_open && !socket->is_called) {
            unsigned close_count = socket->close_count;

            memset(socket, 0, sizeof(*socket));
            socket->close_count = close_count;
            socket->room = SIZE_MAX;
            return i;
        }
    }
    return -EMFILE;
}

int fake_slot_socket_accept(struct vdev_slot *slot)
{
    int handle;

    if (slot->dial_count == 0) {
        return -EAGAIN;
    }
    handle = take_handle(slot);
    if (handle >= 0) {
        slot->dial_count--;
        slot->sockets[handle].is_open = true;
        add(&slot->sockets[handle], slot->greeting, strlen(slot->greeting));
    }
    return handle;
}

int fake_slot_socket_connect(struct vdev_slot *slot, uint32_t port)
{
    int handle = slot->connects_to_nobody ? -ENOTCONN : take_handle(slot);

    if (handle >= 0) {
        slot->sockets[handle].is_called = true;
        slot->sockets[handle].port = port;
    }
    return handle;
}

void fake_slot_answer(struct vdev_slot *slot, uint32_t handle, bool is_there)
{
    if (slot->sockets[handle].is_called && !slot->sockets[handle].is_open) {
        slot->sockets[handle].is_open = is_there;
        slot->sockets[handle].is_called = !is_there; /* until the device lets go of it */
        fake_slot_stir(slot, handle);
    }
}

int64_t fake_slot_socket_receive(struct vdev_slot *slot, uint32_t handle, void *to, size_t size)
{
    struct fake_socket *socket = &slot->sockets[handle];
    size_t left = socket->said_count - socket->said_next;

    if (!socket->is_open || (socket->shut & VDEV_SOCKET_NO_RECEIVE) != 0) {
        return -EBADF; /* no device does that */
    }
    if (left == 0) {
        return socket->says_no_more ? 0 : -EAGAIN;
    }
    size = size < left ? size : left;
    memcpy(to, socket->said + socket->said_next, size);
    socket->said_next += size;
    return (int64_t)size;
}

int64_t fake_slot_socket_send(struct vdev_slot *slot, uint32_t handle, const void *from,
                              size_t size)
{
    struct fake_socket *socket = &slot->sockets[handle];

    if (!socket->is_open || (socket->shut & VDEV_SOCKET_NO_SEND) != 0) {
        return socket->is_open && size == 0 ? -EPIPE : -EBADF;
    }
    if (socket->hears_no_more) {
        return -EPIPE;
    }
    if (size > 0 && socket->room == 0) {
        return -EAGAIN;
    }
    size = size < socket->room ? size : socket->room;
    socket->room -= size;
    for (size_t i = 0; i < size; i++) {
        socket->heard[socket->heard_count++ % FAKE_BYTES_MAX] = ((const uint8_t *)from)[i];
    }
    return (int64_t)size;
}

void fake_slot_socket_shut(struct vdev_slot *slot, uint32_t handle, uint32_t how)
{
    slot->sockets[handle].shut |= how;
}

void fake_slot_socket_close(struct vdev_slot *slot, uint32_t handle)
{
    slot->sockets[handle].is_open = slot->sockets[handle].is_called = false;
    slot->sockets[handle].close_count++;
}

void fake_slot_dial(struct vdev_slot *slot, const char *greeting)
{
    (void)snprintf(slot->greeting, sizeof(slot->greeting), "%s", greeting);
    slot->dial_count++;
    tell(slot);
}

void fake_slot_say(struct vdev_slot *slot, uint32_t handle, const void *bytes, size_t size)
{
    if (slot->sockets[handle].is_open) {
        add(&slot->sockets[handle], bytes, size);
    }
    fake_slot_stir(slot, handle);
}

void fake_slot_stir(struct vdev_slot *slot, uint32_t handle)
{
    slot->sockets[handle].is_ready = true;
    tell(slot);
}
