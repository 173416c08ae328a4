/* Saved state of virtio devices: a driver does not notice that its device is another one. */
#include <errno.h>

#include "tests/unit/virtio_driver_unit.h"

extern const struct vdev_module *const vdev_virtio_blk_module, *const vdev_virtio_console_module;

enum { F_FLUSH = 9, SECTORS = 2048, HEADER = DATA, STATUS = DATA + 0x100, BUFFER = DATA + 0x200 };
enum { CHAINS = 5, STEPS = 400, SEEDS = 40, TRACE_MAX = 8192 };

static uint32_t random_state;

static uint32_t next_random(uint32_t below) /* xorshift: the same everywhere */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % below;
}

static void build(const struct vdev_module *module)
{
    static struct vdev_region region = {VDEV_SPACE_MEMORY, 0xfeb00000, 512};
    struct vdev_config config = {
        .regions = &region, .region_count = 1, .intr_count = 1, .intrs = {16}};

    ck_assert_int_eq(fake_slot_build(&slot, module, &config), 0);
}

/* Another device in the place of the first, in the same memory. */
static int replace(void)
{
    const struct vdev_module *module = slot.module;
    struct fields_writer saved = {0};
    bool was_high = slot.is_high;
    int r;

    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    fake_slot_destroy(&slot);
    build(module);
    r = fake_slot_restore(&slot, saved.bytes, saved.size);
    ck_assert(r != 0 || slot.is_high == was_high);
    fields_discard(&saved);
    return r;
}

/* ---- a driver that reads and writes at random, and what it sees ---- */

static struct {
    uint64_t seen[TRACE_MAX];
    uint32_t count;
    bool is_busy[CHAINS];
} driver;

static void see(uint64_t value)
{
    ck_assert_uint_lt(driver.count, TRACE_MAX);
    driver.seen[driver.count++] = value;
}

static void offer(void)
{
    uint16_t chain = (uint16_t)next_random(CHAINS), first = (uint16_t)(3 * chain);
    uint64_t header = HEADER + 16u * chain, sector = next_random(SECTORS + 1);
    uint32_t kind = next_random(2), size = 512 * (1 + next_random(2));
    unsigned flags = kind == 1 ? RING_NEXT : RING_NEXT | RING_WRITE;

    if (driver.is_busy[chain]) {
        return;
    }
    driver.is_busy[chain] = true;
    memcpy(memory(header), &kind, 4);
    memcpy(memory(header + 8), &sector, 8);
    ring_describe(&rings[0], first, header, 16, RING_NEXT, first + 1u);
    ring_describe(&rings[0], (uint16_t)(first + 1), BUFFER, size, flags, first + 2u);
    ring_describe(&rings[0], (uint16_t)(first + 2), STATUS + chain, 1, RING_WRITE, 0);
    ring_offer(&rings[0], first);
}

static void take(void)
{
    uint32_t id, size;

    while (ring_take(&rings[0], &id, &size)) {
        see(id);
        see(size);
        see(*memory(STATUS + id / 3));
        driver.is_busy[id / 3] = false;
    }
}

static void end_transfer(void)
{
    if (slot.io_count > 0) {
        fake_slot_end_io(&slot, next_random(slot.io_count), next_random(8) == 0 ? -EIO : 0);
    }
}

/* Nothing is in flight; then another device, or a look at the queue by the one that is there. */
static void drain(bool is_replaced)
{
    while (slot.io_count > 0) {
        fake_slot_end_io(&slot, 0, 0);
    }
    if (is_replaced) {
        ck_assert_int_eq(replace(), 0);
        fake_slot_run(&slot);
    } else {
        kick(0);
    }
}

static void begin(void)
{
    memset(driver.is_busy, 0, sizeof(driver.is_busy));
    drive(VERSION_1 | FEATURE(F_FLUSH) | (next_random(2) != 0 ? EVENT_IDX : 0));
}

static void act(bool is_replaced)
{
    static const uint64_t registers[] = {0x08, 0x10, 0x34, 0x44, 0x60, 0x70, 0xfc, 0x100};

    switch (next_random(16)) {
    case 0:
        drain(is_replaced);
        break;
    case 1:
        if (next_random(8) == 0) {
            begin();
        }
        break;
    case 2:
        set(0x64, get(0x60));
        break;
    case 3:
        set(0x14, next_random(3));
        break;
    case 4:
        ring_set_used_event(&rings[0], rings[0].next_used);
        break;
    case 5:
    case 6:
        take();
        break;
    case 7:
    case 8:
        end_transfer();
        break;
    case 9:
    case 10:
        kick(0);
        break;
    case 11:
        see(get(registers[next_random(8)]));
        break;
    default:
        offer();
        break;
    }
    see(slot.is_high);
    see(ring_used_index(&rings[0]));
    see(slot.io_count);
}

static void live(uint32_t seed, bool is_replaced)
{
    random_state = seed * 2654435761u + 1;
    memset(&driver, 0, sizeof(driver));
    slot.has_image = true;
    slot.image = (struct vdev_image){.size = SECTORS * 512, .block = 4096};
    ring_memory(&slot);
    build(vdev_virtio_blk_module);
    begin();
    for (uint32_t i = 0; i < STEPS; i++) {
        act(is_replaced);
    }
    take();
    fake_slot_destroy(&slot);
}

START_TEST(a_driver_does_not_notice_that_its_disk_is_another)
{
    static uint64_t seen[TRACE_MAX];

    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        uint32_t count;

        live(seed, false);
        count = driver.count;
        memcpy(seen, driver.seen, sizeof(seen));
        live(seed, true);
        ck_assert_uint_eq(driver.count, count);
        for (uint32_t i = 0; i < count; i++) {
            if (seen[i] != driver.seen[i]) {
                ck_abort_msg("seed %u: thing %u is %llu, and was %llu", seed, i,
                             (unsigned long long)driver.seen[i], (unsigned long long)seen[i]);
            }
        }
    }
}
END_TEST

START_TEST(a_disk_with_transfers_in_flight_is_not_saved)
{
    struct fields_writer saved = {0};

    random_state = 1;
    slot.has_image = true;
    slot.image = (struct vdev_image){.size = SECTORS * 512, .block = 4096};
    ring_memory(&slot);
    build(vdev_virtio_blk_module);
    begin();
    while (slot.io_count == 0) {
        offer();
        kick(0);
    }
    ck_assert_int_eq(fake_slot_save(&slot, &saved), -EBUSY);
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_was_typed_before_arrives_after)
{
    char text[8] = "";
    uint32_t id, size;

    ring_memory(&slot);
    build(vdev_virtio_console_module);
    drive(VERSION_1);
    ck_assert_uint_eq(fake_slot_type(&slot, "hi", 2), 0); /* the driver has given no buffer */
    ck_assert_int_eq(replace(), 0);
    ck_assert_uint_gt(slot.resume_count, 0);
    fake_slot_run(&slot);
    ring_describe(&rings[0], 0, DATA, 8, RING_WRITE, 0);
    ring_offer(&rings[0], 0);
    kick(0);
    ck_assert_uint_eq(fake_slot_type(&slot, "hi", 2), 2);
    ck_assert(ring_take(&rings[0], &id, &size));
    memcpy(text, memory(DATA), size);
    ck_assert_str_eq(text, "hi");
    fake_slot_destroy(&slot);
}
END_TEST

/* ---- what no driver can have done ---- */

static void start_disk(void)
{
    slot.has_image = true;
    slot.image = (struct vdev_image){.size = SECTORS * 512, .block = 4096};
    ring_memory(&slot);
    build(vdev_virtio_blk_module);
}

/* Restore a list of numbers, tag and value, 0 at the end. */
static int restore(const uint64_t *numbers)
{
    struct fields_writer saved = {0};
    int r;

    start_disk();
    for (; *numbers != 0; numbers += 2) {
        ck_assert_int_eq(
            fields_put(&saved, (uint32_t)numbers[0], VDEV_FIELD_NUMBER, &numbers[1], 8), 0);
    }
    r = fake_slot_restore(&slot, saved.bytes, saved.size);
    fields_discard(&saved);
    ck_assert_uint_eq(get(0x70), r == 0 ? 15 : 0);
    fake_slot_destroy(&slot);
    return r;
}

#define START     1, 15, 5, VERSION_1, 6, VERSION_1
#define QUEUE     64 + 1, 16, 64 + 2, RING_MEMORY_START
#define RINGS     64 + 3, RING_MEMORY_START + 0x100, 64 + 4, RING_MEMORY_START + 0x200
#define MAKE(...) restore((const uint64_t[]){__VA_ARGS__, 0})

START_TEST(nonsense_is_refused_and_leaves_the_device_reset)
{
    ck_assert_int_eq(MAKE(START, QUEUE, RINGS, 64 + 5, 1), 0);
    ck_assert_int_ne(MAKE(1, 7), 0);                       /* no features settled */
    ck_assert_int_ne(MAKE(1, 0x1f), 0);                    /* no such bit */
    ck_assert_int_ne(MAKE(1, 15, 6, UINT64_MAX), 0);       /* never offered */
    ck_assert_int_ne(MAKE(1, 15, 6, FEATURE(F_FLUSH)), 0); /* without VERSION_1 */
    ck_assert_int_ne(MAKE(1, 3, 6, VERSION_1), 0);         /* not yet */
    ck_assert_int_ne(MAKE(START, 10, 7), 0);               /* vectors */
    ck_assert_int_ne(MAKE(START, 64 + 32, 7), 0);
    ck_assert_int_ne(MAKE(START, QUEUE, 64 + 5, 1), 0);        /* rings at 0: no RAM */
    ck_assert_int_ne(MAKE(START, QUEUE, RINGS, 64 + 5, 2), 0); /* enabled twice */
    ck_assert_int_ne(MAKE(START, RINGS, 64 + 1, 15, 64 + 2, RING_MEMORY_START, 64 + 5, 1), 0);
    ck_assert_int_ne(MAKE(START, RINGS, 64 + 1, 2048, 64 + 2, RING_MEMORY_START, 64 + 5, 1), 0);
    ck_assert_int_ne(MAKE(START, QUEUE, RINGS, 64 + 5, 1, 64 + 6, 1), 0); /* broken, and not told */
}
END_TEST

UNIT_MAIN("virtio_save", a_driver_does_not_notice_that_its_disk_is_another,
          a_disk_with_transfers_in_flight_is_not_saved, what_was_typed_before_arrives_after,
          nonsense_is_refused_and_leaves_the_device_reset)
