/* The network card in a fake slot, and what its driver does with it. */
#ifndef QVM_TESTS_VIRTIO_NET_UNIT_H
#define QVM_TESTS_VIRTIO_NET_UNIT_H

#include "tests/unit/virtio_driver_unit.h"
#include "vdevs/net_frame.h"

extern const struct vdev_module *const vdev_virtio_net_module;

enum { RECEIVE = 0, TRANSMIT = 1, HEADER = 12, SIZE = 100, CONFIG = 0x100 };
enum {
    OPTION_TAP,
    OPTION_PEER,
    OPTION_MAC,
    OPTION_PEERFEATS,
    OPTION_QUEUES,
    OPTION_USER,
    OPTION_VHOST,
    OPTION_PACKED
};

static uint8_t bytes[2048]; /* a header and a frame of nothing but nines */

static inline void create_net(const struct vdev_value *values, uint32_t count)
{
    slot.has_network = true;
    ck_assert_int_eq(create(vdev_virtio_net_module, values, count), 0);
    memset(bytes, 9, sizeof(bytes));
    memset(bytes, 0, HEADER);
}

static inline void set_up(uint64_t features)
{
    create_net(NULL, 0);
    drive(VERSION_1 | features);
}

/* What the card answers to a command of its driver (virtio 1.2, 5.1.6.5), and NONE: nothing. */
enum { ANSWER = 0x800, OK = 0, ERR = 1, NONE = 0x77 };

static inline uint8_t command(uint32_t control, const void *words, uint32_t size)
{
    struct ring *ring = &rings[control];
    uint32_t id, used;

    memcpy(memory(DATA), words, size);
    *memory(DATA + ANSWER) = NONE;
    ring_describe(ring, 0, DATA, size, RING_NEXT, 1);
    ring_describe(ring, 1, DATA + ANSWER, 1, RING_WRITE, 0);
    ring_offer(ring, 0);
    kick(control);
    fake_slot_run(&slot);
    if (ring_take(ring, &id, &used)) {
        ck_assert_uint_eq(used, 1);
    }
    return *memory(DATA + ANSWER);
}

/* 5.1.6.5.5: use so many pairs of queues. */
static inline uint8_t command_pairs(uint32_t control, unsigned pairs)
{
    return command(control, (const uint8_t[]){4, 0, (uint8_t)pairs, (uint8_t)(pairs >> 8)}, 4);
}

static inline void expect_used(uint32_t queue, uint32_t id, uint32_t size)
{
    uint32_t used_id = 99, used_size = 99;

    ck_assert(ring_take(&rings[queue], &used_id, &used_size));
    ck_assert_uint_eq(used_id, id);
    ck_assert_uint_eq(used_size, size);
}

static inline bool is_used(uint32_t queue)
{
    uint32_t id, size;

    return ring_take(&rings[queue], &id, &size);
}

static inline void expect_state(const char *line)
{
    ck_assert_msg(strstr(fake_slot_state(&slot), line) != NULL, "%s", slot.state);
}

#endif
