/* A network card: from the network to the driver. */
#include <string.h>

#include "vdevs/virtio_net.h"

/* What came of handing a frame to the driver. */
enum handed { HANDED, HANDED_NOT, HANDED_LATER };

/* Where the frames of a lane go. 5.1.6.5.6.2: one that is not being reset. */
static uint32_t find_queue(const struct net *net, uint32_t lane)
{
    uint32_t pairs = net_pairs(net), own = QUEUE_RECEIVE(lane % pairs);

    for (uint32_t i = 0; i < pairs; i++) {
        uint32_t queue = QUEUE_RECEIVE((lane + i) % pairs);

        if (virtio_is_live(&net->virtio, queue)) {
            return queue;
        }
    }
    return own;
}

/* Give the buffers back to the queue, last first. */
static void untake_buffers(struct net *net, uint32_t queue)
{
    while (net->merged_count > 0) {
        virtq_untake(&net->virtio.queues[queue], &net->merged[--net->merged_count]);
    }
}

/* Take buffers for `size` bytes: one, or several that are merged. */
static enum handed take_buffers(struct net *net, uint32_t queue, uint64_t size)
{
    uint32_t most = virtio_has(&net->virtio, F_MRG_RXBUF) ? MERGED_MAX : 1;
    uint32_t used = 0;
    uint64_t room = 0;

    net->merged_count = 0;
    while (room < size) {
        struct virtq_chain *chain = &net->merged[net->merged_count];

        if (net->merged_count == most || MERGED_PIECES_MAX - used < SEGMENTS_MAX) {
            return HANDED_NOT;
        }
        *chain = (struct virtq_chain){.segments = net->merged_pieces + used, .room = SEGMENTS_MAX};
        if (!virtio_take_or_wait(&net->virtio, queue, chain)) {
            return HANDED_LATER;
        }
        net->merged_count++;
        used += chain->read_count + chain->write_count;
        room += chain->write_size;
        if (net->merged[0].write_size < net_header_size(net)) { /* 5.1.6.3.1 */
            virtio_need_reset(&net->virtio);
            return HANDED_NOT;
        }
    }
    return HANDED;
}

/* Hand a frame to the driver. */
static enum handed hand_over(struct net *net, uint32_t queue, const struct net_header *header,
                             const uint8_t *frame, size_t size)
{
    struct net_header own = *header;
    uint64_t whole = net_header_size(net) + size;
    enum handed r = take_buffers(net, queue, whole);
    uint32_t written[MERGED_MAX];
    size_t done = 0;

    if (r != HANDED) {
        untake_buffers(net, queue);
        return r;
    }
    own.num_buffers = (uint16_t)net->merged_count; /* 5.1.6.4.1: 1 without merging, too */
    for (uint32_t i = 0; i < net->merged_count; i++) {
        const struct virtq_chain *chain = &net->merged[i];
        size_t head = i == 0 ? virtq_write(chain, 0, &own, net_header_size(net)) : 0;
        size_t part = virtq_write(chain, head, frame + done, size - done);

        done += part;
        written[i] = (uint32_t)(head + part);
    }
    /* 5.1.6.4: a driver that found some of them alone would take what is behind for a header */
    virtio_use_all(&net->virtio, queue, net->merged, written, net->merged_count);
    net->merged_count = 0;
    net->in_frames++;
    net->in_bytes += size;
    return HANDED;
}

/* Hand over the frame that came through a lane, as the driver can take it. */
static enum handed hand_frame(struct net *net, struct net_lane *lane, uint32_t queue)
{
    struct net_header header;
    uint8_t *frame = lane->frame + sizeof(header);
    size_t size = lane->frame_size - sizeof(header);
    struct net_offloads takes =
        net_offloads(net, F_GUEST_CSUM, F_GUEST_TSO4, F_GUEST_TSO6, F_GUEST_ECN);
    bool is_cut;

    memcpy(&header, lane->frame, sizeof(header));
    is_cut = !net_header_is_sound(&header, size, &takes) && header.gso_type != NET_GSO_NONE;
    if (is_cut) {
        static const struct net_header plain = {.flags = 0};
        enum handed r = HANDED;

        if (lane->segment_size == 0) {
            if (!net_cut_begin(&lane->cut, &header, frame, size)) {
                return HANDED_NOT;
            }
            lane->segment_size = net_cut_next(&lane->cut, lane->segment);
        }
        while (r == HANDED && lane->segment_size > 0) {
            r = hand_over(net, queue, &plain, lane->segment, lane->segment_size);
            if (r == HANDED) {
                lane->segment_size = net_cut_next(&lane->cut, lane->segment);
            }
        }
        return r;
    }
    if ((header.flags & NET_NEEDS_CSUM) != 0 && !takes.has_csum) {
        net_fill_checksum(&header, frame, size);
        header.flags = 0;
    }
    if (!takes.has_csum) {
        header = (struct net_header){.flags = 0}; /* 5.1.6.4.1 */
    }
    return hand_over(net, queue, &header, frame, size);
}

/* The next frame of the network that makes sense; false: there is none. */
static bool receive_frame(struct net *net, uint32_t number)
{
    static const struct net_offloads all = {true, true, true, true};
    struct net_lane *lane = &net->lanes[number];
    struct net_header header;

    lane->frame_size =
        net->virtio.host->queue_receive(net->virtio.slot, number, lane->frame, sizeof(lane->frame));
    lane->segment_size = 0;
    if (lane->frame_size == 0) {
        return false;
    }
    memcpy(&header, lane->frame, sizeof(header));
    header.flags &= NET_NEEDS_CSUM | NET_DATA_VALID;
    header.hdr_len = header.hdr_len <= lane->frame_size ? header.hdr_len : 0; /* a hint alone */
    memcpy(lane->frame, &header, sizeof(header));
    if (lane->frame_size < sizeof(header) + NET_FRAME_MIN ||
        lane->frame_size > sizeof(lane->frame) ||
        !net_header_is_sound(&header, lane->frame_size - sizeof(header), &all)) {
        lane->frame_size = 0;
        net->in_dropped++;
    } else if (virtio_has(&net->virtio, F_CTRL_RX) &&
               !net_filter_takes(&net->filter, net->config.mac, lane->frame + sizeof(header))) {
        lane->frame_size = 0;
        net->in_unwanted++;
    }
    return true;
}

void net_receive(struct net *net, uint32_t number)
{
    struct net_lane *lane = &net->lanes[number];
    uint32_t count = 0, queue = find_queue(net, number);
    enum handed r = HANDED;

    for (; count < ROUND_FRAMES && r != HANDED_LATER; count++) {
        if (lane->frame_size == 0 && !receive_frame(net, number)) {
            break;
        }
        if (lane->frame_size == 0) {
            continue;
        }
        r = virtio_is_live(&net->virtio, queue) && net_is_up(net) ? hand_frame(net, lane, queue)
                                                                  : HANDED_NOT;
        net->in_dropped += r == HANDED_NOT;
        if (r != HANDED_LATER) {
            lane->frame_size = 0;
        }
    }
    virtio_tell(&net->virtio, queue);
    if (count == ROUND_FRAMES && r != HANDED_LATER) {
        net->virtio.host->ring(net->virtio.slot, EVENT_NETWORK + number);
    }
}

void net_receive_queue(struct net *net, uint32_t queue)
{
    for (uint32_t i = 0; i < net->lane_count; i++) {
        if (find_queue(net, i) == queue) {
            net_receive(net, i);
        }
    }
}

void net_receive_stop(struct net *net, uint32_t queue)
{
    for (uint32_t i = 0; i < net->lane_count; i++) {
        if (find_queue(net, i) == queue) {
            net->lanes[i].frame_size = 0;
        }
    }
}
