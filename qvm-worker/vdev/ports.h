/* The streams of a device beside that of `hostdev`: its ports, each at a file of the host or,
 * without one, with sessions of its own. For vdev_host*.c alone; the control thread's, but for the
 * services.
 */
#ifndef QVM_WORKER_VDEV_PORTS_H
#define QVM_WORKER_VDEV_PORTS_H

#include "qvm-worker/vdev/private.h"

struct slot_port {
    struct vdev_slot *slot;
    uint32_t number; /* from 1 on */
    char name[VDEV_HOST_NAME_MAX + 1];
    char *where, *path;        /* FILE:LINE; NULL: it has sessions */
    struct slot_stream stream; /* its console is there since vdev_host_build */
};

struct slot_ports {
    struct slot_port rows[VDEV_PORTS_MAX];
    uint32_t count;
};

/* `port NAME[,[<|>]PATH]`: sets text and number of the value. */
int vdev_host_read_port(struct vdev_slot *slot, struct vdev_value *value, struct err *err);

/* What the slot's ports need opened: the need after `previous`, which may be none of theirs (then
 * *is_after is false until it was met); NULL: none of them. */
const struct vdev_host_need *vdev_host_next_port_need(const struct vdev_slot *slot,
                                                      const struct vdev_host_need *previous,
                                                      bool *is_after);

/* Give one of them its descriptor, if the need is its. */
void vdev_host_grant_port(struct vdev_slot *slot, const struct vdev_host_need *need, int fd);

/* From build to destroy, as of the stream. */
int vdev_host_open_ports(struct vdev_slot *slot, struct err *err);
void vdev_host_listen_ports(struct vdev_slot *slot);
void vdev_host_close_ports(struct vdev_slot *slot);
void vdev_host_free_ports(struct vdev_slot *slot);

/* What they say of themselves. */
void vdev_host_ports_state(const struct vdev_slot *slot, vdev_state_fn add, void *context);

/* The services. */
void vdev_host_port_write(struct vdev_slot *slot, uint32_t port, const uint8_t *data, size_t size);
void vdev_host_port_resume(struct vdev_slot *slot, uint32_t port);

/* The device is not still any more (vdev_host_is_still): what was typed meanwhile is offered again.
 * Any thread, without the slot's lock. */
void vdev_host_ports_resume(struct vdev_slot *slot);

#endif
