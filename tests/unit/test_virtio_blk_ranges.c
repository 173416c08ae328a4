/* The disk, rule by rule: virtio 1.2, 5.2: discards and zeroes, topology, several queues; and what
 * the configuration bounds. Transfers end when the test says so. */
#include "tests/unit/virtio_driver_unit.h"

extern const struct vdev_module *const vdev_virtio_blk_module;

enum { F_FLUSH = 9, F_TOPOLOGY = 10, F_MQ = 12, F_DISCARD = 13, F_WRITE_ZEROES = 14 };
enum { T_IN = 0, T_FLUSH = 4, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, S_NONE = 0xaa };
enum { HEADER = DATA, STATUS = DATA + 0x100, BUFFER = DATA + 0x200, SECTORS = 1 << 22 };
enum { DISCARD_MAX = 1 << 21, ZEROES_MAX = 1 << 16 };
enum { OPTION_QUEUES = 2, OPTION_IOPS = 3, OPTION_BPS = 4 };

#define ALL (FEATURE(F_FLUSH) | FEATURE(F_DISCARD) | FEATURE(F_WRITE_ZEROES))

static void build(bool is_read_only, uint32_t option, uint64_t number)
{
    struct vdev_value value = {.option = option, .number = {number}};

    slot.has_image = true;
    slot.image = (struct vdev_image){
        .size = UINT64_C(512) * SECTORS, .block = 4096, .is_read_only = is_read_only};
    ck_assert_int_eq(create(vdev_virtio_blk_module, &value, 1), 0);
}

static void set_up(uint64_t features)
{
    build(false, OPTION_QUEUES, 1);
    drive(VERSION_1 | features);
}

/* A request of three descriptors in `queue`, with `size` bytes at BUFFER that the device reads, or
 * writes. */
static void request(uint32_t queue, uint32_t kind, uint32_t size)
{
    memset(memory(HEADER), 0, 16);
    memcpy(memory(HEADER), &kind, 4);
    *memory(STATUS) = S_NONE;
    ring_describe(&rings[queue], 0, HEADER, 16, RING_NEXT, size > 0 ? 1 : 2);
    ring_describe(&rings[queue], 1, BUFFER, size, kind == T_IN ? RING_NEXT | RING_WRITE : RING_NEXT,
                  2);
    ring_describe(&rings[queue], 2, STATUS, 1, RING_WRITE, 0);
    ring_offer(&rings[queue], 0);
    kick(queue);
}

static void range(uint32_t kind, uint64_t sector, uint32_t count, uint32_t flags)
{
    memcpy(memory(BUFFER), &sector, 8);
    memcpy(memory(BUFFER + 8), &count, 4);
    memcpy(memory(BUFFER + 12), &flags, 4);
    request(0, kind, 16);
}

/* The next request of `queue` that ended had this status. */
static void expect(uint32_t queue, uint8_t status)
{
    uint32_t id, size;

    ck_assert(ring_take(&rings[queue], &id, &size));
    ck_assert_uint_eq(*memory(STATUS), status);
}

/* What is in flight is this range. */
static void expect_io(enum vdev_io_kind kind, uint64_t sector, uint64_t count)
{
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_int_eq(slot.ios[0].io.kind, kind);
    ck_assert_uint_eq(slot.ios[0].io.offset, sector * 512);
    ck_assert_uint_eq(slot.ios[0].io.piece_count, 1);
    ck_assert_ptr_null(slot.ios[0].pieces[0].base);
    ck_assert_uint_eq(slot.ios[0].pieces[0].size, count * 512);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK);
}

START_TEST(configuration_tells_limits_and_topology_5_2_4)
{
    build(false, OPTION_QUEUES, 1);
    ck_assert_uint_eq(offered() & (ALL | FEATURE(F_TOPOLOGY)), ALL | FEATURE(F_TOPOLOGY));
    ck_assert_uint_eq(offered() & FEATURE(F_MQ), 0);
    ck_assert_uint_eq(get(0x118) & 0xff, 3); /* 8 sectors are a block of 4096 */
    ck_assert_uint_eq(get(0x118) >> 16, 1);  /* min_io_size */
    ck_assert_uint_eq(get(0x124), DISCARD_MAX);
    ck_assert_uint_eq(get(0x128), 1); /* segments */
    ck_assert_uint_eq(get(0x12c), 8); /* alignment */
    ck_assert_uint_eq(get(0x130), ZEROES_MAX);
    ck_assert_uint_eq(get(0x134), 1);
    ck_assert_uint_eq(get(0x138), 1); /* may unmap */
    fake_slot_destroy(&slot);
    build(true, OPTION_QUEUES, 1);
    ck_assert_uint_eq(offered() & (FEATURE(F_DISCARD) | FEATURE(F_WRITE_ZEROES)), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(image_without_holes_offers_no_discard_and_zeroes_are_written)
{
    slot.has_image = true;
    slot.image =
        (struct vdev_image){.size = UINT64_C(512) * SECTORS, .block = 4096, .keeps_blocks = true};
    ck_assert_int_eq(create(vdev_virtio_blk_module, NULL, 0), 0);
    ck_assert_uint_eq(offered() & ALL, FEATURE(F_FLUSH) | FEATURE(F_WRITE_ZEROES));
    ck_assert_uint_eq(get(0x124), 0); /* discards: none, */
    ck_assert_uint_eq(get(0x12c), 0);
    ck_assert_uint_eq(get(0x130), ZEROES_MAX);
    ck_assert_uint_eq(get(0x138), 0); /* and no zeroes that unmap */
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "discards=not offered\n"));
    drive(VERSION_1 | FEATURE(F_FLUSH) | FEATURE(F_WRITE_ZEROES));
    range(T_WRITE_ZEROES, 16, 8, 1); /* a driver may ask for it all the same */
    expect_io(VDEV_IO_ZERO, 16, 8);
    range(T_DISCARD, 8, 8, 0);
    expect(0, S_UNSUPP);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(ranges_are_the_hosts_to_change_5_2_6)
{
    set_up(ALL);
    range(T_DISCARD, 8, DISCARD_MAX, 0);
    expect_io(VDEV_IO_DISCARD, 8, DISCARD_MAX);
    range(T_WRITE_ZEROES, SECTORS - 1, 1, 0);
    expect_io(VDEV_IO_FILL, SECTORS - 1, 1);
    range(T_WRITE_ZEROES, 16, ZEROES_MAX, 1);
    expect_io(VDEV_IO_ZERO, 16, ZEROES_MAX);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(range_too_long_or_outside_fails_5_2_6_2)
{
    static const struct {
        uint32_t kind;
        uint64_t sector;
        uint32_t count;
    } wrong[] = {{T_DISCARD, 0, DISCARD_MAX + 1},
                 {T_WRITE_ZEROES, 0, ZEROES_MAX + 1},
                 {T_DISCARD, SECTORS, 1},
                 {T_DISCARD, SECTORS - 1, 2},
                 {T_WRITE_ZEROES, UINT64_MAX, 2},
                 {T_DISCARD, 0, UINT32_MAX},
                 {T_WRITE_ZEROES, UINT64_MAX / 512, 8}};

    set_up(ALL);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        range(wrong[i].kind, wrong[i].sector, wrong[i].count, 0);
        ck_assert_uint_eq(slot.io_count, 0);
        expect(0, S_IOERR);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(flags_and_segments_that_were_not_offered_are_unsupported_5_2_6_2)
{
    set_up(ALL);
    range(T_DISCARD, 0, 1, 1); /* unmap: not of a discard */
    expect(0, S_UNSUPP);
    range(T_DISCARD, 0, 1, 2);
    expect(0, S_UNSUPP);
    range(T_WRITE_ZEROES, 0, 1, 2);
    expect(0, S_UNSUPP);
    memset(memory(BUFFER), 0, 64);
    for (uint32_t size = 0; size <= 64; size++) {
        if (size != 16) {
            request(0, T_DISCARD, size);
            expect(0, S_UNSUPP);
        }
    }
    ck_assert_uint_eq(slot.io_begins, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(ranges_need_their_features_5_2_6_2)
{
    set_up(FEATURE(F_FLUSH) | FEATURE(F_DISCARD));
    range(T_WRITE_ZEROES, 0, 1, 0);
    expect(0, S_UNSUPP);
    fake_slot_destroy(&slot);
    set_up(FEATURE(F_FLUSH) | FEATURE(F_WRITE_ZEROES));
    range(T_DISCARD, 0, 1, 0);
    expect(0, S_UNSUPP);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(empty_range_is_done_and_zeroes_are_stable_without_flushes_5_2_6_2)
{
    set_up(ALL);
    range(T_WRITE_ZEROES, 5, 0, 0);
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_FLUSH);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK);
    fake_slot_destroy(&slot);
    set_up(FEATURE(F_WRITE_ZEROES));
    range(T_WRITE_ZEROES, 5, 1, 0);
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_FILL);
    fake_slot_end_io(&slot, 0, 0);
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_FLUSH);
    ck_assert_uint_eq(ring_used_index(&rings[0]), 0);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK);
    fake_slot_destroy(&slot);
}
END_TEST

/* ---- several queues ---- */

START_TEST(queues_are_offered_as_many_as_are_configured_5_2_3)
{
    build(false, OPTION_QUEUES, 16);
    ck_assert_uint_ne(offered() & FEATURE(F_MQ), 0);
    ck_assert_uint_eq(get(0x120) >> 16, 16);             /* num_queues */
    ck_assert_uint_eq(get(0x10c), VDEV_IO_MAX / 16 - 2); /* seg_max: a list fits into its queue */
    set(0x30, 15);
    ck_assert_uint_eq(get(0x34), VDEV_IO_MAX / 16);
    set(0x30, 16);
    ck_assert_uint_eq(get(0x34), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(request_ends_in_the_queue_in_which_it_came)
{
    build(false, OPTION_QUEUES, 4);
    drive(VERSION_1 | FEATURE(F_FLUSH) | FEATURE(F_MQ));
    request(3, T_IN, 512);
    request(1, T_IN, 512);
    ck_assert_uint_eq(slot.io_count, 2);
    fake_slot_end_io(&slot, 1, 0);
    expect(1, S_OK);
    ck_assert_uint_eq(ring_used_index(&rings[3]), 0);
    fake_slot_end_io(&slot, 0, 0);
    expect(3, S_OK);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(queue_that_stops_alone_takes_nothing_from_the_others_2_6_1)
{
    build(false, OPTION_QUEUES, 2);
    drive(VERSION_1 | FEATURE(F_FLUSH) | FEATURE(F_MQ));
    request(0, T_IN, 512);
    request(1, T_IN, 512);
    set(0x30, 0);
    set(0x44, 0); /* waits for its own alone */
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_uint_eq(slot.io_stops, 0);
    fake_slot_end_io(&slot, 0, 0);
    expect(1, S_OK);
    for (unsigned i = 0; i < 3 * QUEUE_SIZE; i++) { /* nothing is lost of the pool */
        request(1, T_IN, 512);
        fake_slot_end_io(&slot, 0, 0);
        expect(1, S_OK);
    }
    fake_slot_destroy(&slot);
}
END_TEST

/* ---- bounds ---- */

/* The timer comes when it is due. */
static void pass_time(void)
{
    ck_assert_uint_ne(slot.deadlines_ns[0], 0);
    fake_slot_advance(&slot, slot.deadlines_ns[0] - slot.now_ns);
    fake_slot_run(&slot);
}

START_TEST(more_requests_than_the_bound_wait_for_their_time)
{
    build(false, OPTION_IOPS, 10); /* a burst is one, and one is begun ahead */
    drive(VERSION_1 | FEATURE(F_FLUSH));
    for (unsigned i = 0; i < 2; i++) {
        request(0, T_IN, 512);
        ck_assert_uint_eq(slot.io_count, 1);
        fake_slot_end_io(&slot, 0, 0);
        expect(0, S_OK);
    }
    for (unsigned i = 0; i < 5; i++) {
        uint64_t before_ns = slot.now_ns;

        request(0, T_IN, 512);
        ck_assert_uint_eq(slot.io_count, 0);
        kick(0); /* asking again does not help */
        ck_assert_uint_eq(slot.io_count, 0);
        pass_time();
        ck_assert_uint_eq(slot.now_ns - before_ns, 100000000);
        ck_assert_uint_eq(slot.io_count, 1);
        fake_slot_end_io(&slot, 0, 0);
        expect(0, S_OK);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(more_bytes_than_the_bound_wait_for_their_time)
{
    build(false, OPTION_BPS, 5120);
    drive(VERSION_1 | ALL);
    range(T_WRITE_ZEROES, 0, 20, 0); /* written: two seconds' worth */
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK);
    request(0, T_IN, 512);
    ck_assert_uint_eq(slot.io_count, 0);
    ck_assert_uint_eq(slot.deadlines_ns[0] - slot.now_ns, 1900000000);
    pass_time();
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "waits=2\n")); /* the next would, too */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(zeroes_are_written_where_no_hole_can_be_and_pay_as_such)
{
    build(false, OPTION_BPS, 5120);
    drive(VERSION_1 | ALL);
    range(T_DISCARD, 0, 20, 0);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK);
    range(T_WRITE_ZEROES, 0, 20, 1); /* unmap, if it can be */
    ck_assert_uint_eq(slot.io_count, 1);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK);
    request(0, T_IN, 512);
    ck_assert_uint_eq(slot.io_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(flushes_and_nonsense_count_as_requests)
{
    build(false, OPTION_IOPS, 10); /* a burst is one, and one is begun ahead */
    drive(VERSION_1 | FEATURE(F_FLUSH));
    request(0, T_FLUSH, 0);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK);
    request(0, 77, 0);
    expect(0, S_UNSUPP);
    request(0, T_FLUSH, 0);
    ck_assert_uint_eq(slot.io_count, 0);
    pass_time();
    ck_assert_uint_eq(slot.io_count, 1);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_blk_ranges", configuration_tells_limits_and_topology_5_2_4,
          image_without_holes_offers_no_discard_and_zeroes_are_written,
          ranges_are_the_hosts_to_change_5_2_6, range_too_long_or_outside_fails_5_2_6_2,
          flags_and_segments_that_were_not_offered_are_unsupported_5_2_6_2,
          ranges_need_their_features_5_2_6_2,
          empty_range_is_done_and_zeroes_are_stable_without_flushes_5_2_6_2,
          queues_are_offered_as_many_as_are_configured_5_2_3,
          request_ends_in_the_queue_in_which_it_came,
          queue_that_stops_alone_takes_nothing_from_the_others_2_6_1,
          more_requests_than_the_bound_wait_for_their_time,
          more_bytes_than_the_bound_wait_for_their_time,
          zeroes_are_written_where_no_hole_can_be_and_pay_as_such,
          flushes_and_nonsense_count_as_requests)
