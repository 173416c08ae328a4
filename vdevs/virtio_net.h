/* A network card, inside: vdev-virtio-net.c sets it up; its two directions are in
 * virtio_net_send.c and virtio_net_receive.c, what its driver commands in virtio_net_control.c. */
#ifndef QVM_VDEVS_VIRTIO_NET_H
#define QVM_VDEVS_VIRTIO_NET_H

#include "vdevs/net_filter.h"
#include "vdevs/net_frame.h"
#include "vdevs/net_mac.h"
#include "vdevs/virtio/virtio.h"

#define QUEUE_SIZE   256u
#define CONTROL_SIZE 64u
#define SEGMENTS_MAX (QUEUE_SIZE + 8u) /* some more where buffers go over borders of RAM */

/* 5.1.2 */
#define QUEUE_RECEIVE  0u
#define QUEUE_TRANSMIT 1u
#define QUEUE_CONTROL  2u
#define QUEUE_COUNT    3u
#define EVENT_NETWORK  VIRTIO_QUEUES_MAX /* beside the queues' own */

/* 5.1.3 */
#define F_CSUM          0u
#define F_GUEST_CSUM    1u
#define F_MAC           5u
#define F_GUEST_TSO4    7u
#define F_GUEST_TSO6    8u
#define F_GUEST_ECN     9u
#define F_HOST_TSO4     11u
#define F_HOST_TSO6     12u
#define F_HOST_ECN      13u
#define F_MRG_RXBUF     15u
#define F_STATUS        16u
#define F_CTRL_VQ       17u
#define F_CTRL_RX       18u
#define F_CTRL_MAC_ADDR 23u

#define S_LINK_UP 1u /* 5.1.4 */

#define ROUND_FRAMES 64u        /* of one round: others want the lock, too */
#define WAIT_NS      200000000u /* for the other end to read */

/* Buffers that one frame may be put into (5.1.6.4), and their segments. */
#define MERGED_MAX        64u
#define MERGED_PIECES_MAX (4 * SEGMENTS_MAX)

/* 5.1.4, as far as its features are offered */
struct net_config {
    uint8_t mac[NET_MAC_SIZE];
    uint16_t status;
} __attribute__((packed));

struct net {
    struct virtio virtio;
    struct virtio_type type;
    struct net_config config;
    uint8_t mac[NET_MAC_SIZE]; /* that it has before its driver gives it another */
    struct net_filter filter;

    struct vdev_piece segments[SEGMENTS_MAX];           /* of what is sent */
    struct vdev_piece merged_pieces[MERGED_PIECES_MAX]; /* of what is received */
    struct virtq_chain merged[MERGED_MAX];
    uint32_t merged_count;

    uint8_t frame[VDEV_FRAME_MAX];   /* that came, with its header */
    uint8_t segment[VDEV_FRAME_MAX]; /* that it is cut into */
    size_t frame_size;               /* 0: none waits for buffers */
    struct net_cut cut;
    size_t segment_size; /* of the frame that is being cut; 0: it is not cut */

    bool is_waiting;   /* a frame could not be sent: the timer runs */
    bool is_congested; /* it ran out: what cannot be sent is lost */
    uint64_t in_frames, in_bytes, in_dropped, in_unwanted;
    uint64_t out_frames, out_bytes, out_dropped;
    uint64_t link_changes;
};

/* What the driver agreed to, by the bits that say so. */
static inline struct net_offloads net_offloads(const struct net *net, unsigned csum, unsigned tso4,
                                               unsigned tso6, unsigned ecn)
{
    const struct virtio *virtio = &net->virtio;

    return (struct net_offloads){virtio_has(virtio, csum), virtio_has(virtio, tso4),
                                 virtio_has(virtio, tso6), virtio_has(virtio, ecn)};
}

/* Nobody is at the other end: frames are lost, either way. */
static inline bool net_is_up(const struct net *net)
{
    return (net->config.status & S_LINK_UP) != 0;
}

/* Send what the driver has in its queue; a queue that stops is forgotten. */
void net_send(struct net *net);
void net_send_late(struct net *net); /* the timer: nobody reads at the other end */
void net_send_stop(struct net *net);

/* Receive what has come, as far as the driver has buffers for it. */
void net_receive(struct net *net);
void net_receive_stop(struct net *net);

/* Do what the driver commands. */
void net_control(struct net *net);

#endif
