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
