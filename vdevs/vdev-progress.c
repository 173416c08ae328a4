/* How far a guest has come: it writes numbers, people read when it did.
 *
 * The place is the guest's to choose; without `loc` it is port 0x80, where PC firmware shows its
 * power-on self-test codes (IBM PC AT, Technical Reference 1502494, "POST"). A read gives the last
 * number back, as the latch of a self-test card does. Each write is told to the vdev's log with the
 * time since power-on; the last ones stand in the device's state. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <qvm/vdev.h>
#include <qvm/vdev_fields.h>

#define KEPT_COUNT 16u
#define SIZE_MAX_  8u /* bytes of the place */

struct mark {
    uint64_t value, at_ns; /* since power-on */
};

struct progress {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    uint64_t power_on_ns;
    uint64_t value;
    uint64_t count;
    struct mark kept[KEPT_COUNT]; /* number `count` is at count % KEPT_COUNT */
};

static void progress_reset(void *device)
{
    struct progress *progress = device;

    progress->power_on_ns = progress->host->now_ns(progress->slot);
    progress->value = 0;
    progress->count = 0;
}

static int progress_create(const struct vdev_services *host, struct vdev_slot *slot,
                           const struct vdev_config *config, void **device)
{
    struct progress *progress;

    if (config->regions[0].size > SIZE_MAX_) {
        return host->fail(slot, NULL, "progress has 1 to %u bytes, 'loc' gives %" PRIu64, SIZE_MAX_,
                          config->regions[0].size);
    }
    progress = calloc(1, sizeof(*progress));
    if (progress == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    progress->host = host;
    progress->slot = slot;
    progress_reset(progress);
    *device = progress;
    return 0;
}

static uint64_t progress_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    const struct progress *progress = device;

    (void)region; /* there is one */
    (void)size;
    return progress->value >> (8 * offset); /* offset is below 8: it lies inside the region */
}

static void progress_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                           uint64_t value)
{
    struct progress *progress = device;
    uint64_t mask = size < 8 ? (UINT64_C(1) << (8 * size)) - 1 : UINT64_MAX;
    uint64_t at_ns = progress->host->now_ns(progress->slot) - progress->power_on_ns;
    uint32_t shift = (uint32_t)(8 * offset);

    (void)region;
    progress->value = (progress->value & ~(mask << shift)) | value << shift;
    progress->kept[progress->count % KEPT_COUNT] = (struct mark){progress->value, at_ns};
    progress->count++;
    progress->host->log(progress->slot, VDEV_LOG_INFO,
                        "progress 0x%" PRIx64 " after %" PRIu64 " us", progress->value,
                        at_ns / 1000);
}

static void progress_state(void *device, vdev_state_fn add, void *context)
{
    const struct progress *progress = device;
    uint64_t first = progress->count > KEPT_COUNT ? progress->count - KEPT_COUNT : 0;
    char text[64], name[32];

    (void)snprintf(text, sizeof(text), "%" PRIu64, progress->count);
    add(context, "marks", text);
    for (uint64_t i = first; i < progress->count; i++) {
        const struct mark *mark = &progress->kept[i % KEPT_COUNT];

        (void)snprintf(name, sizeof(name), "mark%" PRIu64, i + 1);
        (void)snprintf(text, sizeof(text), "0x%" PRIx64 " after %" PRIu64 " us", mark->value,
                       mark->at_ns / 1000);
        add(context, name, text);
    }
}

static const struct vdev_field fields[] = {
    VDEV_TIME(1, struct progress, power_on_ns),
    VDEV_NUMBER(2, struct progress, value, 0),
    VDEV_NUMBER(3, struct progress, count, 0),
    VDEV_BYTES(4, struct progress, kept),
    {0},
};

static int progress_save(void *device)
{
    const struct progress *progress = device;

    return vdev_put_fields(progress->host, progress->slot, fields, 0, progress);
}

static int progress_restore(void *device)
{
    struct progress *progress = device;

    return vdev_get_fields(progress->host, progress->slot, fields, 0, progress);
}

static const struct vdev_option options[] = {
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {
    {.space = VDEV_SPACE_IO, .start = 0x80, .size = 1},
};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = progress_create,
    .destroy = free,
    .reset = progress_reset,
    .read = progress_read,
    .write = progress_write,
    .state = progress_state,
    .save = progress_save,
    .restore = progress_restore,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "progress",
    .doc = "a place where a guest tells how far it is",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 1,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
