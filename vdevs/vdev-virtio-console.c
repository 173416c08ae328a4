/* A console: "Console Device", virtio 1.2, 5.3. Its first port is on the stream of `hostdev`;
 * others
 * (`console`, `port`), each on a stream of its own, are there for a driver that knows of several.
 *
 * What the guest says goes to the stream at once, which takes all; what is typed waits in the
 * stream until the driver has given a buffer for it, and has the port open. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vdevs/virtio_console.h"

#define TYPE_CONSOLE 3u /* 5 */

#define ROUND_MAX     65536u /* bytes of one round: others want the thread, too */
#define ROUND_BUFFERS (2 * CONSOLE_QUEUE_SIZE)

/* 5.3.2: the queue of a port in one direction, and whose a queue is. */
static uint32_t queue_of(uint32_t port, uint32_t direction)
{
    return (port == 0 ? 0 : 2 * port + 2) + direction;
}

static uint32_t port_of(uint32_t queue)
{
    return queue < CONSOLE_CONTROL_RECEIVE ? 0 : queue / 2 - 1;
}

static void say(struct console *console, uint32_t port, const struct virtq_chain *chain)
{
    const struct vdev_services *host = console->virtio.host;

    for (uint32_t i = 0; i < chain->read_count; i++) {
        const struct vdev_piece *piece = &chain->segments[i];

        if (port == 0) {
            host->stream_write(console->virtio.slot, piece->base, (size_t)piece->size);
        } else {
            host->port_write(console->virtio.slot, port, piece->base, (size_t)piece->size);
        }
    }
    console->ports[port].out_count += chain->read_size;
}

static void transmit(struct console *console, uint32_t port)
{
    struct virtq_chain chain = {.segments = console->segments, .room = CONSOLE_SEGMENTS};
    uint32_t queue = queue_of(port, CONSOLE_TRANSMIT);
    uint64_t bytes = 0;
    uint32_t buffers = 0;

    while (bytes < ROUND_MAX && buffers < ROUND_BUFFERS &&
           virtio_take_or_wait(&console->virtio, queue, &chain)) {
        say(console, port, &chain);
        bytes += chain.read_size;
        buffers++;
        virtio_use(&console->virtio, queue, &chain, 0);
    }
    virtio_tell(&console->virtio, queue);
    if (bytes >= ROUND_MAX || buffers == ROUND_BUFFERS) {
        console->virtio.host->ring(console->virtio.slot, queue);
    }
}

void console_resume(struct console *console, uint32_t port)
{
    if (!console->ports[port].is_full) {
        return;
    }
    console->ports[port].is_full = false;
    if (port == 0) {
        console->virtio.host->stream_resume(console->virtio.slot);
    } else {
        console->virtio.host->port_resume(console->virtio.slot, port);
    }
}

static void console_kick(void *device, uint32_t queue)
{
    struct console *console = device;

    if (queue == CONSOLE_CONTROL_RECEIVE) {
        console_tell_due(console);
    } else if (queue == CONSOLE_CONTROL_TRANSMIT) {
        console_take_control(console);
    } else if (queue % 2 == CONSOLE_TRANSMIT) {
        transmit(console, port_of(queue));
    } else {
        console_resume(console, port_of(queue));
    }
}

/* Whether somebody in the guest reads there. Without F_MULTIPORT nobody would say so. */
static bool is_heard(const struct console *console, uint32_t port)
{
    return virtio_has(&console->virtio, CONSOLE_F_MULTIPORT) ? console->ports[port].is_open
                                                             : port == 0;
}

static size_t console_port_receive(void *device, uint32_t port, const uint8_t *data, size_t count)
{
    struct console *console = device;
    struct virtq_chain chain = {.segments = console->segments, .room = CONSOLE_SEGMENTS};
    uint32_t queue = queue_of(port, CONSOLE_RECEIVE);
    size_t done = 0;

    while (done < count && is_heard(console, port) &&
           virtio_take_or_wait(&console->virtio, queue, &chain)) {
        size_t n = virtq_write(&chain, 0, data + done, count - done);

        virtio_use(&console->virtio, queue, &chain, (uint32_t)n);
        done += n;
        if (n == 0) { /* a buffer without room: given back, and no reason to go on */
            break;
        }
    }
    virtio_tell(&console->virtio, queue);
    console->ports[port].in_count += done;
    console->ports[port].is_full = done < count;
    return done;
}

static size_t console_receive(void *device, const uint8_t *data, size_t count)
{
    return console_port_receive(device, 0, data, count);
}

/* What was typed may wait for the driver, or it has given buffers since. */
static void console_restored(void *device)
{
    struct console *console = device;

    for (uint32_t i = 0; i < console->port_count; i++) {
        console->ports[i].is_full = true;
        console_resume(console, i);
    }
}

static void console_reset(void *device)
{
    console_forget_driver(device);
}

/* 5.3.4: a character before, or without, the driver's queues. */
static void console_config_write(void *device, uint32_t offset, uint32_t size, uint64_t value)
{
    struct console *console = device;
    uint8_t byte = (uint8_t)value;

    if (offset == offsetof(struct console_config, emergency) && size <= sizeof(uint32_t)) {
        console->virtio.host->stream_write(console->virtio.slot, &byte, 1);
        console->ports[0].out_count++;
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
    console_resize_port(console, 0, columns, rows);
}

static void console_port_resize(void *device, uint32_t port, uint16_t columns, uint16_t rows)
{
    console_resize_port(device, port, columns, rows);
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

    r = r == 0 ? console_save_ports(console) : r;
    return r == 0 ? vdev_put_fields(console->virtio.host, console->virtio.slot, fields, 0, console)
                  : r;
}

static int console_restore(void *device)
{
    struct console *console = device;
    int r = vdev_get_fields(console->virtio.host, console->virtio.slot, fields, 0, console);

    r = r == 0 ? console_restore_ports(console) : r;
    return r == 0 ? virtio_restore(device) : r;
}

enum { OPTION_HOSTDEV, OPTION_CONSOLE, OPTION_PORT };

static const struct vdev_option options[] = {
    [OPTION_HOSTDEV] = {.name = "hostdev",
                        .kind = VDEV_OPTION_HOSTDEV,
                        .fallback = "-",
                        .doc = "[<|>]PATH, or - for the console"},
    [OPTION_CONSOLE] = {.name = "console",
                        .kind = VDEV_OPTION_PORT,
                        .may_repeat = true,
                        .doc = "NAME[,[<|>]PATH]: one more console for the guest"},
    [OPTION_PORT] = {.name = "port",
                     .kind = VDEV_OPTION_PORT,
                     .may_repeat = true,
                     .doc = "NAME[,[<|>]PATH]: one more stream of bytes for the guest"},
    VIRTIO_OPTIONS,
    VIRTIO_LEGACY_OPTION,
    {.name = NULL},
};

static const struct virtio_type type = {
    .id = TYPE_CONSOLE,
    .class_code = 0x078000, /* simple communication controller, other */
    .options = options,
    .config_write = console_config_write,
    .kick = console_kick,
    .reset = console_reset,
    .restored = console_restored,
};

/* Port 0 and those of the configuration, with their queues. */
static void make_ports(struct console *console, const struct vdev_config *config)
{
    console->ports[0].is_console = true;
    console->port_count = 1;
    for (uint32_t i = 0; i < config->value_count; i++) {
        const struct vdev_value *value = &config->values[i];
        struct console_port *port = &console->ports[console->port_count];

        if (value->option == OPTION_CONSOLE || value->option == OPTION_PORT) {
            port->is_console = value->option == OPTION_CONSOLE;
            (void)snprintf(port->name, sizeof(port->name), "%s", value->text);
            console->port_count++; /* VDEV_PORTS_MAX of them at most */
        }
    }
    console->type = type;
    console->type.queue_count = console->port_count > 1 ? 2 * (console->port_count + 1) : 2;
    console->type.queue_sizes = console->queue_sizes;
    for (uint32_t i = 0; i < console->type.queue_count; i++) {
        console->queue_sizes[i] = CONSOLE_QUEUE_SIZE;
    }
    console->config.ports_max = console->port_count;
}

static int console_create(const struct vdev_services *host, struct vdev_slot *slot,
                          const struct vdev_config *config, void **device)
{
    struct console *console = calloc(1, sizeof(*console));
    uint64_t features = VIRTIO_BIT(CONSOLE_F_SIZE) | VIRTIO_BIT(CONSOLE_F_EMERG_WRITE);
    int r;

    if (console == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    make_ports(console, config);
    features |= console->port_count > 1 ? VIRTIO_BIT(CONSOLE_F_MULTIPORT) : 0;
    r = virtio_init(&console->virtio, &console->type, host, slot, config, features,
                    &console->config, sizeof(console->config));
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
    char name[16], text[160];

    virtio_state(device, add, context);
    (void)snprintf(text, sizeof(text), "%" PRIu64, console->ports[0].in_count);
    add(context, "received", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, console->ports[0].out_count);
    add(context, "sent", text);
    (void)snprintf(text, sizeof(text), "%ux%u", console->config.columns, console->config.rows);
    add(context, "size", text);
    for (uint32_t i = 1; i < console->port_count; i++) {
        const struct console_port *port = &console->ports[i];

        (void)snprintf(name, sizeof(name), "port-%u", i);
        (void)snprintf(text, sizeof(text), "%s, %s, %s, received %" PRIu64 " sent %" PRIu64,
                       port->name, port->is_console ? "console" : "port",
                       port->is_open ? "open" : "closed", port->in_count, port->out_count);
        add(context, name, text);
    }
}

static const struct vdev_ops ops = {
    VIRTIO_OPS_ACCESS,
    .reset = virtio_reset,
    .save = console_save,
    .restore = console_restore,
    .create = console_create,
    .destroy = free,
    .receive = console_receive,
    .resize = console_resize,
    .state = console_state,
    .port_receive = console_port_receive,
    .port_resize = console_port_resize,
};

static const struct vdev_module module = {
    VIRTIO_MODULE,
    .name = "virtio-console",
    .doc = "a console, and ports (virtio 1.2, 5.3)",
    .options = options,
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
