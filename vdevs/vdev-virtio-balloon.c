/* A balloon: "Traditional Memory Balloon Device", virtio 1.2, 5.5.
 *
 * The host asks for memory (`qvmctl balloon`), the driver takes pages out of the guest's use and
 * names them, and the qvm gives them back to the host. A page that the guest touches again, told or
 * not, is there again and empty; so nothing is lost by a driver that lies, and the driver need not
 * wait to be allowed (VIRTIO_BALLOON_F_MUST_TELL_HOST is not offered). Pages that the guest has
 * free at the moment may be given back without being asked for (free page reporting).
 *
 * Whatever the driver names, work is bounded for each buffer and for each round: the rest of a
 * buffer is passed over, the rest of the buffers comes in another round. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/vdev_fields.h>

#include "vdevs/virtio/virtio.h"

#define TYPE_BALLOON 5u /* 5 */
#define QUEUE_SIZE   64u
#define SEGMENTS_MAX (QUEUE_SIZE + 8u) /* some more where buffers go over borders of RAM */

/* 5.5.2. The last two: of free page hints, which are not offered, and of reports; see what(). */
#define QUEUE_INFLATE 0u
#define QUEUE_DEFLATE 1u
#define QUEUE_STATS   2u
#define QUEUE_COUNT   5u

/* 5.5.3 */
#define F_STATS          1u
#define F_DEFLATE_ON_OOM 2u
#define F_REPORTING      5u

#define PAGE_SHIFT    12u /* 5.5.6: pages are of 4 KiB, whatever the guest's are */
#define PAGE_SIZE     (UINT64_C(1) << PAGE_SHIFT)
#define PAGES_MAX     1024u        /* named in one buffer; Linux names 256 */
#define REPORT_MAX    (256u << 20) /* bytes of one report; Linux' are 128 MiB at most */
#define ROUND_BUFFERS 4u           /* of one round: others want the device, too */
#define STEP_PAGES    128u

/* 5.5.6.4 */
#define STATS_MAX  64u /* of one buffer */
#define STAT_COUNT 10u
static const char *const stat_names[STAT_COUNT] = {
    "swap-in",     "swap-out",        "major-faults", "minor-faults",     "free",
    "guest-total", "guest-available", "guest-caches", "huge-allocations", "huge-failures",
};
struct stat {
    uint16_t tag;
    uint64_t value;
} __attribute__((packed));

/* 5.5.4 */
struct balloon_config {
    uint32_t page_count, actual;
} __attribute__((packed));

struct balloon {
    struct virtio virtio;
    struct balloon_config config;
    struct vdev_piece segments[SEGMENTS_MAX];
    uint64_t ram_size;
    uint64_t given_bytes, reported_bytes; /* since the start */
    bool wants_stats;
    uint32_t stat_set; /* bit N: stats[N] was told */
    uint64_t stats[STAT_COUNT];
    uint64_t stats_ns; /* when */
};

enum what { INFLATE, DEFLATE, STATS, REPORTS };

/* What a queue is for. Reports have number 4; drivers that count only the queues that there are
 * (Linux before 6.11) have them at 3, or at 2 without statistics. */
static enum what what(const struct balloon *balloon, uint32_t queue)
{
    if (queue == QUEUE_INFLATE) {
        return INFLATE;
    }
    if (queue == QUEUE_DEFLATE) {
        return DEFLATE;
    }
    return queue == QUEUE_STATS && virtio_has(&balloon->virtio, F_STATS) ? STATS : REPORTS;
}

static uint64_t give(struct balloon *balloon, void *at, uint64_t size)
{
    return balloon->virtio.host->memory_discard(balloon->virtio.slot, at, size) == 0 ? size : 0;
}

/* ---- pages by their numbers ---- */

/* Pages that lie side by side; `count` 0: none. */
struct run {
    uint64_t first, count;
};

static void give_run(struct balloon *balloon, const struct run *run)
{
    const struct vdev_services *host = balloon->virtio.host;
    struct vdev_slot *slot = balloon->virtio.slot;
    void *at = host->memory_span(slot, run->first << PAGE_SHIFT, run->count << PAGE_SHIFT);

    if (at != NULL) {
        balloon->given_bytes += give(balloon, at, run->count << PAGE_SHIFT);
        return;
    }
    for (uint64_t i = 0; i < run->count; i++) { /* over a border, or no RAM at all */
        at = host->memory_span(slot, (run->first + i) << PAGE_SHIFT, PAGE_SIZE);
        balloon->given_bytes += at != NULL ? give(balloon, at, PAGE_SIZE) : 0;
    }
}

static void add_page(struct balloon *balloon, struct run *run, uint32_t page)
{
    if (run->count > 0 && page == run->first + run->count) {
        run->count++;
    } else if (run->count > 0 && (uint64_t)page + 1 == run->first) {
        run->first--;
        run->count++;
    } else {
        if (run->count > 0) {
            give_run(balloon, run);
        }
        *run = (struct run){page, 1};
    }
}

/* 5.5.6.1: the buffer is an array of page numbers. */
static void inflate(struct balloon *balloon, const struct virtq_chain *chain)
{
    struct run run = {0};
    uint32_t pages[STEP_PAGES];
    uint64_t offset = 0;
    size_t count;

    do {
        count = virtq_read(chain, offset, pages, sizeof(pages)) / sizeof(pages[0]);
        for (size_t i = 0; i < count; i++) {
            add_page(balloon, &run, pages[i]);
        }
        offset += count * sizeof(pages[0]);
    } while (count == STEP_PAGES && offset < PAGES_MAX * sizeof(pages[0]));
    if (run.count > 0) {
        give_run(balloon, &run);
    }
}

/* ---- free pages ---- */

/* 5.5.6.7: what the buffer may be written to is free. Whole pages alone. */
static void take_report(struct balloon *balloon, const struct virtq_chain *chain)
{
    uint64_t left = REPORT_MAX;

    for (uint32_t i = 0; i < chain->write_count && left >= PAGE_SIZE; i++) {
        const struct vdev_piece *piece = &chain->segments[chain->read_count + i];
        uint64_t before = -(uintptr_t)piece->base & (PAGE_SIZE - 1);
        uint64_t size = piece->size > before ? piece->size - before : 0;

        size = (size < left ? size : left) & ~(PAGE_SIZE - 1);
        if (size > 0) {
            balloon->reported_bytes += give(balloon, (uint8_t *)piece->base + before, size);
        }
        left -= size;
    }
}

static void work_off(struct balloon *balloon, uint32_t queue)
{
    struct virtq_chain chain = {.segments = balloon->segments, .room = SEGMENTS_MAX};
    enum what kind = what(balloon, queue);
    uint32_t left = ROUND_BUFFERS;

    while (left > 0 && virtio_take_or_wait(&balloon->virtio, queue, &chain)) {
        if (kind == INFLATE) {
            inflate(balloon, &chain);
        } else if (kind == REPORTS && virtio_has(&balloon->virtio, F_REPORTING)) {
            take_report(balloon, &chain);
        }
        virtio_use(&balloon->virtio, queue, &chain, 0);
        left--;
    }
    virtio_tell(&balloon->virtio, queue);
    if (left == 0) {
        balloon->virtio.host->ring(balloon->virtio.slot, queue);
    }
}

/* ---- statistics ---- */

static void note_stats(struct balloon *balloon, const struct virtq_chain *chain)
{
    struct stat stat;

    balloon->stat_set = 0;
    for (uint32_t i = 0; i < STATS_MAX; i++) {
        if (virtq_read(chain, (uint64_t)i * sizeof(stat), &stat, sizeof(stat)) != sizeof(stat)) {
            break;
        }
        if (stat.tag < STAT_COUNT) {
            balloon->stat_set |= 1u << stat.tag;
            balloon->stats[stat.tag] = stat.value;
        }
    }
    balloon->stats_ns = balloon->virtio.host->now_ns(balloon->virtio.slot);
}

/* 5.5.6.3: the driver has one buffer, and fills it anew when it gets it back. It stays in the queue
 * until new figures are wanted. */
static void look_at_stats(struct balloon *balloon)
{
    struct virtq_chain chain = {.segments = balloon->segments, .room = SEGMENTS_MAX};
    uint32_t left = 2; /* the one that is there, and the next */

    while (left > 0 && virtio_take_or_wait(&balloon->virtio, QUEUE_STATS, &chain)) {
        if (!balloon->wants_stats) {
            note_stats(balloon, &chain);
            virtq_untake(&balloon->virtio.queues[QUEUE_STATS], &chain);
            break;
        }
        balloon->wants_stats = false;
        virtio_use(&balloon->virtio, QUEUE_STATS, &chain, 0);
        left--;
    }
    virtio_tell(&balloon->virtio, QUEUE_STATS);
}

/* ---- the device ---- */

static void balloon_kick(void *device, uint32_t queue)
{
    struct balloon *balloon = device;

    if (what(balloon, queue) == STATS) {
        look_at_stats(balloon);
    } else {
        work_off(balloon, queue);
    }
}

/* 5.5.4: the driver says how large the balloon is. */
static void balloon_config_write(void *device, uint32_t offset, uint32_t size, uint64_t value)
{
    struct balloon *balloon = device;
    const uint32_t at = offsetof(struct balloon_config, actual);

    if (offset >= at && size <= sizeof(value)) {
        memcpy((uint8_t *)&balloon->config + offset, &value, size);
    }
}

static int balloon_resize(void *device, uint64_t bytes)
{
    struct balloon *balloon = device;

    if (bytes > balloon->ram_size || bytes >> PAGE_SHIFT > UINT32_MAX) {
        return -ERANGE;
    }
    balloon->config.page_count = (uint32_t)(bytes >> PAGE_SHIFT);
    virtio_config_changed(&balloon->virtio);
    return virtio_is_live(&balloon->virtio, QUEUE_INFLATE) ? 0 : -EAGAIN;
}

/* Who drove it is gone, with what it had taken; what the host wants stays. */
static void balloon_stop(void *device, uint32_t queue)
{
    struct balloon *balloon = device;

    if (queue == QUEUE_INFLATE) {
        balloon->config.actual = 0;
        balloon->stat_set = 0;
        balloon->wants_stats = false;
    }
}

/* Beside those of virtio. */
static const struct vdev_field fields[] = {
    VDEV_NUMBER(0x1000, struct balloon, config.page_count, 0),
    VDEV_NUMBER(0x1001, struct balloon, config.actual, 0),
    {0},
};

static int balloon_save(void *device)
{
    struct balloon *balloon = device;
    int r = virtio_save(device);

    return r == 0 ? vdev_put_fields(balloon->virtio.host, balloon->virtio.slot, fields, 0, balloon)
                  : r;
}

static int balloon_restore(void *device)
{
    struct balloon *balloon = device;
    int r = vdev_get_fields(balloon->virtio.host, balloon->virtio.slot, fields, 0, balloon);

    return r == 0 ? virtio_restore(device) : r;
}

static const struct vdev_option options[] = {
    {.name = "deflate-on-oom",
     .kind = VDEV_OPTION_BOOL,
     .fallback = "on",
     .doc = "a guest that is out of memory takes some back"},
    {.name = "reporting",
     .kind = VDEV_OPTION_BOOL,
     .fallback = "on",
     .doc = "the guest gives back what it has free"},
    VIRTIO_OPTIONS,
    VIRTIO_LEGACY_OPTION,
    {.name = NULL},
};
enum { OPTION_DEFLATE_ON_OOM, OPTION_REPORTING };

static const uint16_t queue_sizes[QUEUE_COUNT] = {QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE,
                                                  QUEUE_SIZE};

static const struct virtio_type type = {
    .id = TYPE_BALLOON,
    .class_code = 0xff0000, /* no class fits */
    .queue_count = QUEUE_COUNT,
    .queue_sizes = queue_sizes,
    .options = options,
    .config_write = balloon_config_write,
    .kick = balloon_kick,
    .stop = balloon_stop,
};

static uint64_t read_options(const struct vdev_config *config)
{
    uint64_t features = VIRTIO_BIT(F_STATS);

    for (uint32_t i = 0; i < config->value_count; i++) {
        const struct vdev_value *value = &config->values[i];
        uint64_t feature = value->option == OPTION_DEFLATE_ON_OOM ? VIRTIO_BIT(F_DEFLATE_ON_OOM)
                           : value->option == OPTION_REPORTING    ? VIRTIO_BIT(F_REPORTING)
                                                                  : 0;

        features = value->boolean ? features | feature : features & ~feature;
    }
    return features;
}

static int balloon_create(const struct vdev_services *host, struct vdev_slot *slot,
                          const struct vdev_config *config, void **device)
{
    struct balloon *balloon = calloc(1, sizeof(*balloon));
    int r;

    if (balloon == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    balloon->ram_size = config->ram_below_4g + config->ram_above_4g;
    r = virtio_init(&balloon->virtio, &type, host, slot, config, read_options(config),
                    &balloon->config, sizeof(balloon->config));
    if (r != 0) {
        free(balloon);
        return r;
    }
    *device = balloon;
    return 0;
}

static void add_number(vdev_state_fn add, void *context, const char *name, uint64_t value)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    add(context, name, text);
}

/* Who looks has the figures of the last look, with their age, and new ones are asked for. */
static void balloon_state(void *device, vdev_state_fn add, void *context)
{
    struct balloon *balloon = device;
    const struct vdev_services *host = balloon->virtio.host;

    virtio_state(device, add, context);
    add_number(add, context, "wanted", (uint64_t)balloon->config.page_count << PAGE_SHIFT);
    add_number(add, context, "size", (uint64_t)balloon->config.actual << PAGE_SHIFT);
    add_number(add, context, "given-back", balloon->given_bytes);
    add_number(add, context, "reported", balloon->reported_bytes);
    if (!virtio_has(&balloon->virtio, F_STATS)) {
        return;
    }
    for (uint32_t i = 0; i < STAT_COUNT; i++) {
        if ((balloon->stat_set & 1u << i) != 0) {
            add_number(add, context, stat_names[i], balloon->stats[i]);
        }
    }
    if (balloon->stat_set != 0) {
        add_number(add, context, "figures-age-ms",
                   (host->now_ns(balloon->virtio.slot) - balloon->stats_ns) / 1000000);
    }
    balloon->wants_stats = true;
    host->ring(balloon->virtio.slot, QUEUE_STATS);
}

static const struct vdev_ops ops = {
    VIRTIO_OPS_ACCESS,          .reset = virtio_reset,     .save = balloon_save,
    .restore = balloon_restore, .create = balloon_create,  .destroy = free,
    .state = balloon_state,     .balloon = balloon_resize,
};

static const struct vdev_module module = {
    VIRTIO_MODULE,
    .name = "virtio-balloon",
    .doc = "memory that the guest gives back (virtio 1.2, 5.5)",
    .options = options,
    .has_io_thread = true,
    .discards_memory = true,
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
