/* Any virtio device whose queues a back end outside works off, by vhost-user.
 *
 * What the device is, the configuration says, and what it can, the back end. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "vdevs/vhost_user.h"

#define QUEUE_SIZE 128u
#define TYPE_FS    26u

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

/* What the configuration says. */
struct wishes {
    struct kind kind;
    uint32_t queue_count, queue_size;
    const struct vdev_value *tag; /* NULL: none */
};

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
    if (wishes->kind.id != TYPE_FS) {
        return host->fail(slot, wishes->tag, "a tag is for 'device fs'");
    }
    wishes->kind.config_size = VHOST_USER_FS_CONFIG;
    return vhost_user_check_tag(host, slot, wishes->tag);
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

static int user_create(const struct vdev_services *host, struct vdev_slot *slot,
                       const struct vdev_config *config, void **device)
{
    struct wishes wishes = {.queue_size = QUEUE_SIZE};
    int r = read_wishes(host, slot, config, &wishes);

    if (r != 0) {
        return r;
    }
    return vhost_user_create(
        host, slot, config,
        &(struct vhost_user_kind){.id = wishes.kind.id,
                                  .class_code = wishes.kind.class_code,
                                  .queue_count = wishes.queue_count != 0 ? wishes.queue_count
                                                                         : wishes.kind.queue_count,
                                  .queue_size = wishes.queue_size,
                                  .config_size = wishes.kind.config_size,
                                  .tag = wishes.tag != NULL ? wishes.tag->text : NULL,
                                  .missing = wishes.kind.id == TYPE_FS ? "; or give a 'tag'" : ""},
        device);
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

static const struct vdev_ops ops = {VHOST_USER_OPS, .create = user_create};

static const struct vdev_module module = {
    VIRTIO_MODULE,      .name = "vhost-user", .doc = "a virtio device of a vhost-user back end",
    .options = options, .ops = &ops,          .has_io_thread = true,
};

QVM_VDEV_EXPORT(module);
