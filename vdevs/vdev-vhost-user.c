/* Any virtio device whose queues a back end outside works off, by vhost-user.
 *
 * The qvm knows the device's registers; queues and their doorbells and interrupts are the back
 * end's, which has guest memory. What the device is, the configuration says, and what it can, the
 * back end. Split rings alone; a queue is enabled before DRIVER_OK or not at all.
 *
 * Without its back end the device asks for a reset, and after that offers nothing: a driver that
 * looks then finds a device that it cannot have, and does not wait for it. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vdevs/virtio/virtio.h"

#define QUEUE_SIZE 128u
#define EVENT_LOST (2 * VDEV_BACKEND_QUEUES_MAX)

/* Features of device types (virtio 1.2, 6), and those of rings that are passed on. */
#define TYPE_FEATURES UINT64_C(0xffffff)
#define RING_FEATURES                                                                              \
    (VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_F_EVENT_IDX) |                         \
     VIRTIO_BIT(VIRTIO_F_VERSION_1))

#define TYPE_FS  26u
#define TAG_SIZE 36u /* 5.11.4: and the number of request queues behind it, one being another */

enum option {
    OPTION_DEVICE,
    OPTION_HOSTDEV,
    OPTION_QUEUES,
    OPTION_QUEUE_SIZE,
    OPTION_CONFIG,
    OPTION_TAG
};

/* What is known of a device type: section 5 of virtio 1.2. */
struct kind {
    const char *name;
    uint16_t id;
    uint32_t class_code;
    uint32_t queue_count; /* at least */
    uint32_t config_size;
};

static const struct kind kinds[] = {
    {"net", 1, 0x020000, 2, 12},     {"blk", 2, 0x010000, 1, 60},   {"console", 3, 0x078000, 2, 12},
    {"entropy", 4, 0xff0000, 1, 0},  {"scsi", 8, 0x010000, 3, 36},  {"gpu", 16, 0x038000, 2, 16},
    {"input", 18, 0x098000, 2, 136}, {"vsock", 19, 0x028000, 3, 8}, {"crypto", 20, 0x100000, 2, 56},
    {"sound", 25, 0x040100, 4, 12},  {"fs", 26, 0x018000, 2, 44},   {"i2c", 34, 0x0c8000, 1, 0},
    {"gpio", 41, 0xff0000, 1, 8},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

struct vhost_user {
    struct virtio virtio;
    struct virtio_type type;
    uint16_t queue_sizes[VDEV_BACKEND_QUEUES_MAX];
    int vectors[VDEV_BACKEND_QUEUES_MAX + 1]; /* event descriptors; -1: none */
    uint8_t config[VDEV_BACKEND_CONFIG_MAX];
    bool is_lost;
    bool is_stopping; /* a queue stops, and the lock was let go of */
};

/* What the configuration says. */
struct wishes {
    struct kind kind;
    uint32_t queue_count, queue_size;
    const struct vdev_value *tag; /* NULL: none */
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
        user->is_lost = true;
        user->virtio.offered = 0; /* from the next negotiation on */
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

static void user_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                       uint64_t value)
{
    const struct vhost_user *user = device;

    if (!user->is_stopping) {
        virtio_write(device, region, offset, size, value);
    }
}

static void user_config_cap_write(void *device, uint32_t cap, uint32_t offset, uint32_t size,
                                  uint32_t value)
{
    const struct vhost_user *user = device;

    if (!user->is_stopping) {
        virtio_config_cap_write(device, cap, offset, size, value);
    }
}

/* ---- the device ---- */

static int read_kind(const struct vdev_services *host, struct vdev_slot *slot,
                     const struct vdev_value *value, struct kind *kind)
{
    char *end = NULL;
    unsigned long id;

    for (uint32_t i = 0; i < KIND_COUNT; i++) {
        if (strcmp(kinds[i].name, value->text) == 0) {
            *kind = kinds[i];
            return 0;
        }
    }
    id = isdigit((unsigned char)value->text[0]) ? strtoul(value->text, &end, 0) : 0;
    if (id == 0 || id > 63 || *end != '\0') {
        return host->fail(slot, value,
                          "device '%s' is neither a number from 1 to 63 (virtio 1.2, 5) nor one of "
                          "net, blk, console, entropy, scsi, gpu, input, vsock, crypto, sound, fs, "
                          "i2c, gpio",
                          value->text);
    }
    *kind = (struct kind){value->text, (uint16_t)id, 0xff0000, 1, 0};
    return 0;
}

static int check_tag(const struct vdev_services *host, struct vdev_slot *slot,
                     struct wishes *wishes)
{
    size_t size = strlen(wishes->tag->text);

    if (wishes->kind.id != TYPE_FS) {
        return host->fail(slot, wishes->tag, "a tag is for 'device fs'");
    }
    if (size == 0 || size > TAG_SIZE) {
        return host->fail(slot, wishes->tag, "tag '%s' does not have 1 to %u bytes",
                          wishes->tag->text, TAG_SIZE);
    }
    wishes->kind.config_size = TAG_SIZE + sizeof(uint32_t);
    return 0;
}

static int read_wishes(const struct vdev_services *host, struct vdev_slot *slot,
                       const struct vdev_config *config, struct wishes *wishes)
{
    const struct vdev_value *config_size = NULL;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < config->value_count; i++) {
        const struct vdev_value *value = &config->values[i];

        switch (value->option) {
        case OPTION_DEVICE:
            r = read_kind(host, slot, value, &wishes->kind);
            break;
        case OPTION_QUEUES:
            wishes->queue_count = (uint32_t)value->number[0];
            break;
        case OPTION_QUEUE_SIZE:
            wishes->queue_size = (uint32_t)value->number[0];
            if ((wishes->queue_size & (wishes->queue_size - 1)) != 0) {
                r = host->fail(slot, value, "queue-size %u is no power of two", wishes->queue_size);
            }
            break;
        case OPTION_CONFIG:
            config_size = value;
            break;
        case OPTION_TAG:
            wishes->tag = value;
            break;
        default:
            break;
        }
    }
    if (r == 0 && wishes->kind.id == 0) {
        return host->fail(slot, NULL, "say what it is: 'device blk', or another, or its number");
    }
    if (config_size != NULL) {
        wishes->kind.config_size = (uint32_t)config_size->number[0];
    }
    return r == 0 && wishes->tag != NULL ? check_tag(host, slot, wishes) : r;
}

/* The configuration: the back end's, or of a file system whose tag is given, ours. */
static int make_config(struct vhost_user *user, const struct vdev_services *host,
                       struct vdev_slot *slot, const struct wishes *wishes, bool is_dry)
{
    uint32_t request_queues = wishes->queue_count - 1;

    if (wishes->tag != NULL) {
        memcpy(user->config, wishes->tag->text, strlen(wishes->tag->text));
        memcpy(user->config + TAG_SIZE, &request_queues, sizeof(request_queues));
        return 0;
    }
    if (wishes->kind.config_size > 0 && !is_dry &&
        host->backend_config(slot, user->config, wishes->kind.config_size) != 0) {
        return host->fail(slot, NULL,
                          "its back end has no configuration of %u bytes: 'config BYTES' says how "
                          "many there are, 0 that the driver is shown none%s",
                          wishes->kind.config_size,
                          wishes->kind.id == TYPE_FS ? "; or give a 'tag'" : "");
    }
    return 0;
}

/* What the back end has, against what is wanted. */
static int agree(struct vhost_user *user, const struct vdev_services *host, struct vdev_slot *slot,
                 struct wishes *wishes, struct vdev_backend *backend)
{
    if (!host->backend(slot, EVENT_LOST, backend)) {
        return host->fail(slot, NULL, "say where its back end listens: 'hostdev PATH'");
    }
    if ((backend->features & VIRTIO_BIT(VIRTIO_F_VERSION_1)) == 0) {
        return host->fail(slot, NULL, "its back end is older than virtio 1.0");
    }
    if (wishes->queue_count == 0) {
        wishes->queue_count = wishes->kind.queue_count;
    }
    if (backend->queue_count != 0 && wishes->queue_count > backend->queue_count) {
        return host->fail(slot, NULL, "it is to have %u queues, and its back end has %u",
                          wishes->queue_count, backend->queue_count);
    }
    return make_config(user, host, slot, wishes, backend->is_dry);
}

static int make(struct vhost_user *user, const struct vdev_services *host, struct vdev_slot *slot,
                const struct vdev_config *config)
{
    struct wishes wishes = {.queue_size = QUEUE_SIZE};
    struct vdev_backend backend = {.size = sizeof(backend)};
    int r = read_wishes(host, slot, config, &wishes);

    r = r == 0 ? agree(user, host, slot, &wishes, &backend) : r;
    if (r != 0) {
        return r;
    }
    for (uint32_t i = 0; i < VDEV_BACKEND_QUEUES_MAX; i++) {
        user->queue_sizes[i] = (uint16_t)wishes.queue_size;
    }
    user->type = (struct virtio_type){.id = wishes.kind.id,
                                      .class_code = wishes.kind.class_code,
                                      .queue_count = wishes.queue_count,
                                      .queue_sizes = user->queue_sizes,
                                      .config_write = user_config_write,
                                      .start = user_start,
                                      .kick = user_kick,
                                      .event = user_event,
                                      .stop = user_stop};
    r = virtio_init(&user->virtio, &user->type, host, slot, config, 0, user->config,
                    wishes.kind.config_size);
    user->virtio.offered = backend.features & (TYPE_FEATURES | RING_FEATURES);
    for (uint32_t i = 0; i <= VDEV_BACKEND_QUEUES_MAX; i++) {
        user->vectors[i] = -1;
        if (r == 0 && user->virtio.is_pci && !backend.is_dry && i <= wishes.queue_count) {
            user->vectors[i] = host->vector_event(slot, i); /* negative: the device does it */
        }
    }
    return r;
}

static int user_create(const struct vdev_services *host, struct vdev_slot *slot,
                       const struct vdev_config *config, void **device)
{
    struct vhost_user *user = calloc(1, sizeof(*user));
    int r = user != NULL ? make(user, host, slot, config) : host->fail(slot, NULL, "no memory");

    if (r != 0) {
        free(user);
        return r;
    }
    *device = user;
    return 0;
}

static void user_state(void *device, vdev_state_fn add, void *context)
{
    const struct vhost_user *user = device;

    virtio_state(device, add, context);
    add(context, "back-end", user->is_lost ? "gone" : "there");
}

static const struct vdev_option options[] = {
    [OPTION_DEVICE] = {.name = "device",
                       .kind = VDEV_OPTION_TEXT,
                       .doc = "what it is: a device type of virtio, or its number"},
    [OPTION_HOSTDEV] = {.name = "hostdev",
                        .kind = VDEV_OPTION_BACKEND,
                        .doc = "PATH of the socket where the back end listens"},
    [OPTION_QUEUES] = {.name = "queues",
                       .kind = VDEV_OPTION_NUMBER,
                       .min = 1,
                       .max = VDEV_BACKEND_QUEUES_MAX,
                       .doc = "how many; left out: as few as the device type has"},
    [OPTION_QUEUE_SIZE] = {.name = "queue-size",
                           .kind = VDEV_OPTION_NUMBER,
                           .min = 2,
                           .max = VIRTQ_SIZE_MAX,
                           .doc = "descriptors of each at most, a power of two; left out: 128"},
    [OPTION_CONFIG] = {.name = "config",
                       .kind = VDEV_OPTION_NUMBER,
                       .max = VDEV_BACKEND_CONFIG_MAX,
                       .doc = "bytes of its configuration; left out: as the device type has"},
    [OPTION_TAG] = {.name = "tag",
                    .kind = VDEV_OPTION_TEXT,
                    .doc = "of 'device fs': the name by which the guest mounts it"},
    {.name = NULL},
};

static const struct vdev_ops ops = {
    .size = sizeof(struct vdev_ops),
    .create = user_create,
    .destroy = free,
    .reset = virtio_reset,
    .read = virtio_read,
    .write = user_write,
    .event = virtio_event,
    .state = user_state,
    .config_read = virtio_config_cap_read,
    .config_write = user_config_cap_write,
};

static const struct vdev_module module = {
    VIRTIO_MODULE,      .name = "vhost-user", .doc = "a virtio device of a vhost-user back end",
    .options = options, .ops = &ops,          .has_io_thread = true,
};

QVM_VDEV_EXPORT(module);
