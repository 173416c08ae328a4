/* A made-up virtio device over MMIO in a fake slot, and a driver that has the registers at hand. */
#ifndef QVM_TESTS_VIRTIO_MMIO_UNIT_H
#define QVM_TESTS_VIRTIO_MMIO_UNIT_H

#include <string.h>

#include "tests/fake/packed_ring.h"
#include "tests/unit/unit.h"
#include "vdevs/virtio/virtio.h"

/* 4.2.2 */
enum {
    MAGIC = 0x000,
    VERSION = 0x004,
    DEVICE_ID = 0x008,
    VENDOR_ID = 0x00c,
    FEATURES = 0x010,
    FEATURES_SELECT = 0x014,
    ACCEPTED = 0x020,
    ACCEPTED_SELECT = 0x024,
    QUEUE_SELECT = 0x030,
    QUEUE_SIZE_MAX = 0x034,
    QUEUE_SIZE = 0x038,
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_TABLE = 0x080,
    QUEUE_DRIVER = 0x090,
    QUEUE_DEVICE = 0x0a0,
    SHM_SELECT = 0x0ac,
    SHM_SIZE = 0x0b0,
    SHM_BASE = 0x0b8,
    QUEUE_RESET = 0x0c0,
    GENERATION = 0x0fc,
    CONFIG = 0x100,
};

enum { SIZE_0 = 8, SIZE_1 = 4, FEATURE = 3 };

/* The device: what happened to it, and a configuration of 8 bytes. */
struct made_up {
    struct virtio virtio;
    unsigned start_count, kick_count[2], stop_count[2], write_count;
    uint32_t write_offset, write_size;
    uint64_t write_value;
    uint8_t config[8];
    struct vdev_piece pieces[SIZE_0];
};

static struct vdev_slot slot;
static struct made_up *made_up;
static struct ring rings[2];

static inline void on_start(void *device)
{
    ((struct made_up *)device)->start_count++;
}

static inline void on_kick(void *device, uint32_t queue)
{
    ((struct made_up *)device)->kick_count[queue]++;
}

static inline void on_stop(void *device, uint32_t queue)
{
    ((struct made_up *)device)->stop_count[queue]++;
}

static inline void on_config_write(void *device, uint32_t offset, uint32_t size, uint64_t value)
{
    struct made_up *to = device;

    to->write_count++;
    to->write_offset = offset;
    to->write_size = size;
    to->write_value = value;
}

static const uint16_t queue_sizes[] = {SIZE_0, SIZE_1};

static const struct vdev_option options[] = {{.name = "other"}, VIRTIO_OPTIONS, {.name = NULL}};

static const struct virtio_type type = {
    .id = 42,
    .queue_count = 2,
    .queue_sizes = queue_sizes,
    .options = options,
    .config_write = on_config_write,
    .start = on_start,
    .kick = on_kick,
    .stop = on_stop,
};

static inline int made_up_create(const struct vdev_services *host, struct vdev_slot *of,
                                 const struct vdev_config *config, void **device)
{
    static struct made_up new;

    memset(&new, 0, sizeof(new));
    memcpy(new.config, "\x10\x11\x12\x13\x14\x15\x16\x17", sizeof(new.config));
    made_up = &new;
    *device = &new;
    return virtio_init(&new.virtio, &type, host, of, config, VIRTIO_BIT(FEATURE), new.config,
                       sizeof(new.config));
}

static inline void made_up_destroy(void *device)
{
    (void)device;
}

static const struct vdev_ops ops = {
    VIRTIO_OPS,
    .create = made_up_create,
    .destroy = made_up_destroy,
    .state = virtio_state,
};

static const struct vdev_module module = {.size = sizeof(module), .ops = &ops};

/* The values of `packed` and `notification-data`, as the next device has them. */
static struct vdev_value packed = {.option = 1}, notified = {.option = 2};

static inline int create_at(uint64_t start, uint64_t size, uint32_t region_count, uint32_t intr)
{
    struct vdev_region regions[] = {{VDEV_SPACE_MEMORY, start, size}, {VDEV_SPACE_MEMORY, 0, 512}};
    const struct vdev_value values[] = {packed, notified};
    struct vdev_config config = {.regions = regions,
                                 .region_count = region_count,
                                 .intr_count = 1,
                                 .intrs = {intr},
                                 .values = values,
                                 .value_count = 2};

    ring_memory(&slot);
    return fake_slot_build(&slot, &module, &config);
}

static inline void set_up(void)
{
    ck_assert_int_eq(create_at(0xfeb00000, 512, 1, 16), 0);
}

static inline uint32_t get(uint64_t at)
{
    return (uint32_t)ops.read(made_up, 0, at, 4);
}

static inline void set(uint64_t at, uint32_t value)
{
    fake_slot_write(&slot, 0, at, 4, value);
}

/* 3.1.1, steps 1 to 6, with the features given. */
static inline void negotiate(uint64_t features)
{
    set(STATUS, 0);
    set(STATUS, VIRTIO_ACKNOWLEDGE);
    set(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    set(ACCEPTED_SELECT, 0);
    set(ACCEPTED, (uint32_t)features);
    set(ACCEPTED_SELECT, 1);
    set(ACCEPTED, (uint32_t)(features >> 32));
    set(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
}

/* Tell the device where queue `i` is. */
static inline void tell_queue(uint32_t i, uint16_t size, uint64_t at)
{
    (void)ring_place(&rings[i], &slot, size, at);
    set(QUEUE_SELECT, i);
    set(QUEUE_SIZE, size);
    set(QUEUE_TABLE, (uint32_t)rings[i].table);
    set(QUEUE_TABLE + 4, (uint32_t)(rings[i].table >> 32));
    set(QUEUE_DRIVER, (uint32_t)rings[i].available);
    set(QUEUE_DRIVER + 4, (uint32_t)(rings[i].available >> 32));
    set(QUEUE_DEVICE, (uint32_t)rings[i].used);
    set(QUEUE_DEVICE + 4, (uint32_t)(rings[i].used >> 32));
}

#define BARE_FEATURES VIRTIO_BIT(VIRTIO_F_VERSION_1)
#define ALL_SET       (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK)

/* Up and running, both queues enabled. */
static inline void drive(uint64_t features)
{
    negotiate(features);
    tell_queue(0, SIZE_0, RING_MEMORY_START);
    set(QUEUE_READY, 1);
    tell_queue(1, SIZE_1, RING_MEMORY_START + 0x1000);
    set(QUEUE_READY, 1);
    set(STATUS, ALL_SET);
}

/* One writable buffer of 4 bytes at descriptor 0 of queue 0, offered. */
static inline void offer_one(void)
{
    ring_describe(&rings[0], 0, RING_MEMORY_START + 0x2000, 4, RING_WRITE, 0);
    ring_offer(&rings[0], 0);
}

/* The device takes it, uses it, and tells. False: it saw none. */
static inline bool use_one(void)
{
    struct virtq_chain chain = {.segments = made_up->pieces, .room = SIZE_0};

    if (!virtio_take(&made_up->virtio, 0, &chain)) {
        return false;
    }
    virtio_use(&made_up->virtio, 0, &chain, 4);
    virtio_tell(&made_up->virtio, 0);
    return true;
}

#endif
