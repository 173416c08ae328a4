/* A guest with a vsock, and programs of the host that connect to it. */
#ifndef QVM_TESTS_VIRTIO_VSOCK_UNIT_H
#define QVM_TESTS_VIRTIO_VSOCK_UNIT_H

#include "tests/unit/virtio_driver_unit.h"
#include "vdevs/virtio_vsock.h"

extern const struct vdev_module *const vdev_virtio_vsock_module;

enum { CID = 7, PORT = 42, HEADER = sizeof(struct vsock_header), PACKET = 2048 };
#define RX_DATA      DATA            /* QUEUE_SIZE_OF_RING buffers of PACKET bytes */
#define TX_DATA      (DATA + 0x9000) /* one packet at a time */
#define EVENT_DATA   (DATA + 0x8800)
#define RING_BUFFERS 16u

static uint16_t rx_offered;

static inline void give_buffer(void)
{
    uint16_t i = rx_offered++ % RING_BUFFERS;

    ring_describe(&rings[QUEUE_RECEIVE], i, RX_DATA + (uint64_t)i * PACKET, PACKET, RING_WRITE, 0);
    ring_offer(&rings[QUEUE_RECEIVE], i);
}

static inline void give_buffers(unsigned count)
{
    while (count-- > 0) {
        give_buffer();
    }
    kick(QUEUE_RECEIVE);
}

/* The driver, with as many buffers. */
static inline void set_up(unsigned buffers)
{
    struct vdev_value value = {.option = 0, .number = {CID}};

    slot.has_sockets = true;
    ck_assert_int_eq(create(vdev_virtio_vsock_module, &value, 1), 0);
    drive(VERSION_1 | FEATURE(0));
    rx_offered = 0;
    give_buffers(buffers);
}

/* The next packet that the guest got; its buffer is given back to the device if `again`. */
static inline bool take_packet(struct vsock_header *header, uint8_t *bytes, bool again)
{
    uint32_t id, size;

    if (!ring_take(&rings[QUEUE_RECEIVE], &id, &size)) {
        return false;
    }
    ck_assert_uint_ge(size, HEADER);
    memcpy(header, memory(RX_DATA + (uint64_t)id * PACKET), HEADER);
    ck_assert_uint_eq(header->len, size - HEADER);
    if (bytes != NULL) {
        memcpy(bytes, memory(RX_DATA + (uint64_t)id * PACKET) + HEADER, header->len);
    }
    if (again) {
        give_buffers(1);
    }
    return true;
}

/* The next packet is of that kind. */
static inline struct vsock_header expect_packet(enum vsock_op op)
{
    struct vsock_header header;

    ck_assert(take_packet(&header, NULL, true));
    ck_assert_uint_eq(header.op, op);
    ck_assert_uint_eq(header.type, VSOCK_STREAM);
    ck_assert_uint_eq(header.src_cid, CID_HOST);
    ck_assert_uint_eq(header.dst_cid, CID);
    return header;
}

static inline void expect_nothing(void)
{
    struct vsock_header header;

    ck_assert(!take_packet(&header, NULL, true));
}

/* The driver sends a packet; its bytes are a count from `first` on. */
static inline void send_raw(const struct vsock_header *header, uint32_t size, uint8_t first)
{
    uint32_t id, written;
    uint8_t *to;

    memcpy(memory(TX_DATA), header, sizeof(*header));
    for (uint32_t i = 0; i < size; i++) { /* over the border of RAM, too */
        to = fake_slot_memory(&slot, TX_DATA + HEADER + i, 1);
        *to = (uint8_t)(first + i);
    }
    ring_describe(&rings[QUEUE_TRANSMIT], 0, TX_DATA, HEADER + size, 0, 0);
    ring_offer(&rings[QUEUE_TRANSMIT], 0);
    kick(QUEUE_TRANSMIT);
    if (ring_take(&rings[QUEUE_TRANSMIT], &id, &written)) {
        ck_assert_uint_eq(written, 0);
    }
}

static uint32_t guest_alloc, guest_forwarded; /* as the next packets of the guest say */

static inline struct vsock_header packet_of(uint32_t host_port, enum vsock_op op)
{
    return (struct vsock_header){.src_cid = CID,
                                 .dst_cid = CID_HOST,
                                 .src_port = PORT,
                                 .dst_port = host_port,
                                 .type = VSOCK_STREAM,
                                 .op = (uint16_t)op,
                                 .buf_alloc = guest_alloc,
                                 .fwd_cnt = guest_forwarded};
}

static inline void send_op(uint32_t host_port, enum vsock_op op, uint32_t flags)
{
    struct vsock_header header = packet_of(host_port, op);

    header.flags = flags;
    send_raw(&header, 0, 0);
}

static inline void send_bytes(uint32_t host_port, uint32_t size, uint8_t first)
{
    struct vsock_header header = packet_of(host_port, VSOCK_RW);

    header.len = size;
    send_raw(&header, size, first);
}

/* A program of the host connects to PORT, and the guest takes it: the host's port. Its handle is 0
 * if it is the first one. */
static inline uint32_t open_connection(void)
{
    uint32_t port;

    guest_alloc = 0x40000;
    guest_forwarded = 0;
    fake_slot_dial(&slot, "CONNECT 42\n");
    port = expect_packet(VSOCK_REQUEST).src_port;
    send_op(port, VSOCK_RESPONSE, 0);
    return port;
}

#endif
