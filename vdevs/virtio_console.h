/* A console and its ports, for vdev-virtio-console.c and virtio_console_control.c alone. Numbers
 * are sections of virtio 1.2. */
#ifndef QVM_VDEVS_VIRTIO_CONSOLE_H
#define QVM_VDEVS_VIRTIO_CONSOLE_H

#include <qvm/vdev_fields.h>

#include "vdevs/virtio/virtio.h"

#define CONSOLE_QUEUE_SIZE 64u
#define CONSOLE_SEGMENTS   (CONSOLE_QUEUE_SIZE + 8u) /* some more where buffers go over borders */
#define CONSOLE_PORTS_MAX  (1u + VDEV_PORTS_MAX)
#define CONSOLE_NAME_SIZE  64u

/* 5.3.2: those of port 0, of control, and from here on of the other ports. */
#define CONSOLE_RECEIVE          0u
#define CONSOLE_TRANSMIT         1u
#define CONSOLE_CONTROL_RECEIVE  2u
#define CONSOLE_CONTROL_TRANSMIT 3u
#define CONSOLE_QUEUES_MAX       (2u * (CONSOLE_PORTS_MAX + 1))
_Static_assert(CONSOLE_QUEUES_MAX <= VIRTIO_QUEUES_MAX, "each port has two queues");

/* 5.3.3 */
#define CONSOLE_F_SIZE        0u
#define CONSOLE_F_MULTIPORT   1u
#define CONSOLE_F_EMERG_WRITE 2u

/* 5.3.4 */
struct console_config {
    uint16_t columns, rows;
    uint32_t ports_max, emergency;
} __attribute__((packed));

/* What the driver is still to be told of a port: it is told in the order of these bits. */
enum console_due {
    CONSOLE_DUE_ADD = 1,
    CONSOLE_DUE_CONSOLE = 2,
    CONSOLE_DUE_NAME = 4,
    CONSOLE_DUE_OPEN = 8,
    CONSOLE_DUE_RESIZE = 16,
    CONSOLE_DUE_ALL = 31,
};

struct console_port {
    char name[CONSOLE_NAME_SIZE]; /* "": it has none */
    bool is_console;              /* a terminal for the guest, not a bare stream of bytes */
    bool is_ready, is_open;       /* as the driver says; without F_MULTIPORT neither counts */
    bool is_full;                 /* receive took less than it was given */
    uint8_t due;
    uint16_t columns, rows;
    uint64_t in_count, out_count;
};

struct console {
    struct virtio virtio;
    struct virtio_type type; /* this one's: it has as many queues as its ports want */
    uint16_t queue_sizes[CONSOLE_QUEUES_MAX];
    struct console_config config;
    struct vdev_piece segments[CONSOLE_SEGMENTS];
    struct console_port ports[CONSOLE_PORTS_MAX];
    uint32_t port_count;
};

/* The driver has given buffers for control messages; or it has sent some. */
void console_tell_due(struct console *console);
void console_take_control(struct console *console);

/* A port's terminal has another size. The driver is told with the next event: this may be called
 * while the VM is paused, when guest memory stays as it is. */
void console_resize_port(struct console *console, uint32_t port, uint16_t columns, uint16_t rows);

/* No driver has said anything. */
void console_forget_driver(struct console *console);

/* Somebody may type at the port again. */
void console_resume(struct console *console, uint32_t port);

/* What was said in control messages, or is to be said. */
int console_save_ports(const struct console *console);
int console_restore_ports(struct console *console);

#endif
