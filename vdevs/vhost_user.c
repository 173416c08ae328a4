/* The part of a device that its back end leaves to the qvm. */
#include "vdevs/vhost_user.h"

#include <stdlib.h>
#include <string.h>

#define EVENT_LOST (2 * VDEV_BACKEND_QUEUES_MAX)

/* Features of device types (virtio 1.2, 6), and those of rings that are passed on. */
#define TYPE_FEATURES UINT64_C(0xffffff)
#define RING_FEATURES                                                                              \
    (VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_F_EVENT_IDX) |                         \
     VIRTIO_BIT(VIRTIO_F_VERSION_1))

struct vhost_user {
    struct virtio virtio;
    struct virtio_type type;
    uint16_t queue_sizes[VDEV_BACKEND_QUEUES_MAX];
    int vectors[VDEV_BACKEND_QUEUES_MAX + 1]; /* event descriptors; -1: none */
    uint8_t config[VDEV_BACKEND_CONFIG_MAX];
    bool is_lost;
    uint64_t features; /* that are offered as long as it is there */
    bool is_stopping;  /* a queue stops, and the lock was let go of */
};

/* ---- the queues ---- */

/* The back end hears doorbells itself. */
static void user_kick(void *device, uint32_t queue)
{
    (void)device;
    (void)queue;
}

static int call_of(const struct vhost_user *user, uint32_t queue)
{
    uint16_t vector = user->virtio.queue_vectors[queue];
    bool is_message = user->virtio.is_pci && user->virtio.host->has_vectors(user->virtio.slot);

    return is_message && vector <= VDEV_BACKEND_QUEUES_MAX ? user->vectors[vector] : -1;
}

static void user_start(void *device)
{
    struct vhost_user *user = device;
    const struct virtio *virtio = &user->virtio;
    struct vdev_backend_queue queues[VDEV_BACKEND_QUEUES_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < user->type.queue_count; i++) {
        const struct virtq *queue = &virtio->queues[i];

        if (queue->is_enabled && !queue->is_broken) {
            queues[count++] = (struct vdev_backend_queue){.index = i,
                                                          .size = queue->size,
                                                          .descriptors = queue->descriptors,
                                                          .driver = queue->driver,
                                                          .device = queue->device,
                                                          .call_fd = call_of(user, i)};
        }
    }
    if (user->is_lost ||
        virtio->host->backend_start(virtio->slot, virtio->negotiated, queues, count) != 0) {
        virtio_need_reset(&user->virtio);
    }
}

static void user_stop(void *device, uint32_t queue)
{
    struct vhost_user *user = device;

    user->is_stopping = true;
    user->virtio.host->backend_stop(user->virtio.slot, queue);
    user->is_stopping = false;
}

static void user_event(void *device, uint32_t event)
{
    struct vhost_user *user = device;

    if (event == EVENT_LOST) {
        user->is_lost = !user->virtio.host->backend_is_there(user->virtio.slot);
        user->virtio.offered = user->is_lost ? 0 : user->features; /* at the next negotiation */
        virtio_need_reset(&user->virtio);
    } else if (event - VDEV_BACKEND_QUEUES_MAX < user->type.queue_count) {
        virtio_tell_used(&user->virtio, event - VDEV_BACKEND_QUEUES_MAX);
    }
}

static void user_config_write(void *device, uint32_t offset, uint32_t size, uint64_t value)
{
    struct vhost_user *user = device;

    memcpy(user->config + offset, &value, size);
    user->virtio.host->backend_configure(user->virtio.slot, offset, &value, size);
}

/* ---- registers: while a queue stops, the driver has nothing to write ---- */

void vhost_user_write(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t value)
{
    const struct vhost_user *user = device;

    if (!user->is_stopping) {
        virtio_write(device, region, offset, size, value);
    }
}

void vhost_user_config_write(void *device, uint32_t cap, uint32_t offset, uint32_t size,
                             uint32_t value)
{
    const struct vhost_user *user = device;

    if (!user->is_stopping) {
        virtio_config_cap_write(device, cap, offset, size, value);
    }
}

/* ---- the device ---- */

int vhost_user_check_tag(const struct vdev_services *host, struct vdev_slot *slot,
                         const struct vdev_value *tag)
{
    size_t size = strlen(tag->text);

    return size > 0 && size <= VHOST_USER_TAG_SIZE
               ? 0
               : host->fail(slot, tag, "tag '%s' does not have 1 to %u bytes", tag->text,
                            VHOST_USER_TAG_SIZE);
}

/* The configuration: the back end's, or of a file system whose tag is given, ours. */
static int make_config(struct vhost_user *user, const struct vdev_services *host,
                       struct vdev_slot *slot, const struct vhost_user_kind *kind, bool is_dry)
{
    uint32_t request_queues = kind->queue_count - 1;

    if (kind->tag != NULL) {
        memcpy(user->config, kind->tag, strlen(kind->tag));
        memcpy(user->config + VHOST_USER_TAG_SIZE, &request_queues, sizeof(request_queues));
        return 0;
    }
    if (kind->config_size > 0 && !is_dry &&
        host->backend_config(slot, user->config, kind->config_size) != 0) {
        return host->fail(slot, NULL,
                          "its back end has no configuration of %u bytes: 'config BYTES' says how "
                          "many there are, 0 that the driver is shown none%s",
                          kind->config_size, kind->missing);
    }
    return 0;
}

/* What the back end has, against what is wanted. */
static int agree(struct vhost_user *user, const struct vdev_services *host, struct vdev_slot *slot,
                 const struct vhost_user_kind *kind, struct vdev_backend *backend)
{
    if (!host->backend(slot, EVENT_LOST, backend)) {
        return host->fail(slot, NULL, "say where its back end listens: 'hostdev PATH'");
    }
    if ((backend->features & VIRTIO_BIT(VIRTIO_F_VERSION_1)) == 0) {
        return host->fail(slot, NULL, "its back end is older than virtio 1.0");
    }
    if (backend->queue_count != 0 && kind->queue_count > backend->queue_count) {
        return host->fail(slot, NULL, "it is to have %u queues, and its back end has %u",
                          kind->queue_count, backend->queue_count);
    }
    return make_config(user, host, slot, kind, backend->is_dry);
}

static int make(struct vhost_user *user, const struct vdev_services *host, struct vdev_slot *slot,
                const struct vdev_config *config, const struct vhost_user_kind *kind)
{
    struct vdev_backend backend = {.size = sizeof(backend)};
    int r = agree(user, host, slot, kind, &backend);

    if (r != 0) {
        return r;
    }
    for (uint32_t i = 0; i < VDEV_BACKEND_QUEUES_MAX; i++) {
        user->queue_sizes[i] = (uint16_t)kind->queue_size;
    }
    user->type = (struct virtio_type){.id = kind->id,
                                      .class_code = kind->class_code,
                                      .queue_count = kind->queue_count,
                                      .queue_sizes = user->queue_sizes,
                                      .config_write = user_config_write,
                                      .start = user_start,
                                      .kick = user_kick,
                                      .event = user_event,
                                      .stop = user_stop};
    r = virtio_init(&user->virtio, &user->type, host, slot, config, 0, user->config,
                    kind->config_size);
    user->features = backend.features & (TYPE_FEATURES | RING_FEATURES);
    user->virtio.offered = user->features;
    for (uint32_t i = 0; i <= VDEV_BACKEND_QUEUES_MAX; i++) {
        user->vectors[i] = -1;
        if (r == 0 && user->virtio.is_pci && !backend.is_dry && i <= kind->queue_count) {
            user->vectors[i] = host->vector_event(slot, i); /* negative: the device does it */
        }
    }
    return r;
}

int vhost_user_create(const struct vdev_services *host, struct vdev_slot *slot,
                      const struct vdev_config *config, const struct vhost_user_kind *kind,
                      void **device)
{
    struct vhost_user *user = calloc(1, sizeof(*user));
    int r =
        user != NULL ? make(user, host, slot, config, kind) : host->fail(slot, NULL, "no memory");

    if (r != 0) {
        free(user);
        return r;
    }
    *device = user;
    return 0;
}

void vhost_user_state(void *device, vdev_state_fn add, void *context)
{
    const struct vhost_user *user = device;

    virtio_state(device, add, context);
    add(context, "back-end", user->is_lost ? "gone" : "there");
}
