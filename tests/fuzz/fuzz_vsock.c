/* virtio-vsock between two strangers: a guest whose packets say whatever they like, and programs of
 * the host that come, speak, fall silent and go at any time. Headers are near to right ones, so
 * that nonsense goes deep; what the device tells the guest has to hang together. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/virtio_ring.h"
#include "vdevs/virtio_vsock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct vdev_module *const vdev_virtio_vsock_module;

enum {
    CID = 3,
    STEP = 8,
    RING = 16,
    PACKET = 1024,
    PORT_FIRST = 0x40000000, /* of the host's ports: see the device */
    QUEUE_SPACE = 0x1000,
    NOTIFY = 0x50,
    RX_DATA = RING_MEMORY_START + 3 * QUEUE_SPACE, /* RING packets; over the border of the pieces */
    TX_DATA = RX_DATA + RING * PACKET
};

static struct vdev_slot slot;
static struct ring rings[3];
static uint32_t ports[4]; /* that the device told last */
static uint32_t told;

static void set(uint32_t at, uint32_t value)
{
    fake_slot_write(&slot, 0, at, 4, value);
}

static void give_buffer(uint16_t i, uint32_t size)
{
    ring_describe(&rings[0], i, RX_DATA + i * (uint32_t)PACKET, size, RING_WRITE, 0);
    ring_offer(&rings[0], i);
    set(NOTIFY, 0);
}

/* virtio 1.2, 3.1.1 and 4.2.3.2, with all that is offered. */
static void bring_up(void)
{
    static const uint32_t statuses[] = {0, 1, 3, 11};

    for (uint32_t i = 0; i < 4; i++) {
        set(0x70, statuses[i]);
        for (uint32_t half = 0; i == 2 && half < 2; half++) {
            set(0x14, half);
            set(0x24, half);
            set(0x20, (uint32_t)slot.module->ops->read(slot.device, 0, 0x10, 4) &
                          ~(half == 1 ? 4u : 0u)); /* no packed rings */
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        memset(fake_slot_memory(&slot, RING_MEMORY_START + i * QUEUE_SPACE, QUEUE_SPACE), 0,
               QUEUE_SPACE);
        (void)ring_place(&rings[i], &slot, RING, RING_MEMORY_START + i * QUEUE_SPACE);
        set(0x30, i);
        set(0x38, RING);
        set(0x80, (uint32_t)rings[i].table);
        set(0x90, (uint32_t)rings[i].available);
        set(0xa0, (uint32_t)rings[i].used);
        set(0x44, 1);
    }
    set(0x70, 15);
    for (unsigned i = 0; i < RING / 2; i++) {
        give_buffer((uint16_t)i, PACKET);
    }
}

/* What the guest was told is a packet of a stream from the host to it, and as long as it says. */
static void take_packets(bool gives_back)
{
    struct vsock_header header;
    uint32_t id, size;

    while (ring_take(&rings[0], &id, &size)) {
        if (size < sizeof(header) || size > PACKET || id >= RING) {
            abort();
        }
        for (size_t i = 0; i < sizeof(header); i++) { /* the border may be in it */
            const uint8_t *byte = fake_slot_memory(&slot, RX_DATA + id * (uint64_t)PACKET + i, 1);

            memcpy((uint8_t *)&header + i, byte, 1);
        }
        if (header.len != size - sizeof(header) || header.src_cid != CID_HOST ||
            header.dst_cid != CID) {
            abort();
        }
        ports[told++ % 4] = header.src_port;
        if (gives_back) {
            give_buffer((uint16_t)id, PACKET);
        }
    }
}

/* A packet of the guest: near to one that fits a connection which is there. */
static void send_packet(const uint8_t *step)
{
    const struct vsock_header header = {
        .src_cid = CID + (step[1] >> 7),
        .dst_cid = CID_HOST + (step[1] >> 6 & 1u),
        .src_port = 42 + (step[2] >> 7),
        .dst_port = (step[2] & 0x20) != 0 ? step[2] & 3u /* a call */
                                          : ports[step[2] & 3] + (step[2] >> 6 & 1u),
        .len = step[3] * ((step[1] & 0x20) != 0 ? 257u : 1u),
        .type = (step[1] & 0x10) != 0 ? step[6] : 1,
        .op = step[1] & 15,
        .flags = step[4] & 7u,
        .buf_alloc = (uint32_t)step[5] << (step[6] & 31),
        .fwd_cnt = step[7] * 64u,
    };
    uint32_t real = (step[4] & 0x80) != 0 ? step[7] * 16u : (uint32_t)sizeof(header) + header.len;

    (void)fake_slot_services.memory_write(&slot, TX_DATA, &header, sizeof(header));
    ring_describe(&rings[1], step[6] % RING, TX_DATA, real, step[4] >> 3 & 7, step[7] % RING);
    ring_offer(&rings[1], step[6] % RING);
    set(NOTIFY, 1);
}

static void move_host(const uint8_t *step)
{
    static const char *const greetings[] = {"CONNECT 42\n", "CONNECT 42\nabc", "CONNECT 43",
                                            "CONNECT 4294967296\n"};
    uint32_t handle = step[2] % 8;
    struct fake_socket *socket = &slot.sockets[handle];

    if (socket->is_called && (step[1] & 4) != 0) {
        fake_slot_answer(&slot, handle, (step[1] & 8) != 0);
        return;
    }
    switch (step[1] & 3) {
    case 0:
        fake_slot_dial(&slot, greetings[step[3] & 3]);
        break;
    case 1:
        fake_slot_say(&slot, handle, step, STEP);
        break;
    default:
        socket->room = step[3] * 16u;
        socket->says_no_more = (step[4] & 1) != 0;
        socket->hears_no_more = (step[4] & 2) != 0;
        fake_slot_stir(&slot, handle);
    }
}

static void save_and_restore(void)
{
    struct fields_writer writer = {0};

    if (fake_slot_save(&slot, &writer) == 0) {
        fake_slot_reset(&slot);
        (void)fake_slot_restore(&slot, writer.bytes, writer.size);
    }
    fields_discard(&writer);
}

static void take_step(const uint8_t *step)
{
    switch (step[0] % 8) {
    case 0:
    case 1:
    case 2:
        send_packet(step);
        break;
    case 3:
    case 4:
        move_host(step);
        break;
    case 5:
        give_buffer(step[1] % RING, step[2] * 8u);
        break;
    case 6:
        fake_slot_advance(&slot, step[1] * UINT64_C(100000000));
        break;
    default:
        if (step[1] == 0) {
            bring_up();
        } else if (step[1] == 1) {
            save_and_restore();
        } else {
            set((step[1] & 0x7fu) * 4u, step[2]);
        }
    }
    take_packets((step[0] & 0x80) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct vdev_region region = {VDEV_SPACE_MEMORY, 0xfeb00000, 512};
    const struct vdev_value value = {.option = 0, .number = {CID}};
    struct vdev_config config = {.regions = &region,
                                 .region_count = 1,
                                 .values = &value,
                                 .value_count = 1,
                                 .intr_count = 1,
                                 .intrs = {16}};

    memset(ports, 0, sizeof(ports));
    ports[0] = PORT_FIRST;
    told = 0;
    memset(&slot, 0, sizeof(slot));
    ring_memory(&slot);
    slot.has_sockets = true;
    if (fake_slot_build(&slot, vdev_virtio_vsock_module, &config) != 0) {
        abort();
    }
    bring_up();
    for (; size >= STEP; data += STEP, size -= STEP) {
        take_step(data);
    }
    (void)fake_slot_state(&slot);
    fake_slot_destroy(&slot);
    return 0;
}
