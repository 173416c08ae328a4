/* Control messages of a console with several ports: "Multiport Device Operation", virtio 1.2,
 * 5.3.6.2.
 *
 * What the driver is to hear is kept as bits of each port, so it needs no room that grows: who
 * sends wishes without end, or gives no buffers, makes nothing wait but himself. Ports are those of
 * the configuration as long as the VM is there: none is ever removed. */
#include <string.h>

#include "vdevs/virtio_console.h"

/* 5.3.6.2 */
#define DEVICE_READY 0u
#define PORT_ADD     1u
#define PORT_READY   3u
#define CONSOLE_PORT 4u
#define RESIZE       5u
#define PORT_OPEN    6u
#define PORT_NAME    7u

#define ROUND_BUFFERS (2 * CONSOLE_QUEUE_SIZE) /* others want the thread, too */

#define SAVED_PORTS 0x1100u /* first tag */
#define SAVED_STEP  0x10u

struct control {
    uint32_t port;
    uint16_t event, value;
} __attribute__((packed));

struct message {
    struct control control;
    union {
        struct {
            uint16_t columns, rows;
        } size;
        char name[CONSOLE_NAME_SIZE];
    } more;
} __attribute__((packed));

static bool has_control(const struct console *console)
{
    return virtio_has(&console->virtio, CONSOLE_F_MULTIPORT);
}

/* The message for one bit; returns its size. */
static uint32_t word(const struct console *console, uint32_t i, enum console_due due,
                     struct message *message)
{
    const struct console_port *port = &console->ports[i];

    *message = (struct message){.control = {.port = i, .value = 1}};
    switch (due) {
    case CONSOLE_DUE_ADD:
        message->control.event = PORT_ADD;
        break;
    case CONSOLE_DUE_CONSOLE:
        message->control.event = CONSOLE_PORT;
        break;
    case CONSOLE_DUE_OPEN:
        message->control.event = PORT_OPEN;
        break;
    case CONSOLE_DUE_NAME: /* without a NUL */
        message->control.event = PORT_NAME;
        memcpy(message->more.name, port->name, sizeof(port->name));
        return (uint32_t)(sizeof(message->control) + strlen(port->name));
    default:
        message->control.event = RESIZE;
        message->more.size.columns = port->columns;
        message->more.size.rows = port->rows;
        return sizeof(message->control) + sizeof(message->more.size);
    }
    return sizeof(message->control);
}

/* False: there is no buffer for it now. */
static bool tell(struct console *console, uint32_t i)
{
    struct virtq_chain chain = {.segments = console->segments, .room = CONSOLE_SEGMENTS};
    struct console_port *port = &console->ports[i];
    enum console_due due = (enum console_due)(port->due & -port->due);
    struct message message;
    uint32_t size;

    if (!virtio_take_or_wait(&console->virtio, CONSOLE_CONTROL_RECEIVE, &chain)) {
        return false;
    }
    size = word(console, i, due, &message);
    size = (uint32_t)virtq_write(&chain, 0, &message, size); /* less: a buffer without room */
    port->due &= (uint8_t)~due;
    virtio_use(&console->virtio, CONSOLE_CONTROL_RECEIVE, &chain, size);
    return true;
}

void console_tell_due(struct console *console)
{
    bool has_room = has_control(console);

    for (uint32_t i = 0; i < console->port_count && has_room; i++) {
        while (console->ports[i].due != 0 && has_room) {
            has_room = tell(console, i);
        }
    }
    if (has_control(console)) {
        virtio_tell(&console->virtio, CONSOLE_CONTROL_RECEIVE);
    }
}

static void greet(struct console *console)
{
    console_forget_driver(console);
    for (uint32_t i = 0; i < console->port_count; i++) {
        console->ports[i].due = CONSOLE_DUE_ADD;
    }
}

static void present(struct console_port *port)
{
    port->is_ready = true;
    port->due |= CONSOLE_DUE_OPEN;
    port->due |= port->is_console ? CONSOLE_DUE_CONSOLE : 0;
    port->due |= port->name[0] != '\0' ? CONSOLE_DUE_NAME : 0;
    port->due |= port->is_console && port->columns != 0 ? CONSOLE_DUE_RESIZE : 0;
}

static void hear(struct console *console, const struct control *control)
{
    struct console_port *port;

    if (control->event == DEVICE_READY && control->value == 1) {
        greet(console);
    }
    if (control->port >= console->port_count) {
        return;
    }
    port = &console->ports[control->port];
    if (control->event == PORT_READY && control->value == 1) {
        present(port);
    } else if (control->event == PORT_OPEN) {
        port->is_open = control->value == 1;
        if (port->is_open) {
            console_resume(console, control->port);
        }
    }
}

void console_take_control(struct console *console)
{
    struct virtq_chain chain = {.segments = console->segments, .room = CONSOLE_SEGMENTS};
    struct control control;
    uint32_t count = 0;

    while (has_control(console) && count < ROUND_BUFFERS &&
           virtio_take_or_wait(&console->virtio, CONSOLE_CONTROL_TRANSMIT, &chain)) {
        if (virtq_read(&chain, 0, &control, sizeof(control)) == sizeof(control)) {
            hear(console, &control);
        }
        virtio_use(&console->virtio, CONSOLE_CONTROL_TRANSMIT, &chain, 0);
        count++;
    }
    virtio_tell(&console->virtio, CONSOLE_CONTROL_TRANSMIT);
    if (count == ROUND_BUFFERS) {
        console->virtio.host->ring(console->virtio.slot, CONSOLE_CONTROL_TRANSMIT);
    }
    console_tell_due(console);
}

void console_resize_port(struct console *console, uint32_t port, uint16_t columns, uint16_t rows)
{
    struct console_port *of = &console->ports[port];

    if (of->columns == columns && of->rows == rows) {
        return;
    }
    of->columns = columns;
    of->rows = rows;
    if (of->is_ready && of->is_console) {
        of->due |= CONSOLE_DUE_RESIZE;
        console->virtio.host->ring(console->virtio.slot, CONSOLE_CONTROL_RECEIVE);
    }
}

void console_forget_driver(struct console *console)
{
    for (uint32_t i = 0; i < console->port_count; i++) {
        console->ports[i].is_ready = false;
        console->ports[i].is_open = false;
        console->ports[i].due = 0;
    }
}

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct console_port, is_ready, 1),
    VDEV_NUMBER(2, struct console_port, is_open, 1),
    VDEV_NUMBER(3, struct console_port, due, CONSOLE_DUE_ALL),
    VDEV_NUMBER(4, struct console_port, columns, 0),
    VDEV_NUMBER(5, struct console_port, rows, 0),
    {0},
};

int console_save_ports(const struct console *console)
{
    int r = 0;

    for (uint32_t i = 0; i < console->port_count && console->port_count > 1 && r == 0; i++) {
        r = vdev_put_fields(console->virtio.host, console->virtio.slot, fields,
                            SAVED_PORTS + i * SAVED_STEP, &console->ports[i]);
    }
    return r;
}

int console_restore_ports(struct console *console)
{
    int r = 0;

    for (uint32_t i = 0; i < console->port_count && console->port_count > 1 && r == 0; i++) {
        r = vdev_get_fields(console->virtio.host, console->virtio.slot, fields,
                            SAVED_PORTS + i * SAVED_STEP, &console->ports[i]);
    }
    return r;
}
