/* A console of one port: "Console Device", virtio 1.2, 5.3, on the stream of `hostdev`.
 *
 * What the guest says goes to the stream at once, which takes all; what is typed waits in the
 * stream until the driver has given a buffer for it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/vdev_fields.h>

#include "vdevs/virtio/virtio.h"

#define TYPE_CONSOLE 3u /* 5 */
#define QUEUE_SIZE   64u
#define SEGMENTS_MAX (QUEUE_SIZE + 8u) /* some more where buffers go over borders of RAM */

/* 5.3.2 */
#define QUEUE_RECEIVE  0u
#define QUEUE_TRANSMIT 1u
#define QUEUE_COUNT    2u

/* 5.3.3 */
#define F_SIZE        0u
#define F_EMERG_WRITE 2u

#define ROUND_MAX     65536u /* bytes of one round: others want the thread, too */
#define ROUND_BUFFERS (2 * QUEUE_SIZE)

/* 5.3.4 */
struct console_config {
    uint16_t columns, rows;
    uint32_t ports_max, emergency;
} __attribute__((packed));

struct console {
    struct virtio virtio;
    struct console_config config;
    struct vdev_piece segments[SEGMENTS_MAX];
    bool is_full; /* receive took less than it was given */
    uint64_t in_count, out_count;
};

static void say(struct console *console, const struct virtq_chain *chain)
{
    for (uint32_t i = 0; i < chain->read_count; i++) {
        console->virtio.host->stream_write(console->virtio.slot, chain->segments[i].base,
                                           (size_t)chain->segments[i].size);
    }
    console->out_count += chain->read_size;
}

static void transmit(struct console *console)
{
    struct virtq_chain chain = {.segments = console->segments, .room = SEGMENTS_MAX};
    uint64_t bytes = 0;
    uint32_t buffers = 0;

    while (bytes < ROUND_MAX && buffers < ROUND_BUFFERS &&
           virtio_take_or_wait(&console->virtio, QUEUE_TRANSMIT, &chain)) {
        say(console, &chain);
        bytes += chain.read_size;
        buffers++;
        virtio_use(&console->virtio, QUEUE_TRANSMIT, &chain, 0);
    }
    virtio_tell(&console->virtio, QUEUE_TRANSMIT);
    if (bytes >= ROUND_MAX || buffers == ROUND_BUFFERS) {
        console->virtio.host->ring(console->virtio.slot, QUEUE_TRANSMIT);
    }
}

static void console_kick(void *device, uint32_t queue)
{
    struct console *console = device;

    if (queue == QUEUE_TRANSMIT) {
        transmit(console);
    } else if (console->is_full) {
        console->is_full = false;
        console->virtio.host->stream_resume(console->virtio.slot);
    }
}

static size_t console_receive(void *device, const uint8_t *data, size_t count)
{
    struct console *console = device;
    struct virtq_chain chain = {.segments = console->segments, .room = SEGMENTS_MAX};
    size_t done = 0;

    while (done < count && virtio_take_or_wait(&console->virtio, QUEUE_RECEIVE, &chain)) {
        size_t n = virtq_write(&chain, 0, data + done, count - done);

        virtio_use(&console->virtio, QUEUE_RECEIVE, &chain, (uint32_t)n);
        done += n;
        if (n == 0) { /* a buffer without room: given back, and no reason to go on */
            break;
        }
    }
    virtio_tell(&console->virtio, QUEUE_RECEIVE);
    console->in_count += done;
    console->is_full = done < count;
    return done;
}

/* What was typed may wait for the driver, or it has given buffers since. */
static void console_restored(void *device)
{
    struct console *console = device;

    console->is_full = false;
    console->virtio.host->stream_resume(console->virtio.slot);
}

/* 5.3.4: a character before, or without, the driver's queues. */
static void console_config_write(void *device, uint32_t offset, uint32_t size, uint64_t value)
{
    struct console *console = device;
    uint8_t byte = (uint8_t)value;

    if (offset == offsetof(struct console_config, emergency) && size <= sizeof(uint32_t)) {
        console->virtio.host->stream_write(console->virtio.slot, &byte, 1);
        console->out_count++;
    }
}

/* 5.3.4; 0 by 0: nobody has said so yet. */
static void console_resize(void *device, uint16_t columns, uint16_t rows)
{
    struct console *console = device;

    if (console->config.columns != columns || console->config.rows != rows) {
        console->config.columns = columns;
        console->config.rows = rows;
        virtio_config_changed(&console->virtio);
    }
}

/* Beside those of virtio. */
static const struct vdev_field fields[] = {
    VDEV_NUMBER(0x1000, struct console, config.columns, 0),
    VDEV_NUMBER(0x1001, struct console, config.rows, 0),
    {0},
};

static int console_save(void *device)
{
    struct console *console = device;
    int r = virtio_save(device);

    return r == 0 ? vdev_put_fields(console->virtio.host, console->virtio.slot, fields, 0, console)
                  : r;
}

static int console_restore(void *device)
{
    struct console *console = device;
    int r = vdev_get_fields(console->virtio.host, console->virtio.slot, fields, 0, console);

    return r == 0 ? virtio_restore(device) : r;
}

static const struct vdev_option options[] = {
    {.name = "hostdev",
     .kind = VDEV_OPTION_HOSTDEV,
     .fallback = "-",
     .doc = "[<|>]PATH, or - for the console"},
    VIRTIO_OPTIONS,
    {.name = NULL},
};

static const uint16_t queue_sizes[QUEUE_COUNT] = {QUEUE_SIZE, QUEUE_SIZE};

static const struct virtio_type type = {
    .id = TYPE_CONSOLE,
    .class_code = 0x078000, /* simple communication controller, other */
    .queue_count = QUEUE_COUNT,
    .queue_sizes = queue_sizes,
    .options = options,
    .config_write = console_config_write,
    .kick = console_kick,
    .restored = console_restored,
};

static int console_create(const struct vdev_services *host, struct vdev_slot *slot,
                          const struct vdev_config *config, void **device)
{
    struct console *console = calloc(1, sizeof(*console));
    int r;

    if (console == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    console->config.ports_max = 1;
    r = virtio_init(&console->virtio, &type, host, slot, config,
                    VIRTIO_BIT(F_SIZE) | VIRTIO_BIT(F_EMERG_WRITE), &console->config,
                    sizeof(console->config));
    if (r != 0) {
        free(console);
        return r;
    }
    *device = console;
    return 0;
}

static void console_state(void *device, vdev_state_fn add, void *context)
{
    const struct console *console = device;
    char text[32];

    virtio_state(device, add, context);
    (void)snprintf(text, sizeof(text), "%" PRIu64, console->in_count);
    add(context, "received", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, console->out_count);
    add(context, "sent", text);
    (void)snprintf(text, sizeof(text), "%ux%u", console->config.columns, console->config.rows);
    add(context, "size", text);
}

static const struct vdev_ops ops = {
    VIRTIO_OPS_ACCESS,          .reset = virtio_reset,    .save = console_save,
    .restore = console_restore, .create = console_create, .destroy = free,
    .receive = console_receive, .resize = console_resize, .state = console_state,
};

static const struct vdev_module module = {
    VIRTIO_MODULE,
    .name = "virtio-console",
    .doc = "a console (virtio 1.2, 5.3)",
    .options = options,
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
