/* A network card, inside: vdev-virtio-net.c sets it up; its two directions are in
 * virtio_net_send.c and virtio_net_receive.c, what its driver commands in virtio_net_control.c,
 * what the host's kernel does for it in virtio_net_kernel.c. */
#ifndef QVM_VDEVS_VIRTIO_NET_H
#define QVM_VDEVS_VIRTIO_NET_H

#include "vdevs/net_filter.h"
#include "vdevs/net_frame.h"
#include "vdevs/net_mac.h"
#include "vdevs/virtio/kernel.h"
#include "vdevs/virtio/virtio.h"

#define QUEUE_SIZE   256u
#define SEGMENTS_MAX (QUEUE_SIZE + 8u) /* some more where buffers go over borders of RAM */

/* 5.1.2 */
#define LANES_MAX         VDEV_NETWORK_QUEUES_MAX
#define QUEUES_MAX        (2 * LANES_MAX + 1)
#define QUEUE_RECEIVE(n)  (2 * (n)) /* of pair number n */
#define QUEUE_TRANSMIT(n) (2 * (n) + 1)
#define EVENT_NETWORK     32u /* of the first lane, beside the queues' own */
#define EVENT_KERNEL      40u /* of the first queue that the kernel works off: vdev_tap_services */

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
#define F_MQ            22u
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
    uint16_t pairs_max; /* with F_MQ */
} __attribute__((packed));

/* One queue of the network, and what is on its way through it. Frames go from pair N into lane N;
 * what comes out of lane N is for pair N, or for another one while the driver uses fewer. */
struct net_lane {
    uint64_t deadline_ns; /* a frame could not be sent, and is tried until then; 0: none */
    bool is_congested;    /* that is over: what cannot be sent is lost */
    size_t frame_size;    /* 0: none waits for buffers */
    size_t segment_size;  /* of the frame that is being cut; 0: it is not cut */
    struct net_cut cut;
    uint8_t frame[VDEV_FRAME_MAX];   /* that came, with its header */
    uint8_t segment[VDEV_FRAME_MAX]; /* that it is cut into */
};

struct net {
    struct virtio virtio;
    struct virtio_type type;
    uint16_t queue_sizes[QUEUES_MAX];
    struct net_config config;
    uint8_t mac[NET_MAC_SIZE]; /* that it has before its driver gives it another */
    struct net_filter filter;

    struct vdev_piece segments[SEGMENTS_MAX];           /* of what is sent */
    struct vdev_piece merged_pieces[MERGED_PIECES_MAX]; /* of what is received */
    struct virtq_chain merged[MERGED_MAX];
    uint32_t merged_count;

    uint64_t in_frames, in_bytes, in_dropped, in_unwanted;
    uint64_t out_frames, out_bytes, out_dropped;
    uint64_t link_changes;

    struct virtio_kernel kernel; /* the host's, which works pairs of queues off */

    uint32_t pair_count;   /* that are offered */
    uint32_t active_count; /* that the driver uses, by its command: 5.1.6.5.5 */
    uint32_t lane_count;
    struct net_lane lanes[]; /* nobody touches most of it: it takes memory when it is used */
};

/* 5.1.6.1: bytes of the driver's header; without num_buffers for a legacy one that merges nothing.
 */
static inline uint32_t net_header_size(const struct net *net)
{
    return net->virtio.is_legacy && !virtio_has(&net->virtio, F_MRG_RXBUF)
               ? offsetof(struct net_header, num_buffers)
               : sizeof(struct net_header);
}

/* How many pairs the driver uses. */
static inline uint32_t net_pairs(const struct net *net)
{
    return virtio_has(&net->virtio, F_MQ) ? net->active_count : 1;
}

/* The number of the queue for commands, if there is one. */
static inline uint32_t net_control_queue(const struct net *net)
{
    return 2 * (virtio_has(&net->virtio, F_MQ) ? net->pair_count : 1);
}

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

/* Send what the driver has in the queue of that lane; a queue that stops is forgotten. */
void net_send(struct net *net, uint32_t lane);
void net_send_late(struct net *net); /* the timer: nobody reads at the other end */
void net_send_stop(struct net *net, uint32_t lane);

/* Receive what has come through a lane, as far as the driver has buffers for it; all of those whose
 * frames go to a queue; forget what waits for its buffers. */
void net_receive(struct net *net, uint32_t lane);
void net_receive_queue(struct net *net, uint32_t queue);
void net_receive_stop(struct net *net, uint32_t queue);

/* The kernel's part: find out whether it has one (0, or what fail() returned); have it begin, if
 * the driver is ready; have it rest; an event of its; the driver wrote something. */
int net_kernel_create(struct net *net);
void net_kernel_start(struct net *net);
void net_kernel_rest(struct net *net);
void net_kernel_event(struct net *net, uint32_t event);
void net_kernel_write(struct net *net);

/* Do what the driver commands. */
void net_control(struct net *net);

#endif
