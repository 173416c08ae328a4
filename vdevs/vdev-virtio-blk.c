/* A disk: "Block Device", virtio 1.2, 5.2, on the image of `hostdev`.
 *
 * A request is checked, then begun, and ends whenever the host is done with it; several are in
 * flight, as many as the queues have descriptors. What the driver wrote into a request is copied
 * once. A driver that did not negotiate flushes gets each write flushed (5.2.6.2). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vdevs/virtio_blk.h"

#define TYPE_BLK   2u                  /* 5 */
#define PER_SECOND (UINT64_C(1) << 40) /* more than any disk does */

enum option {
    OPTION_HOSTDEV,
    OPTION_SERIAL,
    OPTION_QUEUES,
    OPTION_IOPS,
    OPTION_BPS,
    OPTION_ON_ERROR,
    OPTION_FORMAT
};

static const struct vdev_option options[] = {
    [OPTION_HOSTDEV] = {.name = "hostdev",
                        .kind = VDEV_OPTION_IMAGE,
                        .doc =
                            "the image: [<]PATH, with < read-only; fixed VHD if it ends in .vhd"},
    [OPTION_SERIAL] = {.name = "serial",
                       .kind = VDEV_OPTION_TEXT,
                       .doc = "serial number, up to 20 bytes; else the vdev's name"},
    [OPTION_QUEUES] = {.name = "queues",
                       .kind = VDEV_OPTION_NUMBER,
                       .min = 1,
                       .max = QUEUES_MAX,
                       .fallback = "1",
                       .doc = "how many request queues it has"},
    [OPTION_IOPS] = {.name = "iops",
                     .kind = VDEV_OPTION_NUMBER,
                     .min = 1,
                     .max = PER_SECOND,
                     .doc = "requests of a second, at most"},
    [OPTION_BPS] = {.name = "bps",
                    .kind = VDEV_OPTION_NUMBER,
                    .min = 1,
                    .max = PER_SECOND,
                    .doc = "bytes of a second, read and written, at most"},
    [OPTION_ON_ERROR] = {.name = "on-error",
                         .kind = VDEV_OPTION_ON_ERROR,
                         .doc = "report; full: a host without room pauses the guest; pause: any "
                                "error does"},
    [OPTION_FORMAT] = {.name = "format",
                       .kind = VDEV_OPTION_FORMAT,
                       .doc =
                           "of the image: raw, vhd (fixed), vhd-dynamic, vhdx or qcow2; left out: "
                           "as its name says"},
    VIRTIO_OPTIONS,
    VIRTIO_LEGACY_OPTION,
    {.name = NULL},
};

static const struct virtio_type type = {
    .id = TYPE_BLK,
    .class_code = 0x010000, /* mass storage, SCSI: as everybody has it */
    .options = options,
    .kick = blk_kick,
    .stop = blk_stop,
};

/* The serial number: 20 bytes, without an end when all are used. */
static int read_serial(struct blk *blk, const struct vdev_services *host, struct vdev_slot *slot,
                       const struct vdev_value *value)
{
    if (strlen(value->text) > ID_SIZE) {
        return host->fail(slot, value, "the serial '%s' has more than %u bytes", value->text,
                          ID_SIZE);
    }
    memset(blk->id, 0, sizeof(blk->id));
    memcpy(blk->id, value->text, strnlen(value->text, sizeof(blk->id)));
    return 0;
}

static int read_options(struct blk *blk, const struct vdev_services *host, struct vdev_slot *slot,
                        const struct vdev_config *config)
{
    int r = 0;

    memcpy(blk->id, config->name, strnlen(config->name, sizeof(blk->id)));
    blk->type = type;
    blk->type.queue_count = 1;
    blk->type.queue_sizes = blk->queue_sizes;
    for (uint32_t i = 0; r == 0 && i < config->value_count; i++) {
        const struct vdev_value *value = &config->values[i];

        switch (value->option) {
        case OPTION_SERIAL:
            r = read_serial(blk, host, slot, value);
            break;
        case OPTION_QUEUES:
            blk->type.queue_count = (uint32_t)value->number[0];
            break;
        case OPTION_IOPS:
            blk->requests_rate.per_second = value->number[0];
            break;
        case OPTION_BPS:
            blk->bytes_rate.per_second = value->number[0];
            break;
        default:
            break;
        }
    }
    return r;
}

/* As large as they may be, but that requests of all fit into what an image has in flight. */
static void size_queues(struct blk *blk)
{
    uint16_t size = QUEUE_SIZE;

    while (size * blk->type.queue_count > REQUESTS_MAX) {
        size /= 2;
    }
    for (uint32_t i = 0; i < blk->type.queue_count; i++) {
        blk->queue_sizes[i] = size;
    }
}

/* What is aligned to `block` bytes is quickest: an exponent of sectors. */
static uint8_t exponent(uint32_t block)
{
    uint8_t value = 0;

    while (block > SECTOR) {
        block /= 2;
        value++;
    }
    return value;
}

static uint64_t describe(struct blk *blk, const struct vdev_image *image)
{
    uint64_t features = VIRTIO_BIT(F_SEG_MAX) | VIRTIO_BIT(F_BLK_SIZE) | VIRTIO_BIT(F_FLUSH) |
                        VIRTIO_BIT(F_TOPOLOGY);

    blk->config = (struct blk_config){
        .capacity = image->size / SECTOR,
        /* with header and status in one indirect table, which is no longer than its queue */
        .seg_max = blk->queue_sizes[0] - 2u < SEG_MAX ? blk->queue_sizes[0] - 2u : SEG_MAX,
        .blk_size = SECTOR,
        .physical_block_exp = exponent(image->block),
        .min_io_size = 1,
        .queue_count = (uint16_t)blk->type.queue_count,
    };
    if (image->is_read_only) {
        features |= VIRTIO_BIT(F_RO);
    } else {
        blk->config.zeroes_max = ZEROES_MAX;
        blk->config.zeroes_segments_max = 1;
        blk->config.zeroes_may_unmap = !image->keeps_blocks;
        features |= VIRTIO_BIT(F_WRITE_ZEROES);
    }
    if (!image->is_read_only && !image->keeps_blocks) { /* others would be asked for nothing */
        blk->config.discard_max = DISCARD_MAX;
        blk->config.discard_segments_max = 1;
        blk->config.discard_alignment = image->block / SECTOR;
        features |= VIRTIO_BIT(F_DISCARD);
    }
    return blk->type.queue_count > 1 ? features | VIRTIO_BIT(F_MQ) : features;
}

static int set_up(struct blk *blk, const struct vdev_services *host, struct vdev_slot *slot,
                  const struct vdev_config *config)
{
    struct vdev_image image;
    int r = read_options(blk, host, slot, config);

    if (r != 0) {
        return r;
    }
    if (!host->image(slot, &image)) {
        return host->fail(slot, NULL, "a disk wants an image: hostdev PATH, or hostdev <PATH");
    }
    size_queues(blk);
    blk_forget_requests(blk);
    return virtio_init(&blk->virtio, &blk->type, host, slot, config, describe(blk, &image),
                       &blk->config, sizeof(blk->config));
}

static int blk_create(const struct vdev_services *host, struct vdev_slot *slot,
                      const struct vdev_config *config, void **device)
{
    struct blk *blk = calloc(1, sizeof(*blk));
    int r = blk != NULL ? set_up(blk, host, slot, config) : host->fail(slot, NULL, "no memory");

    if (r != 0) {
        free(blk);
        return r;
    }
    *device = blk;
    return 0;
}

static void add_count(vdev_state_fn add, void *context, const char *name, uint64_t count,
                      uint64_t bytes)
{
    char text[96];

    (void)snprintf(text, sizeof(text), "%" PRIu64 " (%" PRIu64 " bytes)", count, bytes);
    add(context, name, text);
}

static void blk_state(void *device, vdev_state_fn add, void *context)
{
    const struct blk *blk = device;
    char text[32];

    virtio_state(device, add, context);
    add_count(add, context, "reads", blk->read_count, blk->read_bytes);
    add_count(add, context, "writes", blk->write_count, blk->write_bytes);
    if ((blk->virtio.offered & VIRTIO_BIT(F_DISCARD)) != 0) {
        add_count(add, context, "discards", blk->discard_count, blk->discard_bytes);
    } else {
        add(context, "discards", "not offered");
    }
    (void)snprintf(text, sizeof(text), "%" PRIu64, blk->flush_count);
    add(context, "flushes", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, blk->wait_count);
    add(context, "waits", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, blk->error_count);
    add(context, "errors", text);
    (void)snprintf(text, sizeof(text), "%u", REQUESTS_MAX - blk->unused_count);
    add(context, "in-flight", text);
}

/* 5.2.5.1, 5.2.6: the driver reads the capacity anew. */
static void blk_image_grown(void *device)
{
    struct blk *blk = device;
    struct vdev_image image;

    if (blk->virtio.host->image(blk->virtio.slot, &image)) {
        blk->config.capacity = image.size / SECTOR;
        virtio_config_changed(&blk->virtio);
    }
}

static const struct vdev_ops ops = {
    VIRTIO_OPS,
    .create = blk_create,
    .destroy = free,
    .io_done = blk_io_done,
    .state = blk_state,
    .timer = blk_timer,
    .image_grown = blk_image_grown,
};

static const struct vdev_module module = {
    VIRTIO_MODULE,      .name = "virtio-blk", .doc = "a disk (virtio 1.2, 5.2)",
    .options = options, .ops = &ops,          .has_io_thread = true,
    .timer_count = 1,
};

QVM_VDEV_EXPORT(module);
