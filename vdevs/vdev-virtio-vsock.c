/* Sockets between guest and host: "Socket Device", virtio 1.2, 5.10. Of streams, where programs of
 * the host find the guest at a Unix socket (the option `listen`), and the guest those that listen
 * beside it; or the host's kernel has them (`vhost on`), and the device no part in it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vdevs/virtio_vsock.h"

#define TYPE_VSOCK 19u /* 5 */

enum { OPTION_CID, OPTION_LISTEN, OPTION_VHOST, OPTION_PACKED };

/* ---- operations of the type ---- */

static void vsock_kick(void *device, uint32_t queue)
{
    struct vsock *vsock = device;

    if (vsock->kernel.is_there) {
        if (queue == QUEUE_EVENT && !vsock->kernel.is_stopping) {
            vsock_tell_event(vsock);
        }
        return; /* it heard that itself, or will look */
    }
    vsock_accept(vsock); /* a driver is there now */
    if (queue == QUEUE_TRANSMIT) {
        vsock_transmit(vsock);
    } else if (queue == QUEUE_EVENT) {
        vsock_tell_event(vsock);
    }
    vsock_deliver(vsock);
}

static void vsock_event(void *device, uint32_t event)
{
    struct vsock *vsock = device;
    int handle;

    if (event != EVENT_SOCKETS) {
        vsock_kernel_event(vsock, event);
        return;
    }
    while ((handle = vsock->virtio.host->socket_next(vsock->virtio.slot)) >= 0) {
        vsock_serve(vsock, (uint32_t)handle);
    }
    if (vsock->has_ticked) {
        vsock->has_ticked = false;
        vsock_look_at_time(vsock);
    }
    vsock_accept(vsock);
    vsock_deliver(vsock);
}

/* Where a queue stops nobody knows what of it was heard: no connection goes on. */
static void vsock_stop(void *device, uint32_t queue)
{
    (void)queue;
    vsock_kernel_rest(device); /* both: a driver stops none alone */
    vsock_drop_all(device);
}

static void vsock_start(void *device)
{
    vsock_kernel_start(device);
}

/* 5.10.6.7: whatever it was connected to then is not there now. */
static void vsock_restored(void *device)
{
    struct vsock *vsock = device;

    vsock->is_reset_due = true;
    vsock_kernel_start(vsock);
}

static void vsock_timer(void *device, uint32_t timer)
{
    struct vsock *vsock = device;

    (void)timer; /* there is one */
    vsock->has_ticked = true;
    vsock->virtio.host->ring(vsock->virtio.slot, EVENT_SOCKETS);
}

static const uint16_t queue_sizes[QUEUE_COUNT] = {QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE};

static const struct vdev_option options[] = {
    [OPTION_CID] = {.name = "cid",
                    .kind = VDEV_OPTION_CID,
                    .min = CID_MIN,
                    .max = CID_MAX,
                    .fallback = "3",
                    .doc = "the guest's address (5.10.4)"},
    [OPTION_LISTEN] = {.name = "listen",
                       .kind = VDEV_OPTION_LISTEN,
                       .doc = "PATH of a socket that is made, at which programs of the host find "
                              "the guest; it finds those that listen at PATH_PORT"},
    [OPTION_VHOST] = {.name = "vhost",
                      .kind = VDEV_OPTION_VHOST,
                      .fallback = "off",
                      .doc = "on: the host's kernel has the connections, by its AF_VSOCK, and the "
                             "cid is this guest's alone; off: programs of the host use 'listen'"},
    [OPTION_PACKED] = VIRTIO_OPTIONS,
    {.name = NULL},
};

static const struct virtio_type type = {
    .id = TYPE_VSOCK,
    .class_code = 0x078000, /* simple communication controller, other */
    .queue_count = QUEUE_COUNT,
    .queue_sizes = queue_sizes,
    .options = options,
    .start = vsock_start,
    .kick = vsock_kick,
    .event = vsock_event,
    .stop = vsock_stop,
    .restored = vsock_restored,
};

/* ---- the device ---- */

static void vsock_destroy(void *device)
{
    struct vsock *vsock = device;

    free(vsock->buffers);
    free(vsock);
}

static int vsock_create(const struct vdev_services *host, struct vdev_slot *slot,
                        const struct vdev_config *config, void **device)
{
    struct vsock *vsock = calloc(1, sizeof(*vsock));
    int r = 0;

    if (vsock != NULL) {
        vsock->buffers = calloc(CONNECTIONS_MAX, BUFFER_SIZE);
    }
    if (vsock == NULL || vsock->buffers == NULL) {
        free(vsock);
        return host->fail(slot, NULL, "no memory");
    }
    vsock->config.guest_cid = CID_MIN;
    for (uint32_t i = 0; i < config->value_count; i++) {
        if (config->values[i].option == OPTION_CID) {
            vsock->config.guest_cid = config->values[i].number[0];
        }
    }
    r = virtio_init(&vsock->virtio, &type, host, slot, config, VIRTIO_BIT(F_STREAM), &vsock->config,
                    sizeof(vsock->config));
    r = r == 0 ? vsock_kernel_create(vsock) : r;
    if (r == 0 && !vsock->kernel.is_there && !host->sockets(slot, EVENT_SOCKETS)) {
        r = host->fail(slot, NULL,
                       "say where programs of the host find the guest: 'listen PATH', or 'vhost "
                       "on' for sockets of the host's kernel");
    }
    if (r != 0) {
        vsock_destroy(vsock);
        return r;
    }
    *device = vsock;
    return 0;
}

static void vsock_reset(void *device)
{
    struct vsock *vsock = device;

    virtio_reset(device);
    vsock_drop_all(vsock);
    vsock->is_reset_due = false;
    vsock->is_ticking = false;
}

static void vsock_state(void *device, vdev_state_fn add, void *context)
{
    const struct vsock *vsock = device;
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"cid", vsock->config.guest_cid},      {"connections-made", vsock->made},
        {"connections-called", vsock->called}, {"refused", vsock->refused},
        {"received-bytes", vsock->out_bytes},  {"sent-bytes", vsock->in_bytes},
    };
    uint32_t open = 0;
    char text[32];

    virtio_state(device, add, context);
    add(context, "back-end",
        vsock->kernel.is_running ? "vhost-vsock"
        : vsock->kernel.is_there ? "vhost-vsock, at rest"
                                 : "qvm");
    if (vsock->kernel.is_there) { /* of the connections nothing is known here */
        (void)snprintf(text, sizeof(text), "%" PRIu64, vsock->config.guest_cid);
        add(context, "cid", text);
        return;
    }
    for (uint32_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        (void)snprintf(text, sizeof(text), "%" PRIu64, counts[i].value);
        add(context, counts[i].name, text);
    }
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        open += vsock->connections[i].state != VSOCK_FREE;
    }
    (void)snprintf(text, sizeof(text), "%u", open);
    add(context, "connections", text);
}

static int vsock_save(void *device)
{
    struct vsock *vsock = device;

    virtio_kernel_look(&vsock->kernel);
    return virtio_save(device);
}

static const struct vdev_ops ops = {
    .size = sizeof(struct vdev_ops),
    .read = virtio_read,
    .write = vsock_kernel_write,
    .event = virtio_event,
    .config_read = virtio_config_cap_read,
    .config_write = vsock_kernel_config_write,
    .reset = vsock_reset,
    .save = vsock_save,
    .restore = virtio_restore,
    .create = vsock_create,
    .destroy = vsock_destroy,
    .timer = vsock_timer,
    .state = vsock_state,
};

static const struct vdev_module module = {
    VIRTIO_MODULE,
    .name = "virtio-vsock",
    .doc = "sockets between guest and host (virtio 1.2, 5.10)",
    .options = options,
    .ops = &ops,
    .has_io_thread = true,
    .timer_count = 1,
};

QVM_VDEV_EXPORT(module);
