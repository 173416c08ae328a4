/* The streams of a device beside that of `hostdev`. */
#include "qvm-worker/vdev/ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/console/console.h"

#define FLUSH_MS   100u /* for who reads slowly what a guest said at its end */
#define LIST_SIZE  400u /* of ports, in a refusal */
#define STATE_SIZE 128u

static struct slot_port *find(const struct vdev_host *host, const char *name)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        const struct slot_ports *ports = host->slots[i]->ports;

        for (uint32_t j = 0; ports != NULL && j < ports->count; j++) {
            if (strcmp(ports->rows[j].name, name) == 0) {
                return &host->slots[i]->ports->rows[j];
            }
        }
    }
    return NULL;
}

static struct slot_port *find_own(const struct vdev_slot *slot, const char *name)
{
    for (uint32_t i = 0; slot->ports != NULL && i < slot->ports->count; i++) {
        if (strcmp(slot->ports->rows[i].name, name) == 0) {
            return &slot->ports->rows[i];
        }
    }
    return NULL;
}

static int check_name(const struct vdev_slot *slot, const struct vdev_value *value,
                      const char *name, struct err *err)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t size = strlen(name);
    const struct slot_port *other = find_own(slot, name);

    if (size == 0 || size > VDEV_HOST_NAME_MAX || name[strspn(name, letters)] != '\0') {
        return err_set(err, -EINVAL,
                       "%s: '%s' is no name of a port: letters, digits, '.', '-', '_', at most %u",
                       value->where, name, VDEV_HOST_NAME_MAX);
    }
    other = other != NULL ? other : find(slot->host, name);
    if (other != NULL) {
        return err_set(err, -EEXIST, "%s: port '%s' is there already, of %s", value->where, name,
                       other->where);
    }
    return 0;
}

/* Where its bytes go: `text` is what stands behind the comma, [<|>]PATH. */
static int read_path(struct slot_port *port, const char *text, struct err *err)
{
    struct vdev_host_need *need = &port->stream.need;

    need->can_read = *text != '>';
    need->can_write = *text != '<';
    text += *text == '<' || *text == '>' ? 1 : 0;
    if (*text == '\0' || *text == '|' || strcmp(text, "-") == 0) {
        return err_set(err, -EINVAL,
                       "%s: port '%s' wants the path of a file, FIFO or device, not '%s'; without "
                       "one it has sessions of its own",
                       port->where, port->name, text);
    }
    port->path = strdup(text);
    if (port->path == NULL) {
        return err_set(err, -ENOMEM, "no memory for a port");
    }
    need->path = port->path;
    need->where = port->where;
    need->device = port->slot->name;
    port->stream.kind = STREAM_GRANTED;
    return 0;
}

int vdev_host_read_port(struct vdev_slot *slot, struct vdev_value *value, struct err *err)
{
    char *text = slot->value_strings[value - slot->values].text;
    char *comma = strchr(text, ',');
    struct slot_port *port;
    int r;

    if (slot->ports == NULL) {
        slot->ports = calloc(1, sizeof(*slot->ports));
    }
    if (slot->ports == NULL) {
        return err_set(err, -ENOMEM, "no memory for a port");
    }
    if (slot->ports->count == VDEV_PORTS_MAX) {
        return err_set(err, -E2BIG, "%s: more than %u ports of one vdev", value->where,
                       VDEV_PORTS_MAX);
    }
    if (comma != NULL) {
        *comma = '\0';
    }
    r = check_name(slot, value, text, err);
    if (r != 0) {
        return r;
    }
    port = &slot->ports->rows[slot->ports->count++];
    *port = (struct slot_port){.slot = slot, .number = slot->ports->count, .stream = {.fd = -1}};
    (void)snprintf(port->name, sizeof(port->name), "%s", text);
    value->number[0] = port->number;
    port->where = strdup(value->where);
    if (port->where == NULL) {
        return err_set(err, -ENOMEM, "no memory for a port");
    }
    return comma != NULL ? read_path(port, comma + 1, err) : 0;
}

const struct vdev_host_need *vdev_host_next_port_need(const struct vdev_slot *slot,
                                                      const struct vdev_host_need *previous,
                                                      bool *is_after)
{
    for (uint32_t i = 0; slot->ports != NULL && i < slot->ports->count; i++) {
        const struct slot_port *port = &slot->ports->rows[i];

        if (*is_after && port->path != NULL) {
            return &port->stream.need;
        }
        *is_after = *is_after || &port->stream.need == previous;
    }
    return NULL;
}

void vdev_host_grant_port(struct vdev_slot *slot, const struct vdev_host_need *need, int fd)
{
    for (uint32_t i = 0; slot->ports != NULL && i < slot->ports->count; i++) {
        struct slot_stream *stream = &slot->ports->rows[i].stream;

        if (&stream->need == need) {
            cleanup_close(&stream->fd);
            stream->fd = fd;
        }
    }
}

/* ---- services ---- */

static struct console *console_of(const struct vdev_slot *slot, uint32_t port)
{
    return slot->ports != NULL && port >= 1 && port <= slot->ports->count
               ? slot->ports->rows[port - 1].stream.console
               : NULL;
}

void vdev_host_port_write(struct vdev_slot *slot, uint32_t port, const uint8_t *data, size_t size)
{
    struct console *console = console_of(slot, port);
    const struct vdev_host_need *need =
        console != NULL ? &slot->ports->rows[port - 1].stream.need : NULL;

    if (console != NULL && (need->path == NULL || need->can_write)) {
        console_write(console, data, size);
    }
}

void vdev_host_port_resume(struct vdev_slot *slot, uint32_t port)
{
    struct console *console = console_of(slot, port);

    if (console != NULL) {
        console_input_resume(console);
    }
}

void vdev_host_ports_resume(struct vdev_slot *slot)
{
    for (uint32_t i = 0; slot->ports != NULL && i < slot->ports->count; i++) {
        vdev_host_port_resume(slot, slot->ports->rows[i].number);
    }
}

static size_t on_port(void *context, const uint8_t *data, size_t count)
{
    const struct slot_port *port = context;
    struct vdev_slot *slot = port->slot;
    size_t n;

    (void)pthread_mutex_lock(&slot->lock);
    n = vdev_host_is_still(slot)
            ? 0
            : slot->loaded->ops.port_receive(slot->device, port->number, data, count);
    (void)pthread_mutex_unlock(&slot->lock);
    return n;
}

/* ---- from build to destroy ---- */

static int open_port(struct slot_port *port, struct err *err)
{
    const struct vdev_host_env *env = &port->slot->host->env;
    struct slot_stream *stream = &port->stream;
    int r;

    if (stream->kind == STREAM_GRANTED && stream->fd < 0 && env->is_dry) {
        return 0; /* what is said is thrown away, and nobody says anything */
    }
    if (stream->kind == STREAM_GRANTED && stream->fd < 0) {
        return err_set(err, -ENODEV, "%s: '%s' was not given to port '%s'", port->where, port->path,
                       port->name);
    }
    r = console_create(env->loop, &stream->console, err);
    if (r == 0 && stream->kind == STREAM_GRANTED) {
        r = console_attach_pair(stream->console, stream->need.can_read ? stream->fd : -1,
                                stream->need.can_write ? stream->fd : -1, CONSOLE_PLAIN,
                                CONSOLE_FROM_OLDEST, err);
        stream->fd = r == 0 ? -1 : stream->fd; /* the session's now */
    }
    return r == 0 ? 0 : (err_prefix(err, "%s: ", port->where), r);
}

int vdev_host_open_ports(struct vdev_slot *slot, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; slot->ports != NULL && i < slot->ports->count && r == 0; i++) {
        r = open_port(&slot->ports->rows[i], err);
    }
    return r;
}

void vdev_host_listen_ports(struct vdev_slot *slot)
{
    for (uint32_t i = 0; slot->ports != NULL && i < slot->ports->count; i++) {
        struct slot_port *port = &slot->ports->rows[i];

        if (port->stream.console != NULL) {
            console_set_input(port->stream.console, on_port, port);
        }
    }
}

void vdev_host_close_ports(struct vdev_slot *slot)
{
    for (uint32_t i = 0; slot->ports != NULL && i < slot->ports->count; i++) {
        struct slot_stream *stream = &slot->ports->rows[i].stream;

        if (stream->console != NULL) {
            console_flush(stream->console, FLUSH_MS);
            console_destroy(stream->console);
        }
        stream->console = NULL;
        cleanup_close(&stream->fd);
    }
}

void vdev_host_free_ports(struct vdev_slot *slot)
{
    vdev_host_close_ports(slot);
    for (uint32_t i = 0; slot->ports != NULL && i < slot->ports->count; i++) {
        free(slot->ports->rows[i].where);
        free(slot->ports->rows[i].path);
    }
    free(slot->ports);
    slot->ports = NULL;
}

/* ---- people ---- */

/* "shell, agent": those that have sessions. */
static void list_ports(const struct vdev_host *host, char text[LIST_SIZE])
{
    size_t size = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < host->slot_count; i++) {
        const struct slot_ports *ports = host->slots[i]->ports;

        for (uint32_t j = 0; ports != NULL && j < ports->count && size < LIST_SIZE; j++) {
            if (ports->rows[j].path == NULL) {
                size += (size_t)snprintf(text + size, LIST_SIZE - size, " %s", ports->rows[j].name);
            }
        }
    }
}

int vdev_host_port_console(const struct vdev_host *host, const char *name, struct console **console,
                           struct err *err)
{
    const struct slot_port *port = find(host, name);
    char text[LIST_SIZE];

    if (port != NULL && port->path != NULL) {
        return err_set(err, -EBUSY, "port '%s' is at '%s'", name, port->path);
    }
    if (port == NULL || port->stream.console == NULL) {
        list_ports(host, text);
        return err_set(err, -ENOENT, "there is no port '%s'; there are:%s", name,
                       text[0] != '\0' ? text : " none");
    }
    *console = port->stream.console;
    return 0;
}

int vdev_host_resize_port(struct vdev_host *host, const char *name, uint16_t columns, uint16_t rows)
{
    const struct slot_port *port = find(host, name);
    struct vdev_slot *slot = port != NULL ? port->slot : NULL;

    if (slot == NULL || slot->device == NULL || slot->loaded->ops.port_resize == NULL) {
        return -ENODEV;
    }
    (void)pthread_mutex_lock(&slot->lock);
    slot->loaded->ops.port_resize(slot->device, port->number, columns, rows);
    (void)pthread_mutex_unlock(&slot->lock);
    return 0;
}

void vdev_host_ports_state(const struct vdev_slot *slot, vdev_state_fn add, void *context)
{
    for (uint32_t i = 0; slot->ports != NULL && i < slot->ports->count; i++) {
        const struct slot_port *port = &slot->ports->rows[i];
        struct console_stats stats = {0};
        char name[32], text[STATE_SIZE + VDEV_HOST_NAME_MAX];

        if (port->stream.console != NULL) {
            console_get_stats(port->stream.console, &stats);
        }
        (void)snprintf(name, sizeof(name), "port-%u-hostdev", port->number);
        if (port->path != NULL) {
            add(context, name, port->path);
        } else {
            (void)snprintf(text, sizeof(text), "sessions, %u there", stats.session_count);
            add(context, name, text);
        }
    }
}
