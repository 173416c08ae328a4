/* A network card: from the driver to the network. */
#include <errno.h>
#include <string.h>

#include "vdevs/virtio_net.h"

/* The header as the other end gets it; false: the frame makes no sense. */
static bool read_header(const struct net *net, const struct virtq_chain *chain,
                        struct net_header *header)
{
    struct net_offloads agreed = net_offloads(net, F_CSUM, F_HOST_TSO4, F_HOST_TSO6, F_HOST_ECN);
    uint64_t size = chain->read_size - sizeof(*header);

    if (chain->read_size < sizeof(*header) || chain->read_size > VDEV_FRAME_MAX) {
        return false;
    }
    (void)virtq_read(chain, 0, header, sizeof(*header));
    header->flags &= NET_NEEDS_CSUM; /* 5.1.6.2: the driver sets no other */
    header->num_buffers = 0;
    if (!net_header_is_sound(header, (size_t)size, &agreed)) {
        return false;
    }
    if (header->hdr_len > size) { /* a hint alone */
        header->hdr_len = (uint16_t)size;
    }
    return true;
}

/* False: it waits, and was not taken. */
static bool send_frame(struct net *net, struct virtq_chain *chain)
{
    const struct vdev_services *host = net->virtio.host;
    struct net_header header;
    struct vdev_piece pieces[SEGMENTS_MAX + 1], *first = NULL;
    uint64_t size = chain->read_size - sizeof(header);
    uint32_t count;
    int r;

    if (!net_is_up(net) || !read_header(net, chain, &header)) {
        net->out_dropped++;
        return true;
    }
    count = virtq_cut(chain, false, sizeof(header), size, &first);
    pieces[0] = (struct vdev_piece){&header, sizeof(header)};
    memcpy(pieces + 1, first, count * sizeof(*first));
    r = host->frame_send(net->virtio.slot, pieces, count + 1);
    if (r == -EAGAIN && !net->is_congested) {
        return false;
    }
    if (r == 0) {
        net->out_frames++;
        net->out_bytes += size;
        net->is_congested = false;
    } else {
        net->out_dropped++;
    }
    return true;
}

static void wait_for_room(struct net *net, bool is_waiting)
{
    const struct vdev_services *host = net->virtio.host;

    if (is_waiting != net->is_waiting) {
        net->is_waiting = is_waiting;
        host->timer(net->virtio.slot, 0, is_waiting ? host->now_ns(net->virtio.slot) + WAIT_NS : 0);
    }
}

void net_send(struct net *net)
{
    struct virtq_chain chain = {.segments = net->segments, .room = SEGMENTS_MAX};
    uint32_t count = 0;
    bool is_sent = true;

    while (count < ROUND_FRAMES && virtio_take_or_wait(&net->virtio, QUEUE_TRANSMIT, &chain)) {
        is_sent = send_frame(net, &chain);
        if (!is_sent) {
            virtq_untake(&net->virtio.queues[QUEUE_TRANSMIT], &chain);
            break;
        }
        virtio_use(&net->virtio, QUEUE_TRANSMIT, &chain, 0);
        count++;
    }
    wait_for_room(net, !is_sent);
    virtio_tell(&net->virtio, QUEUE_TRANSMIT);
    if (count == ROUND_FRAMES) {
        net->virtio.host->ring(net->virtio.slot, QUEUE_TRANSMIT);
    }
}

void net_send_late(struct net *net)
{
    net->is_waiting = false;
    net->is_congested = true;
    net->virtio.host->ring(net->virtio.slot, QUEUE_TRANSMIT);
}

void net_send_stop(struct net *net)
{
    wait_for_room(net, false);
    net->is_congested = false;
}
