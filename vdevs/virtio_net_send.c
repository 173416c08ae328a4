/* A network card: from the driver to the network. */
#include <errno.h>
#include <string.h>

#include "vdevs/virtio_net.h"

/* The header as the other end gets it; false: the frame makes no sense. */
static bool read_header(const struct net *net, const struct virtq_chain *chain,
                        struct net_header *header)
{
    struct net_offloads agreed = net_offloads(net, F_CSUM, F_HOST_TSO4, F_HOST_TSO6, F_HOST_ECN);
    uint64_t size = chain->read_size - net_header_size(net);

    if (chain->read_size < net_header_size(net) || chain->read_size > VDEV_FRAME_MAX) {
        return false;
    }
    (void)virtq_read(chain, 0, header, net_header_size(net));
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
static bool send_frame(struct net *net, uint32_t number, struct virtq_chain *chain)
{
    const struct vdev_services *host = net->virtio.host;
    struct net_lane *lane = &net->lanes[number];
    struct net_header header;
    struct vdev_piece pieces[SEGMENTS_MAX + 1], *first = NULL;
    uint64_t size = chain->read_size - net_header_size(net);
    uint32_t count;
    int r;

    if (!net_is_up(net) || !read_header(net, chain, &header)) {
        net->out_dropped++;
        return true;
    }
    count = virtq_cut(chain, false, net_header_size(net), size, &first);
    pieces[0] = (struct vdev_piece){&header, sizeof(header)};
    memcpy(pieces + 1, first, count * sizeof(*first));
    r = host->queue_send(net->virtio.slot, number, pieces, count + 1);
    if (r == -EAGAIN && !lane->is_congested) {
        return false;
    }
    if (r == 0) {
        net->out_frames++;
        net->out_bytes += size;
        lane->is_congested = false;
    } else {
        net->out_dropped++;
    }
    return true;
}

/* For the lane whose time is over first. */
static void set_timer(const struct net *net)
{
    uint64_t next = 0;

    for (uint32_t i = 0; i < net->lane_count; i++) {
        uint64_t deadline = net->lanes[i].deadline_ns;

        if (deadline != 0 && (next == 0 || deadline < next)) {
            next = deadline;
        }
    }
    net->virtio.host->timer(net->virtio.slot, 0, next);
}

static void wait_for_room(struct net *net, struct net_lane *lane, bool is_waiting)
{
    if (is_waiting != (lane->deadline_ns != 0)) {
        lane->deadline_ns = is_waiting ? net->virtio.host->now_ns(net->virtio.slot) + WAIT_NS : 0;
        set_timer(net);
    }
}

void net_send(struct net *net, uint32_t number)
{
    struct virtq_chain chain = {.segments = net->segments, .room = SEGMENTS_MAX};
    uint32_t count = 0, queue = QUEUE_TRANSMIT(number);
    bool is_sent = true;

    while (count < ROUND_FRAMES && virtio_take_or_wait(&net->virtio, queue, &chain)) {
        is_sent = send_frame(net, number, &chain);
        if (!is_sent) {
            virtq_untake(&net->virtio.queues[queue], &chain);
            break;
        }
        virtio_use(&net->virtio, queue, &chain, 0);
        count++;
    }
    wait_for_room(net, &net->lanes[number], !is_sent);
    virtio_tell(&net->virtio, queue);
    if (count == ROUND_FRAMES) {
        net->virtio.host->ring(net->virtio.slot, queue);
    }
}

void net_send_late(struct net *net)
{
    uint64_t now = net->virtio.host->now_ns(net->virtio.slot);

    for (uint32_t i = 0; i < net->lane_count; i++) {
        struct net_lane *lane = &net->lanes[i];

        if (lane->deadline_ns != 0 && lane->deadline_ns <= now) {
            lane->deadline_ns = 0;
            lane->is_congested = true;
            net->virtio.host->ring(net->virtio.slot, QUEUE_TRANSMIT(i));
        }
    }
    set_timer(net);
}

void net_send_stop(struct net *net, uint32_t lane)
{
    wait_for_room(net, &net->lanes[lane], false);
    net->lanes[lane].is_congested = false;
}
