/* The disk, rule by rule: virtio 1.2, 5.2. Transfers end when the test says so. */
#include "tests/unit/virtio_driver_unit.h"

extern const struct vdev_module *const vdev_virtio_blk_module;

enum { F_SEG_MAX = 2, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9 };
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, S_NONE = 0xaa };
enum { HEADER = DATA, STATUS = DATA + 0x100, BUFFER = DATA + 0x200, SECTORS = 2048 };

static void set_up(bool is_read_only, uint64_t features)
{
    slot.has_image = true;
    slot.image =
        (struct vdev_image){.size = SECTORS * 512, .block = 4096, .is_read_only = is_read_only};
    ck_assert_int_eq(create(vdev_virtio_blk_module, NULL, 0), 0);
    drive(VERSION_1 | features);
}

/* A request of three descriptors from `first` on; `size` bytes of data, or none. */
static void request_at(uint16_t first, uint32_t kind, uint64_t sector, uint32_t size)
{
    uint64_t header = HEADER + 16u * first, status = STATUS + first;
    unsigned flags = kind == T_OUT ? RING_NEXT : RING_NEXT | RING_WRITE;

    memcpy(memory(header), &kind, 4);
    memset(memory(header + 4), 0, 4);
    memcpy(memory(header + 8), &sector, 8);
    *memory(status) = S_NONE;
    ring_describe(&rings[0], first, header, 16, RING_NEXT, first + (size > 0 ? 1u : 2u));
    ring_describe(&rings[0], (uint16_t)(first + 1), BUFFER, size, flags, first + 2u);
    ring_describe(&rings[0], (uint16_t)(first + 2), status, 1, RING_WRITE, 0);
    ring_offer(&rings[0], first);
}

static void request(uint32_t kind, uint64_t sector, uint32_t size)
{
    request_at(0, kind, sector, size);
    kick(0);
}

/* The next request that ended had this status, and so many bytes were written. */
static void expect(uint16_t first, uint8_t status, uint32_t written)
{
    uint32_t id, size;

    ck_assert(ring_take(&rings[0], &id, &size));
    ck_assert_uint_eq(id, first);
    ck_assert_uint_eq(*memory(STATUS + (uint64_t)first), status);
    ck_assert_uint_eq(size, written);
}

START_TEST(configuration_tells_the_capacity_5_2_4)
{
    set_up(false, 0);
    ck_assert_uint_eq(get(0x08), 2);
    ck_assert_uint_eq(get(0x100), SECTORS);
    ck_assert_uint_eq(get(0x104), 0);
    ck_assert_uint_eq(get(0x10c), VDEV_IO_PIECES - 2); /* seg_max */
    ck_assert_uint_eq(get(0x114), 512);                /* blk_size */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(an_image_that_grew_is_a_change_of_the_configuration_5_2_5)
{
    set_up(false, 0);
    request(T_IN, SECTORS, 512);
    expect(0, S_IOERR, 1);
    set(0x64, get(0x60));
    slot.image.size += 8 * 512;
    slot.module->ops->image_grown(slot.device);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(get(0x60), 2);
    ck_assert_uint_eq(get(0x100), SECTORS + 8);
    request(T_IN, SECTORS + 7, 512);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK, 513);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(read_only_is_offered_for_what_is_5_2_3)
{
    set_up(false, 0);
    ck_assert_uint_eq(offered() & FEATURE(F_RO), 0);
    ck_assert_uint_ne(offered() & FEATURE(F_FLUSH), 0);
    fake_slot_destroy(&slot);
    set_up(true, 0);
    ck_assert_uint_ne(offered() & FEATURE(F_RO), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(read_is_a_transfer_into_the_guests_memory_5_2_6)
{
    set_up(false, FEATURE(F_FLUSH));
    request(T_IN, 5, 1024);
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_READ);
    ck_assert_uint_eq(slot.ios[0].io.offset, 5 * 512);
    ck_assert_uint_eq(slot.ios[0].io.piece_count, 1);
    ck_assert_ptr_eq(slot.ios[0].pieces[0].base, memory(BUFFER));
    ck_assert_uint_eq(slot.ios[0].pieces[0].size, 1024);
    ck_assert_uint_eq(ring_used_index(&rings[0]), 0);
    ck_assert_uint_eq(*memory(STATUS), S_NONE);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK, 1025);
    ck_assert(slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(write_is_a_transfer_out_of_it_5_2_6)
{
    set_up(false, FEATURE(F_FLUSH));
    request(T_OUT, 2047, 512);
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_WRITE);
    ck_assert_uint_eq(slot.ios[0].io.offset, 2047 * 512);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(error_of_the_host_is_an_error_of_the_disk_5_2_6)
{
    set_up(false, FEATURE(F_FLUSH));
    request(T_IN, 0, 512);
    fake_slot_end_io(&slot, 0, -5);
    expect(0, S_IOERR, 1); /* the data is not told to be there */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(flush_waits_for_the_host_5_2_6_2)
{
    set_up(false, FEATURE(F_FLUSH));
    request(T_FLUSH, 0, 0);
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_FLUSH);
    ck_assert_uint_eq(ring_used_index(&rings[0]), 0);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(without_the_flush_feature_a_write_is_stable_when_it_is_told_5_2_6_2)
{
    set_up(false, 0);
    request(T_OUT, 0, 512);
    fake_slot_end_io(&slot, 0, 0);
    ck_assert_uint_eq(ring_used_index(&rings[0]), 0);
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_FLUSH);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK, 1);
    request(T_OUT, 0, 512);
    fake_slot_end_io(&slot, 0, 0);
    fake_slot_end_io(&slot, 0, -5);
    expect(0, S_IOERR, 1);
    request(T_IN, 0, 512); /* a read needs none */
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK, 513);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(write_to_a_read_only_disk_fails_and_writes_nothing_5_2_6_2)
{
    set_up(true, FEATURE(F_FLUSH) | FEATURE(F_RO));
    request(T_OUT, 0, 512);
    ck_assert_uint_eq(slot.io_begins, 0);
    expect(0, S_IOERR, 1);
    request(T_IN, 0, 512);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK, 513);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_lies_outside_the_disk_fails_5_2_6)
{
    static const struct {
        uint64_t sector;
        uint32_t size;
    } outside[] = {{SECTORS, 512},
                   {SECTORS - 1, 1024},
                   {UINT64_MAX, 512},
                   {UINT64_MAX / 512, 512},
                   {UINT64_MAX / 512 + 1, 512}};

    set_up(false, FEATURE(F_FLUSH));
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        request(T_IN, outside[i].sector, outside[i].size);
        expect(0, S_IOERR, 1);
        request(T_OUT, outside[i].sector, outside[i].size);
        expect(0, S_IOERR, 1);
    }
    ck_assert_uint_eq(slot.io_begins, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(part_of_a_sector_fails_5_2_6_1)
{
    set_up(false, FEATURE(F_FLUSH));
    request(T_IN, 0, 511);
    expect(0, S_IOERR, 1);
    request(T_OUT, 0, 513);
    expect(0, S_IOERR, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(unknown_request_is_unsupported_5_2_6_2)
{
    static const uint32_t kinds[] = {2, 3, 5, 7, 9, 11, 13, 255, UINT32_MAX};

    set_up(false, FEATURE(F_FLUSH));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        request(kinds[i], 0, 512);
        expect(0, S_UNSUPP, 1);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(serial_number_is_20_bytes_5_2_6)
{
    static const char serial[] = "12345678901234567890";
    struct vdev_value value = {.option = 1, .text = serial, .where = "t:1"};

    slot.has_image = true;
    slot.image = (struct vdev_image){.size = SECTORS * 512, .block = 4096};
    ck_assert_int_eq(create(vdev_virtio_blk_module, &value, 1), 0);
    drive(VERSION_1);
    request(T_GET_ID, 0, 20);
    expect(0, S_OK, 21);
    ck_assert_mem_eq(memory(BUFFER), serial, 20);
    request(T_GET_ID, 0, 4); /* no room for all: no more than that */
    expect(0, S_OK, 5);
    fake_slot_destroy(&slot);
    value.text = "123456789012345678901";
    slot.has_image = true;
    ck_assert_int_lt(create(vdev_virtio_blk_module, &value, 1), 0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "more than 20 bytes"));
}
END_TEST

START_TEST(requests_end_in_any_order)
{
    set_up(false, FEATURE(F_FLUSH));
    request_at(0, T_IN, 1, 512);
    request_at(3, T_IN, 2, 512);
    request_at(6, T_OUT, 3, 512);
    kick(0);
    ck_assert_uint_eq(slot.io_count, 3);
    fake_slot_end_io(&slot, 2, 0);
    expect(6, S_OK, 1);
    fake_slot_end_io(&slot, 0, 0);
    expect(0, S_OK, 513);
    fake_slot_end_io(&slot, 0, -5);
    expect(3, S_IOERR, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(header_and_status_may_be_cut_and_joined_in_any_way_2_7_4_1)
{
    uint64_t sector = 9;

    set_up(false, FEATURE(F_FLUSH));
    memset(memory(HEADER), 0, 16);
    memcpy(memory(HEADER + 8), &sector, 8);
    for (uint16_t i = 0; i < 4; i++) {
        ring_describe(&rings[0], i, HEADER + 4u * i, 4, RING_NEXT, i + 1u);
    }
    ring_describe(&rings[0], 4, BUFFER, 200, RING_NEXT | RING_WRITE, 5);
    ring_describe(&rings[0], 5, BUFFER + 1000, 313, RING_WRITE,
                  0); /* the last byte is the status */
    *memory(BUFFER + 1312) = S_NONE;
    ring_offer(&rings[0], 0);
    kick(0);
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_uint_eq(slot.ios[0].io.offset, 9 * 512);
    ck_assert_uint_eq(slot.ios[0].io.piece_count, 2);
    ck_assert_uint_eq(slot.ios[0].pieces[1].size, 312);
    fake_slot_end_io(&slot, 0, 0);
    ck_assert_uint_eq(*memory(BUFFER + 1312), S_OK);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(request_without_header_or_status_is_nonsense)
{
    set_up(false, FEATURE(F_FLUSH));
    ring_describe(&rings[0], 0, HEADER, 15, RING_NEXT, 1);
    ring_describe(&rings[0], 1, STATUS, 1, RING_WRITE, 0);
    ring_offer(&rings[0], 0);
    kick(0);
    ck_assert(needs_reset());
    drive(VERSION_1 | FEATURE(F_FLUSH));
    ring_describe(&rings[0], 0, HEADER, 16, 0, 0);
    ring_offer(&rings[0], 0);
    kick(0);
    ck_assert(needs_reset());
    drive(VERSION_1 | FEATURE(F_FLUSH));
    ring_describe(&rings[0], 0, HEADER, 0, 0, 0);
    ring_offer(&rings[0], 0);
    kick(0);
    ck_assert(needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(reset_waits_for_what_is_in_flight_and_forgets_it_2_4_1)
{
    set_up(false, FEATURE(F_FLUSH));
    request(T_IN, 0, 512);
    ck_assert_uint_eq(slot.io_count, 1);
    set(0x70, 0);
    ck_assert_uint_eq(slot.io_stops, 1);
    ck_assert_uint_eq(get(0x70), 0);
    drive(VERSION_1 | FEATURE(F_FLUSH));
    for (unsigned i = 0; i < 3 * QUEUE_SIZE; i++) { /* nothing is lost of the pool */
        request(T_IN, 0, 512);
        ck_assert_uint_eq(slot.io_count, 1);
        fake_slot_end_io(&slot, 0, 0);
        expect(0, S_OK, 513);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(host_that_takes_no_more_transfers_is_an_error_of_the_disk)
{
    set_up(false, FEATURE(F_FLUSH));
    slot.io_count = FAKE_IO_MAX;
    request(T_IN, 0, 512);
    expect(0, S_IOERR, 1);
    slot.io_count = 0;
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(disk_without_an_image_is_refused_in_words)
{
    slot.has_image = false;
    ck_assert_int_lt(create(vdev_virtio_blk_module, NULL, 0), 0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "hostdev"));
}
END_TEST

START_TEST(state_counts_what_was_done)
{
    set_up(false, FEATURE(F_FLUSH));
    request(T_IN, 0, 512);
    fake_slot_end_io(&slot, 0, 0);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "reads=1 (512 bytes)\n"));
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_blk", configuration_tells_the_capacity_5_2_4,
          an_image_that_grew_is_a_change_of_the_configuration_5_2_5,
          read_only_is_offered_for_what_is_5_2_3, read_is_a_transfer_into_the_guests_memory_5_2_6,
          write_is_a_transfer_out_of_it_5_2_6, error_of_the_host_is_an_error_of_the_disk_5_2_6,
          flush_waits_for_the_host_5_2_6_2,
          without_the_flush_feature_a_write_is_stable_when_it_is_told_5_2_6_2,
          write_to_a_read_only_disk_fails_and_writes_nothing_5_2_6_2,
          what_lies_outside_the_disk_fails_5_2_6, part_of_a_sector_fails_5_2_6_1,
          unknown_request_is_unsupported_5_2_6_2, serial_number_is_20_bytes_5_2_6,
          requests_end_in_any_order, header_and_status_may_be_cut_and_joined_in_any_way_2_7_4_1,
          request_without_header_or_status_is_nonsense,
          reset_waits_for_what_is_in_flight_and_forgets_it_2_4_1,
          host_that_takes_no_more_transfers_is_an_error_of_the_disk,
          disk_without_an_image_is_refused_in_words, state_counts_what_was_done)
