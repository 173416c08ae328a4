/* Sockets between guest and host: packets in the driver's queues. */
#include <errno.h>
#include <string.h>

#include "vdevs/virtio_vsock.h"

#define HEADER sizeof(struct vsock_header)

/* 5.10.6.7 */
#define EVENT_TRANSPORT_RESET 0u

/* ---- from the guest ---- */

static void hear(struct vsock *vsock, struct virtq_chain *chain)
{
    struct vsock_header header;

    if (chain->read_size < HEADER) {
        return;
    }
    (void)virtq_read(chain, 0, &header, HEADER);
    /* 5.10.4, 5.10.6.4.1: its own address, and to the host: there is no way to anybody else */
    if (header.src_cid == vsock->config.guest_cid && header.dst_cid == CID_HOST &&
        header.len <= chain->read_size - HEADER) {
        vsock_hear(vsock, &header, chain);
    }
}

void vsock_transmit(struct vsock *vsock)
{
    struct virtq_chain chain = {.segments = vsock->segments, .room = SEGMENTS_MAX};
    uint32_t count = 0;
    uint64_t bytes = 0;

    vsock->is_full = false;
    while (count < ROUND_PACKETS && bytes < ROUND_BYTES) {
        if (vsock->reply_count == REPLIES_MAX) {
            vsock->is_full = true; /* 5.10.6.1.2: as long as there is room for what it may cause */
            break;
        }
        if (!virtio_take_or_wait(&vsock->virtio, QUEUE_TRANSMIT, &chain)) {
            break;
        }
        bytes += chain.read_size;
        count++;
        hear(vsock, &chain);
        virtio_use(&vsock->virtio, QUEUE_TRANSMIT, &chain, 0);
    }
    virtio_tell(&vsock->virtio, QUEUE_TRANSMIT);
    if (count == ROUND_PACKETS || bytes >= ROUND_BYTES) {
        vsock->virtio.host->ring(vsock->virtio.slot, QUEUE_TRANSMIT);
    }
}

/* ---- to the guest ---- */

static bool has_bytes(const struct vsock_connection *connection)
{
    return connection->state == VSOCK_OPEN && connection->is_readable && !connection->is_ended &&
           vsock_credit(connection) > 0;
}

/* Whose turn it is; NULL: nobody has anything to say. */
static struct vsock_connection *next_speaker(struct vsock *vsock)
{
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct vsock_connection *connection =
            &vsock->connections[(vsock->turn + i) % CONNECTIONS_MAX];

        if (connection->due != 0 || has_bytes(connection)) {
            return connection;
        }
    }
    return NULL;
}

/* What is due comes before bytes; SHUTDOWN is due when all bytes were sent. */
static uint32_t write_due(struct vsock *vsock, struct vsock_connection *connection,
                          const struct virtq_chain *chain)
{
    static const enum vsock_op order[] = {
        VSOCK_RST,           VSOCK_REQUEST,        VSOCK_RESPONSE,
        VSOCK_CREDIT_UPDATE, VSOCK_CREDIT_REQUEST, VSOCK_SHUTDOWN};
    struct vsock_header header;
    uint32_t i = 0;

    while ((connection->due & 1u << order[i]) == 0) {
        i++; /* one of them is */
    }
    connection->due &= ~(1u << order[i]);
    vsock_fill_header(vsock, connection, order[i], 0, &header);
    if (order[i] == VSOCK_RST) {
        vsock_drop(vsock, connection);
    }
    return (uint32_t)virtq_write(chain, 0, &header, HEADER);
}

/* 0: there was nothing to be had. */
static uint32_t write_bytes(struct vsock *vsock, struct vsock_connection *connection,
                            const struct virtq_chain *chain)
{
    uint64_t most = vsock_credit(connection);
    struct vsock_header header;
    int64_t size;

    most = most < chain->write_size - HEADER ? most : chain->write_size - HEADER;
    most = most < PACKET_MAX ? most : PACKET_MAX;
    size = vsock->virtio.host->socket_receive(vsock->virtio.slot,
                                              (uint32_t)(connection - vsock->connections),
                                              vsock->packet, (size_t)most);
    if (size <= 0) {
        connection->is_readable = false;
        if (size == 0) {
            vsock_ended(vsock, connection);
        } else if (size != -EAGAIN) {
            vsock_abort(vsock, connection);
        }
        return 0;
    }
    vsock_fill_header(vsock, connection, VSOCK_RW, (uint32_t)size, &header);
    (void)virtq_write(chain, 0, &header, HEADER);
    (void)virtq_write(chain, HEADER, vsock->packet, (size_t)size);
    vsock_sent(vsock, connection, (uint32_t)size);
    return (uint32_t)(HEADER + (size_t)size);
}

static uint32_t write_reply(struct vsock *vsock, const struct virtq_chain *chain)
{
    const struct vsock_header *reply = &vsock->replies[vsock->reply_first];

    vsock->reply_first = (vsock->reply_first + 1) % REPLIES_MAX;
    vsock->reply_count--;
    return (uint32_t)virtq_write(chain, 0, reply, HEADER);
}

/* The next packet; 0: there is none in the end. */
static uint32_t write_packet(struct vsock *vsock, struct vsock_connection *speaker,
                             const struct virtq_chain *chain)
{
    if (speaker == NULL) {
        return write_reply(vsock, chain);
    }
    vsock->turn = (uint32_t)(speaker - vsock->connections + 1) % CONNECTIONS_MAX;
    return speaker->due != 0 ? write_due(vsock, speaker, chain)
                             : write_bytes(vsock, speaker, chain);
}

void vsock_deliver(struct vsock *vsock)
{
    struct virtq_chain chain = {.segments = vsock->segments, .room = SEGMENTS_MAX};
    uint32_t count = 0, size;
    uint64_t bytes = 0;

    for (; count < ROUND_PACKETS && bytes < ROUND_BYTES; count++) {
        struct vsock_connection *speaker = vsock->reply_count > 0 ? NULL : next_speaker(vsock);

        if ((speaker == NULL && vsock->reply_count == 0) ||
            !virtio_take_or_wait(&vsock->virtio, QUEUE_RECEIVE, &chain)) {
            break;
        }
        if (chain.write_size <= HEADER) { /* no packet with bytes would ever fit */
            virtio_need_reset(&vsock->virtio);
            return;
        }
        size = write_packet(vsock, speaker, &chain);
        if (size > 0) {
            virtio_use(&vsock->virtio, QUEUE_RECEIVE, &chain, size);
        } else {
            virtq_untake(&vsock->virtio.queues[QUEUE_RECEIVE], &chain);
        }
        bytes += size;
    }
    virtio_tell(&vsock->virtio, QUEUE_RECEIVE);
    if (count == ROUND_PACKETS || bytes >= ROUND_BYTES) {
        vsock->virtio.host->ring(vsock->virtio.slot, QUEUE_RECEIVE);
    }
    if (vsock->is_full && vsock->reply_count < REPLIES_MAX) {
        vsock->virtio.host->ring(vsock->virtio.slot, QUEUE_TRANSMIT);
    }
}

void vsock_tell_event(struct vsock *vsock)
{
    struct virtq_chain chain = {.segments = vsock->segments, .room = SEGMENTS_MAX};
    const uint32_t event = EVENT_TRANSPORT_RESET;

    if (vsock->is_reset_due && virtio_take_or_wait(&vsock->virtio, QUEUE_EVENT, &chain)) {
        size_t size = virtq_write(&chain, 0, &event, sizeof(event));

        vsock->is_reset_due = false;
        virtio_use(&vsock->virtio, QUEUE_EVENT, &chain, (uint32_t)size);
        virtio_tell(&vsock->virtio, QUEUE_EVENT);
    }
}
