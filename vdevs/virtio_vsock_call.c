/* Sockets between guest and host: connections that the guest begins.
 *
 * Its address of the host is CID 2, and port P of that the program of the host that listens at
 * PATH_P. Whether there is one is found out by others, while the guest's packets go on; until then
 * the connection has a place and a number as any other, and is bounded in time. */
#include "vdevs/virtio_vsock.h"

void vsock_call(struct vsock *vsock, const struct vsock_header *header)
{
    const struct vdev_services *host = vsock->virtio.host;
    int handle = host->socket_connect(vsock->virtio.slot, header->dst_port);

    if (handle < 0) {
        vsock_refuse(vsock, header);
        return;
    }
    vsock->connections[handle] = (struct vsock_connection){
        .state = VSOCK_CALLING,
        .host_port = header->dst_port,
        .guest_port = header->src_port,
        .peer_alloc = header->buf_alloc,
        .peer_forwarded = header->fwd_cnt,
        .buffer = vsock->buffers + (size_t)handle * BUFFER_SIZE,
    };
    vsock_expect(vsock, &vsock->connections[handle]);
}

void vsock_take_answer(struct vsock *vsock, struct vsock_connection *connection)
{
    uint32_t handle = (uint32_t)(connection - vsock->connections);

    if (vsock->virtio.host->socket_send(vsock->virtio.slot, handle, connection->buffer, 0) != 0) {
        vsock->refused++;
        connection->due = 1u << VSOCK_RST; /* whoever waits for it does not ask again */
        return;
    }
    connection->state = VSOCK_OPEN;
    connection->due = 1u << VSOCK_RESPONSE;
    connection->is_readable = true;
    connection->deadline_ns = 0;
    vsock->called++;
}
