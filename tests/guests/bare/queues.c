#include "tests/guests/bare/queues.h"

#include "tests/guests/bare/virtio.h"
#include "tests/guests/bare/virtio_registers.h"

enum { WRITTEN = 2, ACKNOWLEDGE = 1, DRIVER = 3, FEATURES_OK = 11, DRIVER_OK = 15 };
enum { TABLE = 0, AVAILABLE = 0x1000, USED = 0x2000, STEP = 0x3000 };

struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
};

struct ring {
    uint16_t flags;
    volatile uint16_t index;
    uint16_t entries[QUEUES_SIZE];
};

struct used {
    uint16_t flags;
    volatile uint16_t index;
    struct {
        uint32_t id, size;
    } entries[QUEUES_SIZE];
};

static uint16_t used_count[QUEUES_COUNT];

static uint64_t part(unsigned queue, uint64_t offset)
{
    return VIRTIO_AREA + (uint64_t)queue * STEP + offset;
}

static void zero(uint64_t at, uint64_t qwords)
{
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(qwords) : "a"(0) : "memory");
}

bool queues_open(uint64_t place, uint32_t id, uint32_t features)
{
    if (!virtio_find(place) || virtio_get(VIRTIO_DEVICE) != id) {
        return false;
    }
    virtio_set(VIRTIO_STATUS, 0);
    virtio_set(VIRTIO_STATUS, ACKNOWLEDGE);
    virtio_set(VIRTIO_STATUS, DRIVER);
    virtio_set(VIRTIO_ACCEPTED_SELECT, 0);
    virtio_set(VIRTIO_ACCEPTED, features);
    virtio_set(VIRTIO_ACCEPTED_SELECT, 1);
    virtio_set(VIRTIO_ACCEPTED, 1);
    virtio_set(VIRTIO_STATUS, FEATURES_OK);
    zero(VIRTIO_AREA, QUEUES_COUNT * STEP / 8);
    for (uint32_t queue = 0; queue < QUEUES_COUNT; queue++) {
        used_count[queue] = 0;
        virtio_set(VIRTIO_SELECT, queue);
        virtio_set(VIRTIO_SIZE, QUEUES_SIZE);
        virtio_set(VIRTIO_TABLE, (uint32_t)part(queue, TABLE));
        virtio_set(VIRTIO_DRIVER_AREA, (uint32_t)part(queue, AVAILABLE));
        virtio_set(VIRTIO_DEVICE_AREA, (uint32_t)part(queue, USED));
        virtio_set(VIRTIO_READY, 1);
    }
    return true;
}

void queues_begin(void)
{
    virtio_set(VIRTIO_STATUS, DRIVER_OK);
    for (uint16_t i = 0; i < QUEUES_SIZE; i++) {
        queues_offer(QUEUES_RECEIVE, i, QUEUES_BUFFER);
    }
}

void *queues_buffer(unsigned queue, unsigned i)
{
    return (void *)(VIRTIO_BUFFER + (uint64_t)(queue * QUEUES_SIZE + i) * QUEUES_BUFFER);
}

void queues_offer(unsigned queue, uint16_t i, uint32_t size)
{
    struct descriptor *table = (struct descriptor *)part(queue, TABLE);
    struct ring *available = (struct ring *)part(queue, AVAILABLE);

    table[i] = (struct descriptor){(uint64_t)queues_buffer(queue, i), size,
                                   queue == QUEUES_RECEIVE ? WRITTEN : 0, 0};
    available->entries[available->index % QUEUES_SIZE] = i;
    __asm__ volatile("mfence" ::: "memory");
    available->index++;
    __asm__ volatile("mfence" ::: "memory");
    virtio_set(VIRTIO_NOTIFY, queue);
}

bool queues_has_used(unsigned queue)
{
    return ((const struct used *)part(queue, USED))->index != used_count[queue];
}

uint16_t queues_take(unsigned queue)
{
    const struct used *used = (const struct used *)part(queue, USED);

    return (uint16_t)used->entries[used_count[queue]++ % QUEUES_SIZE].id;
}
