#include "tests/guests/bare/virtio.h"

#include "tests/guests/bare/console.h"
#include "tests/guests/bare/interrupts.h"
#include "tests/guests/bare/machine.h"
#include "tests/guests/bare/virtio_registers.h"

enum { ACKNOWLEDGE = 1, DRIVER_BIT = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 0x40 };
enum { NEXT = 1, WRITE = 2 };

#define EVENT_IDX         (1U << 29)
#define VERSION_1         1U /* of the high word */
#define PATIENCE_READINGS 100000000U

struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags;
    uint16_t next;
};

struct available {
    uint16_t flags;
    volatile uint16_t index;
    uint16_t ring[VIRTIO_QUEUE_SIZE];
    volatile uint16_t used_event;
};

struct used {
    uint16_t flags;
    volatile uint16_t index;
    struct {
        uint32_t id;
        uint32_t size;
    } ring[VIRTIO_QUEUE_SIZE];
    volatile uint16_t avail_event;
};

#define TABLE_AT     VIRTIO_AREA
#define AVAILABLE_AT (VIRTIO_AREA + 0x1000)
#define USED_AT      (VIRTIO_AREA + 0x2000)

static struct descriptor *const table = (struct descriptor *)TABLE_AT;
static struct available *const available = (struct available *)AVAILABLE_AT;
static struct used *const used = (struct used *)USED_AT;

static uint64_t device;
static bool has_interrupt;
static uint16_t next_descriptor, taken;
static volatile uint32_t interrupts;

static void on_line(void)
{
    virtio_set(VIRTIO_INTERRUPT_ACK, virtio_get(VIRTIO_INTERRUPT_STATUS));
    interrupts = interrupts + 1;
}

static void on_message(void)
{
    interrupts = interrupts + 1;
}

static void zero(uint64_t at, uint64_t qwords)
{
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(qwords) : "a"(0) : "memory");
}

static bool fail(const char *why)
{
    print("virtio at 0x%x: %s\n", device, why);
    return false;
}

static bool negotiate(void)
{
    virtio_set(VIRTIO_STATUS, 0);
    virtio_set(VIRTIO_STATUS, ACKNOWLEDGE);
    virtio_set(VIRTIO_STATUS, ACKNOWLEDGE | DRIVER_BIT);
    virtio_set(VIRTIO_FEATURES_SELECT, 0);
    virtio_set(VIRTIO_ACCEPTED_SELECT, 0);
    virtio_set(VIRTIO_ACCEPTED, virtio_get(VIRTIO_FEATURES));
    virtio_set(VIRTIO_ACCEPTED_SELECT, 1);
    virtio_set(VIRTIO_ACCEPTED, VERSION_1);
    virtio_set(VIRTIO_STATUS, ACKNOWLEDGE | DRIVER_BIT | FEATURES_OK);
    return (virtio_get(VIRTIO_STATUS) & FEATURES_OK) != 0;
}

static bool make_queue(uint8_t gsi)
{
    zero(VIRTIO_AREA, 0x3000 / 8);
    next_descriptor = 0;
    taken = 0;
    virtio_set(VIRTIO_SELECT, 0);
    if (virtio_get(VIRTIO_SIZE_MAX) < VIRTIO_QUEUE_SIZE) {
        return false;
    }
    has_interrupt = gsi != 0;
    if (has_interrupt) {
        virtio_listen(gsi, gsi == VIRTIO_BY_MESSAGE ? on_message : on_line);
    }
    virtio_set(VIRTIO_SIZE, VIRTIO_QUEUE_SIZE);
    virtio_set(VIRTIO_TABLE, (uint32_t)TABLE_AT);
    virtio_set(VIRTIO_DRIVER_AREA, (uint32_t)AVAILABLE_AT);
    virtio_set(VIRTIO_DEVICE_AREA, (uint32_t)USED_AT);
    virtio_set(VIRTIO_READY, 1);
    return virtio_get(VIRTIO_READY) == 1;
}

bool virtio_open(uint64_t base, uint32_t id, uint8_t gsi)
{
    if (device != 0 && device != base) {
        virtio_stop(); /* nobody will answer an interrupt of the one before */
    }
    device = base;
    if (!virtio_find(base)) {
        return fail("no virtio device");
    }
    if (virtio_get(VIRTIO_DEVICE) != id) {
        return fail("another device");
    }
    if (!negotiate()) {
        return fail("features refused");
    }
    if (!make_queue(gsi)) {
        return fail("no queue");
    }
    virtio_set(VIRTIO_STATUS, ACKNOWLEDGE | DRIVER_BIT | FEATURES_OK | DRIVER_OK);
    return true;
}

void virtio_open_others(void)
{
    for (uint32_t queue = 1; queue < 8; queue++) {
        virtio_set(VIRTIO_SELECT, queue);
        if (virtio_get(VIRTIO_SIZE_MAX) >= VIRTIO_QUEUE_SIZE) {
            virtio_set(VIRTIO_SIZE, VIRTIO_QUEUE_SIZE);
            virtio_set(VIRTIO_TABLE, (uint32_t)TABLE_AT);
            virtio_set(VIRTIO_DRIVER_AREA, (uint32_t)AVAILABLE_AT);
            virtio_set(VIRTIO_DEVICE_AREA, (uint32_t)USED_AT);
            virtio_set(VIRTIO_READY, 1);
        }
    }
    virtio_set(VIRTIO_SELECT, 0);
}

void virtio_notify(void)
{
    virtio_set(VIRTIO_NOTIFY, 0);
}

void virtio_stop(void)
{
    virtio_set(VIRTIO_STATUS, 0);
    while (virtio_get(VIRTIO_STATUS) != 0) {
    }
}

uint32_t virtio_config(uint32_t offset)
{
    return virtio_get(VIRTIO_CONFIG + offset);
}

void virtio_offer(const struct virtio_piece *pieces, unsigned count)
{
    uint16_t head = next_descriptor % VIRTIO_QUEUE_SIZE;

    for (unsigned i = 0; i < count; i++) {
        uint16_t at = next_descriptor++ % VIRTIO_QUEUE_SIZE;

        table[at].address = pieces[i].address;
        table[at].size = pieces[i].size;
        table[at].flags =
            (uint16_t)((pieces[i].is_written ? WRITE : 0) | (i + 1 < count ? NEXT : 0));
        table[at].next = (uint16_t)(next_descriptor % VIRTIO_QUEUE_SIZE);
    }
    available->ring[available->index % VIRTIO_QUEUE_SIZE] = head;
    __asm__ volatile("mfence" : : : "memory");
    available->index = (uint16_t)(available->index + 1);
    __asm__ volatile("mfence" : : : "memory");
}

/* Until the device has used `index`. With interrupts on: asleep, and it must interrupt us. */
static bool wait_for(uint16_t index)
{
    for (uint32_t i = 0; used->index != index; i++) {
        if ((virtio_get(VIRTIO_STATUS) & NEEDS_RESET) != 0) {
            return fail("asks for a reset");
        }
        if (has_interrupt) {
            interrupts_off();
            available->used_event = (uint16_t)(index - 1);
            __asm__ volatile("mfence" : : : "memory");
            if (used->index != index) {
                interrupts_wait();
            }
            interrupts_on();
        }
        if (i == PATIENCE_READINGS) {
            return fail("no answer");
        }
    }
    return true;
}

bool virtio_is_done(void)
{
    return used->index == available->index;
}

bool virtio_wait_all(void)
{
    uint16_t index = available->index;

    virtio_notify();
    if (!wait_for(index)) {
        return false;
    }
    taken = index;
    return true;
}

uint32_t virtio_request(const struct virtio_piece *pieces, unsigned count)
{
    uint16_t at = taken;

    virtio_offer(pieces, count);
    return virtio_wait_all() ? used->ring[at % VIRTIO_QUEUE_SIZE].size : UINT32_MAX;
}
