/* Sockets between guest and host: what becomes of a connection.
 *
 * A program of the host says "CONNECT PORT\n" first, and is told "OK PORT\n" when the guest has
 * answered; from then on bytes go both ways. Neither end is waited for: what the guest sends ahead
 * of the host's program lies in a buffer of the size that the guest was told (5.10.6.3), what the
 * program sends ahead of the guest stays in its socket. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vdevs/virtio_vsock.h"

#define FIRST_PORT UINT32_C(0x40000000) /* of the host's programs: nobody's who listens */
#define PORT_ANY   UINT32_MAX           /* 5.10.4: no port */

static const struct vdev_services *host_of(const struct vsock *vsock)
{
    return vsock->virtio.host;
}

static uint32_t handle_of(const struct vsock *vsock, const struct vsock_connection *connection)
{
    return (uint32_t)(connection - vsock->connections);
}

/* ---- the end ---- */

void vsock_drop(struct vsock *vsock, struct vsock_connection *connection)
{
    uint8_t *buffer = connection->buffer;

    if (connection->state != VSOCK_FREE) {
        host_of(vsock)->socket_close(vsock->virtio.slot, handle_of(vsock, connection));
    }
    *connection = (struct vsock_connection){.state = VSOCK_FREE, .buffer = buffer};
}

void vsock_drop_all(struct vsock *vsock)
{
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        vsock_drop(vsock, &vsock->connections[i]);
    }
    vsock->reply_count = 0;
    vsock->is_full = false;
}

/* One that finds no room is not said: whoever goes on using the connection hears it then. */
static void reply_reset(struct vsock *vsock, uint32_t host_port, uint32_t guest_port, uint16_t type)
{
    if (vsock->reply_count < REPLIES_MAX) {
        vsock->replies[(vsock->reply_first + vsock->reply_count++) % REPLIES_MAX] =
            (struct vsock_header){
                .src_cid = CID_HOST,
                .dst_cid = vsock->config.guest_cid,
                .src_port = host_port,
                .dst_port = guest_port,
                .type = type,
                .op = VSOCK_RST,
            };
    }
}

void vsock_refuse(struct vsock *vsock, const struct vsock_header *header)
{
    if (header->op != VSOCK_RST) { /* nobody answers that */
        vsock->refused++;
        reply_reset(vsock, header->dst_port, header->src_port, header->type);
    }
}

void vsock_abort(struct vsock *vsock, struct vsock_connection *connection)
{
    reply_reset(vsock, connection->host_port, connection->guest_port, VSOCK_STREAM);
    vsock_drop(vsock, connection);
}

/* ---- time ---- */

void vsock_expect(struct vsock *vsock, struct vsock_connection *connection)
{
    const struct vdev_services *host = host_of(vsock);
    uint64_t now_ns = host->now_ns(vsock->virtio.slot);

    connection->deadline_ns = now_ns + ANSWER_NS;
    if (!vsock->is_ticking) {
        vsock->is_ticking = true;
        host->timer(vsock->virtio.slot, 0, now_ns + TICK_NS);
    }
}

void vsock_look_at_time(struct vsock *vsock)
{
    const struct vdev_services *host = host_of(vsock);
    uint64_t now_ns = host->now_ns(vsock->virtio.slot);
    bool is_awaited = false;

    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct vsock_connection *connection = &vsock->connections[i];

        if (connection->deadline_ns == 0 || connection->deadline_ns > now_ns) {
            is_awaited = is_awaited || connection->deadline_ns != 0;
        } else if (connection->state == VSOCK_GREETING) {
            vsock_drop(vsock, connection);
        } else { /* 5.10.6.5: no answer to either REQUEST, no RST to a SHUTDOWN */
            vsock_abort(vsock, connection);
        }
    }
    vsock->is_ticking = is_awaited;
    if (is_awaited) {
        host->timer(vsock->virtio.slot, 0, now_ns + TICK_NS);
    }
}

/* ---- to the guest ---- */

void vsock_fill_header(const struct vsock *vsock, struct vsock_connection *connection,
                       enum vsock_op op, uint32_t size, struct vsock_header *header)
{
    *header = (struct vsock_header){
        .src_cid = CID_HOST,
        .dst_cid = vsock->config.guest_cid,
        .src_port = connection->host_port,
        .dst_port = connection->guest_port,
        .len = size,
        .type = VSOCK_STREAM,
        .op = (uint16_t)op,
        .flags = op == VSOCK_SHUTDOWN ? connection->told : 0,
        .buf_alloc = BUFFER_SIZE, /* 5.10.6.3.2: in each packet */
        .fwd_cnt = connection->forwarded,
    };
    connection->told_forwarded = connection->forwarded;
    connection->due &= ~(1u << VSOCK_CREDIT_UPDATE);
}

uint32_t vsock_credit(const struct vsock_connection *connection)
{
    uint32_t ahead = connection->sent - connection->peer_forwarded;

    return ahead < connection->peer_alloc ? connection->peer_alloc - ahead : 0;
}

void vsock_sent(struct vsock *vsock, struct vsock_connection *connection, uint32_t size)
{
    connection->sent += size;
    vsock->out_bytes += size;
    if (vsock_credit(connection) == 0 && !connection->is_asked) {
        connection->is_asked = true;
        connection->due |= 1u << VSOCK_CREDIT_REQUEST;
    }
}

/* The guest is told what of the connection is over. */
static void tell(struct vsock *vsock, struct vsock_connection *connection, uint32_t flags)
{
    if ((connection->told & flags) == flags) {
        return;
    }
    connection->told |= flags;
    connection->due |= 1u << VSOCK_SHUTDOWN;
    if (connection->told == VSOCK_NEITHER) {
        vsock_expect(vsock, connection); /* 5.10.6.5: its RST */
    }
}

/* Nobody reads at the host's end: what the guest said is said to nobody. */
static void give_up_host(struct vsock *vsock, struct vsock_connection *connection)
{
    connection->is_gone = true;
    connection->forwarded += connection->used;
    connection->used = 0;
    tell(vsock, connection, VSOCK_NO_RECEIVE);
}

/* Whether somebody still reads there; sending nothing tells. */
static void probe(struct vsock *vsock, struct vsock_connection *connection)
{
    int64_t r = host_of(vsock)->socket_send(vsock->virtio.slot, handle_of(vsock, connection),
                                            connection->buffer, 0);

    if (r < 0 && r != -EAGAIN && !connection->is_gone) {
        give_up_host(vsock, connection);
    }
}

void vsock_ended(struct vsock *vsock, struct vsock_connection *connection)
{
    connection->is_ended = true;
    probe(vsock, connection); /* before it is told: one SHUTDOWN says both */
    tell(vsock, connection, VSOCK_NO_SEND);
}

/* ---- from the guest ---- */

/* The guest is told of room before it has used half of it up. */
static void tell_credit(struct vsock_connection *connection)
{
    uint32_t known = BUFFER_SIZE - (connection->received - connection->told_forwarded);

    if (connection->forwarded != connection->told_forwarded && known < BUFFER_SIZE / 2) {
        connection->due |= 1u << VSOCK_CREDIT_UPDATE;
    }
}

/* How much of it the host's end takes now; nobody reads there: all. */
static uint32_t send_some(struct vsock *vsock, struct vsock_connection *connection,
                          const void *bytes, uint32_t size)
{
    int64_t n = connection->is_gone
                    ? size
                    : host_of(vsock)->socket_send(vsock->virtio.slot, handle_of(vsock, connection),
                                                  bytes, size);

    if (n < 0 && n != -EAGAIN) {
        give_up_host(vsock, connection);
        return size;
    }
    return n < 0 ? 0 : (uint32_t)n;
}

/* What is kept goes to the host's end, as far as that takes it; then what follows from it. */
static void flush(struct vsock *vsock, struct vsock_connection *connection)
{
    bool is_taken = true;

    while (is_taken && connection->used > 0) {
        uint32_t most = BUFFER_SIZE - connection->start;
        uint32_t size = connection->used < most ? connection->used : most;
        uint32_t n = send_some(vsock, connection, connection->buffer + connection->start, size);

        is_taken = n == size;
        if (connection->used > 0) { /* otherwise all was given up */
            connection->start = (connection->start + n) % BUFFER_SIZE;
            connection->used -= n;
            connection->forwarded += n;
        }
    }
    tell_credit(connection);
    if (connection->used > 0) {
        return;
    }
    connection->start = 0;
    if (connection->state == VSOCK_DRAINING) {
        vsock_drop(vsock, connection);
    } else if ((connection->heard & VSOCK_NO_SEND) != 0 && !connection->is_shut) {
        connection->is_shut = true;
        host_of(vsock)->socket_shut(vsock->virtio.slot, handle_of(vsock, connection),
                                    VDEV_SOCKET_NO_SEND);
    }
}

static void keep(struct vsock_connection *connection, const uint8_t *bytes, uint32_t size)
{
    uint32_t at = (connection->start + connection->used) % BUFFER_SIZE;
    uint32_t part = size < BUFFER_SIZE - at ? size : BUFFER_SIZE - at;

    memcpy(connection->buffer + at, bytes, part);
    memcpy(connection->buffer, bytes + part, size - part);
    connection->used += size;
}

/* 5.10.6.3.1: never more than there is room for. */
static void take_bytes(struct vsock *vsock, struct vsock_connection *connection, uint32_t size,
                       struct virtq_chain *chain)
{
    struct vdev_piece *pieces = NULL;
    uint32_t count;

    if (size > BUFFER_SIZE - connection->used || (connection->heard & VSOCK_NO_SEND) != 0) {
        vsock_abort(vsock, connection);
        return;
    }
    count = virtq_cut(chain, false, sizeof(struct vsock_header), size, &pieces);
    connection->received += size;
    vsock->in_bytes += size;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t length = (uint32_t)pieces[i].size;
        uint32_t n =
            connection->used == 0 ? send_some(vsock, connection, pieces[i].base, length) : 0;

        connection->forwarded += n;
        keep(connection, (const uint8_t *)pieces[i].base + n, length - n);
    }
    tell_credit(connection);
}

/* 5.10.6.5: hints are permanent; RST ends what both ends have ended. */
static void take_shutdown(struct vsock *vsock, struct vsock_connection *connection, uint32_t flags)
{
    connection->heard |= flags & VSOCK_NEITHER;
    if (connection->heard == VSOCK_NEITHER) {
        reply_reset(vsock, connection->host_port, connection->guest_port, VSOCK_STREAM);
        connection->state = VSOCK_DRAINING;
        connection->due = 0;
        connection->deadline_ns = 0;
    } else if ((connection->heard & VSOCK_NO_RECEIVE) != 0 && !connection->is_ended) {
        connection->is_ended = true;
        host_of(vsock)->socket_shut(vsock->virtio.slot, handle_of(vsock, connection),
                                    VDEV_SOCKET_NO_RECEIVE);
    }
    flush(vsock, connection);
}

/* The guest has answered: the program of the host hears its own port, as every one would. */
static void open_connection(struct vsock *vsock, struct vsock_connection *connection)
{
    char line[LINE_SIZE];
    int size = snprintf(line, sizeof(line), "OK %" PRIu32 "\n", connection->host_port);

    if (host_of(vsock)->socket_send(vsock->virtio.slot, handle_of(vsock, connection), line,
                                    (size_t)size) != size) {
        vsock_abort(vsock, connection);
        return;
    }
    connection->state = VSOCK_OPEN;
    connection->is_readable = true;
    connection->deadline_ns = 0;
    vsock->made++;
}

static struct vsock_connection *find(struct vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct vsock_connection *connection = &vsock->connections[i];

        if ((connection->state == VSOCK_REQUESTED || connection->state == VSOCK_CALLING ||
             connection->state == VSOCK_OPEN) &&
            connection->host_port == host_port && connection->guest_port == guest_port) {
            return connection;
        }
    }
    return NULL;
}

static void hear_open(struct vsock *vsock, struct vsock_connection *connection,
                      const struct vsock_header *header, struct virtq_chain *chain)
{
    switch (header->op) {
    case VSOCK_RW:
        take_bytes(vsock, connection, header->len, chain);
        break;
    case VSOCK_SHUTDOWN:
        take_shutdown(vsock, connection, header->flags);
        break;
    case VSOCK_CREDIT_UPDATE:
        break;
    case VSOCK_CREDIT_REQUEST:
        connection->due |= 1u << VSOCK_CREDIT_UPDATE;
        break;
    default:
        vsock_abort(vsock, connection);
    }
}

void vsock_hear(struct vsock *vsock, const struct vsock_header *header, struct virtq_chain *chain)
{
    struct vsock_connection *connection =
        header->type == VSOCK_STREAM ? find(vsock, header->dst_port, header->src_port) : NULL;

    if (connection == NULL && header->type == VSOCK_STREAM && header->op == VSOCK_REQUEST) {
        vsock_call(vsock, header);
        return;
    }
    if (connection == NULL) { /* 5.10.6.4.2 */
        vsock_refuse(vsock, header);
        return;
    }
    connection->peer_alloc = header->buf_alloc;
    connection->peer_forwarded = header->fwd_cnt;
    connection->is_asked = connection->is_asked && vsock_credit(connection) == 0;
    if (header->op == VSOCK_RST) {
        vsock_drop(vsock, connection);
    } else if (connection->state == VSOCK_OPEN) {
        hear_open(vsock, connection, header, chain);
    } else if (connection->state == VSOCK_REQUESTED && header->op == VSOCK_RESPONSE) {
        open_connection(vsock, connection);
    } else {
        vsock_abort(vsock, connection);
    }
}

/* ---- programs of the host ---- */

static bool is_taken(const struct vsock *vsock, uint32_t host_port)
{
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (vsock->connections[i].state >= VSOCK_REQUESTED &&
            vsock->connections[i].host_port == host_port) {
            return true;
        }
    }
    return false;
}

/* Which port of the guest a whole line asks for; PORT_ANY: that is no such line. */
static uint32_t read_line(const struct vsock_connection *connection)
{
    static const char word[] = "CONNECT ";
    const char *at = connection->line, *end = at + connection->line_size - 1; /* the newline */
    uint64_t port = 0;

    if (end - at < (ptrdiff_t)sizeof(word) || memcmp(at, word, sizeof(word) - 1) != 0) {
        return PORT_ANY;
    }
    for (at += sizeof(word) - 1; at < end; at++) {
        if (*at < '0' || *at > '9') {
            return PORT_ANY;
        }
        port = port * 10 + (uint64_t)(*at - '0');
        if (port >= PORT_ANY) {
            return PORT_ANY;
        }
    }
    return (uint32_t)port;
}

static void request(struct vsock *vsock, struct vsock_connection *connection)
{
    connection->guest_port = read_line(connection);
    if (connection->guest_port == PORT_ANY) {
        vsock_drop(vsock, connection);
        return;
    }
    do {
        connection->host_port = FIRST_PORT + vsock->next_port++ % FIRST_PORT;
    } while (is_taken(vsock, connection->host_port));
    connection->state = VSOCK_REQUESTED;
    connection->due = 1u << VSOCK_REQUEST;
    vsock_expect(vsock, connection);
}

/* Byte by byte: what follows the line is the guest's. */
static void greet(struct vsock *vsock, struct vsock_connection *connection)
{
    while (connection->state == VSOCK_GREETING) {
        char *to = &connection->line[connection->line_size];
        int64_t n =
            host_of(vsock)->socket_receive(vsock->virtio.slot, handle_of(vsock, connection), to, 1);

        if (n == -EAGAIN) {
            return;
        }
        connection->line_size++;
        if (n == 1 && *to == '\n') {
            request(vsock, connection);
        } else if (n != 1 || connection->line_size == LINE_SIZE) {
            vsock_drop(vsock, connection);
        }
    }
}

void vsock_accept(struct vsock *vsock)
{
    int handle;

    while (virtio_is_live(&vsock->virtio, QUEUE_RECEIVE) &&
           (handle = host_of(vsock)->socket_accept(vsock->virtio.slot)) >= 0) {
        struct vsock_connection *connection = &vsock->connections[handle];

        *connection = (struct vsock_connection){
            .state = VSOCK_GREETING,
            .buffer = vsock->buffers + (size_t)handle * BUFFER_SIZE,
        };
        vsock_expect(vsock, connection);
        greet(vsock, connection);
    }
}

void vsock_serve(struct vsock *vsock, uint32_t handle)
{
    struct vsock_connection *connection = &vsock->connections[handle];

    if (connection->state == VSOCK_GREETING) {
        greet(vsock, connection);
    } else if (connection->state == VSOCK_CALLING) {
        vsock_take_answer(vsock, connection);
    } else if (connection->state == VSOCK_OPEN || connection->state == VSOCK_DRAINING) {
        connection->is_readable = !connection->is_ended;
        if (connection->is_ended && connection->used == 0) {
            probe(vsock, connection);
        }
        flush(vsock, connection);
    }
}
