/* Sockets between guest and host: what the files of vdev-virtio-vsock share. */
#ifndef QVM_VDEVS_VIRTIO_VSOCK_H
#define QVM_VDEVS_VIRTIO_VSOCK_H

#include "vdevs/virtio/kernel.h"
#include "vdevs/virtio/virtio.h"

/* 5.10.2 */
#define QUEUE_RECEIVE  0u
#define QUEUE_TRANSMIT 1u
#define QUEUE_EVENT    2u
#define QUEUE_COUNT    3u
#define EVENT_SOCKETS  QUEUE_COUNT         /* behind the doorbells */
#define EVENT_KERNEL   (EVENT_SOCKETS + 1) /* of the first queue that the kernel works off */

/* 5.10.3 */
#define F_STREAM    0u
#define F_SEQPACKET 1u

#define QUEUE_SIZE   128u
#define SEGMENTS_MAX (QUEUE_SIZE + 8u) /* some more where buffers go over borders of RAM */

/* 5.10.4: the host's address, and the ends of those that a guest may have */
#define CID_HOST 2u
#define CID_MIN  3u
#define CID_MAX  0xfffffffeu

/* 5.10.6 */
struct vsock_header {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port;
    uint32_t len;
    uint16_t type, op;
    uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

#define VSOCK_STREAM 1u

enum vsock_op {
    VSOCK_REQUEST = 1,
    VSOCK_RESPONSE,
    VSOCK_RST,
    VSOCK_SHUTDOWN,
    VSOCK_RW,
    VSOCK_CREDIT_UPDATE,
    VSOCK_CREDIT_REQUEST,
};

/* 5.10.6.5: flags of SHUTDOWN, of whoever sends it */
#define VSOCK_NO_RECEIVE 1u
#define VSOCK_NO_SEND    2u
#define VSOCK_NEITHER    (VSOCK_NO_RECEIVE | VSOCK_NO_SEND)

#define CONNECTIONS_MAX VDEV_SOCKETS_MAX
#define REPLIES_MAX     64u    /* resets that wait for the driver's buffers */
#define BUFFER_SIZE     65536u /* of a connection: what the guest may send ahead */
#define PACKET_MAX      65536u /* bytes of one packet to the guest */
#define LINE_SIZE       32u    /* of what a program of the host says first */
#define ROUND_PACKETS   128u   /* of one round: others want the thread, too */
#define ROUND_BYTES     (1u << 20)
#define ANSWER_NS       UINT64_C(8000000000) /* that either end has to say what is its turn to say */
#define TICK_NS         UINT64_C(1000000000)

enum vsock_state {
    VSOCK_FREE,
    VSOCK_GREETING,  /* a program of the host has not said yet whom it wants */
    VSOCK_REQUESTED, /* the guest has not answered yet */
    VSOCK_CALLING,   /* the guest waits for a program of the host */
    VSOCK_OPEN,
    VSOCK_DRAINING, /* over for the guest; what it sent before is not at the host's yet */
};

/* A connection; its number is the handle of the socket at the host's end. */
struct vsock_connection {
    enum vsock_state state;
    uint32_t host_port, guest_port;
    uint32_t due; /* bit N: vsock_op N is to be sent to the guest */
    char line[LINE_SIZE];
    uint32_t line_size;
    uint64_t deadline_ns; /* 0: none */

    /* To the guest: what it has room for (5.10.6.3), what was sent. */
    uint32_t peer_alloc, peer_forwarded, sent;
    bool is_readable; /* the host's end may have bytes */
    bool is_ended;    /* and will have no more, or nobody wants them */
    bool is_asked;    /* for credit */
    uint32_t told;    /* flags of our SHUTDOWN */

    /* From the guest: what came, what the host has taken of it, as the guest was told last; the
     * rest lies in a ring. */
    uint32_t received, forwarded, told_forwarded;
    uint8_t *buffer;
    uint32_t start, used;
    uint32_t heard; /* flags of the guest's SHUTDOWN, which are for ever */
    bool is_gone;   /* nobody reads at the host's end */
    bool is_shut;   /* it was told that nothing follows */
};

/* 5.10.4 */
struct vsock_config {
    uint64_t guest_cid;
} __attribute__((packed));

struct vsock {
    struct virtio virtio;
    struct vsock_config config;
    struct virtio_kernel kernel; /* the host's: where it is there, no connection is ours */
    struct vdev_piece segments[SEGMENTS_MAX];
    struct vsock_connection connections[CONNECTIONS_MAX];
    uint8_t *buffers; /* BUFFER_SIZE of each connection: untouched until they are used */
    uint32_t turn;    /* who is looked at first when there is room for a packet */
    uint32_t next_port;
    struct vsock_header replies[REPLIES_MAX];
    uint32_t reply_first, reply_count;
    bool is_full;      /* packets of the guest wait for room for replies (5.10.6.1) */
    bool is_reset_due; /* 5.10.6.7: the event */
    bool is_ticking, has_ticked;
    uint8_t packet[PACKET_MAX];

    uint64_t in_bytes, out_bytes; /* from the guest, to the guest */
    uint64_t made, called;        /* connections: of the host's programs, and of the guest's */
    uint64_t refused;             /* that nobody of the host wanted, and packets of unknown ones */
};

/* ---- connections (virtio_vsock_connection.c); all on the thread of events, but vsock_drop_all
 * ---- */

/* Take in whoever waits at the host's end, as long as there is room. */
void vsock_accept(struct vsock *vsock);

/* Something may have changed at the host's end of a connection. */
void vsock_serve(struct vsock *vsock, uint32_t handle);

/* A packet of the guest, whose `len` bytes follow the header in `chain`. */
void vsock_hear(struct vsock *vsock, const struct vsock_header *header, struct virtq_chain *chain);

/* The guest wants to talk to a program of the host (virtio_vsock_call.c); whether it does. */
void vsock_call(struct vsock *vsock, const struct vsock_header *header);
void vsock_take_answer(struct vsock *vsock, struct vsock_connection *connection);

/* From now on the connection's turn is over after ANSWER_NS. */
void vsock_expect(struct vsock *vsock, struct vsock_connection *connection);

/* Look who has waited too long. */
void vsock_look_at_time(struct vsock *vsock);

/* Close everything; the guest is not told. Any thread. */
void vsock_drop_all(struct vsock *vsock);
void vsock_drop(struct vsock *vsock, struct vsock_connection *connection);

/* How many bytes the guest has room for. */
uint32_t vsock_credit(const struct vsock_connection *connection);

/* Bytes were sent to the guest, or the host's end has no more of them. */
void vsock_sent(struct vsock *vsock, struct vsock_connection *connection, uint32_t size);
void vsock_ended(struct vsock *vsock, struct vsock_connection *connection);

/* Say RST to who sent this packet; and to the other end of a connection, which is over. */
void vsock_refuse(struct vsock *vsock, const struct vsock_header *header);
void vsock_abort(struct vsock *vsock, struct vsock_connection *connection);

/* How many bytes of a connection's are kept, and of how many the guest knows. */
void vsock_fill_header(const struct vsock *vsock, struct vsock_connection *connection,
                       enum vsock_op op, uint32_t size, struct vsock_header *header);

/* ---- packets (virtio_vsock_packet.c) ---- */

/* Work the driver's packets off; give it what is due, as far as it has buffers. */
void vsock_transmit(struct vsock *vsock);
void vsock_deliver(struct vsock *vsock);

/* Tell it that everything was interrupted, if that is due. */
void vsock_tell_event(struct vsock *vsock);

/* ---- the kernel's part (virtio_vsock_kernel.c) ---- */

/* Find out whether it has one (0, or what fail() returned); have it begin, if the driver is ready;
 * have it rest; an event of its; and the vdev's operations for what a driver writes. */
int vsock_kernel_create(struct vsock *vsock);
void vsock_kernel_start(struct vsock *vsock);
void vsock_kernel_rest(struct vsock *vsock);
void vsock_kernel_event(struct vsock *vsock, uint32_t event);
void vsock_kernel_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                        uint64_t value);
void vsock_kernel_config_write(void *device, uint32_t cap, uint32_t offset, uint32_t size,
                               uint32_t value);

#endif
