/* The console, rule by rule: virtio 1.2, 5.3. */
#include "tests/unit/virtio_driver_unit.h"

extern const struct vdev_module *const vdev_virtio_console_module;

enum { RECEIVE = 0, TRANSMIT = 1, EMERGENCY = 0x108, F_EMERG_WRITE = 2 };

static void set_up(void)
{
    ck_assert_int_eq(create(vdev_virtio_console_module, NULL, 0), 0);
    drive(VERSION_1);
}

static void give(uint32_t queue, uint16_t i, uint64_t at, uint32_t size)
{
    ring_describe(&rings[queue], i, at, size, queue == RECEIVE ? RING_WRITE : 0, 0);
    ring_offer(&rings[queue], i);
    kick(queue);
}

START_TEST(what_the_guest_says_goes_to_the_stream_5_3_6)
{
    uint32_t id, size;

    set_up();
    memcpy(memory(DATA), "hello", 5);
    give(TRANSMIT, 0, DATA, 5);
    ck_assert_uint_eq(slot.sent_count, 5);
    ck_assert_mem_eq(slot.sent, "hello", 5);
    ck_assert(ring_take(&rings[TRANSMIT], &id, &size));
    ck_assert_uint_eq(size, 0); /* nothing was written into it */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_is_typed_fills_the_drivers_buffers_5_3_6)
{
    uint32_t id, size;

    set_up();
    give(RECEIVE, 0, DATA, 4);
    give(RECEIVE, 1, DATA + 16, 4);
    ck_assert_uint_eq(fake_slot_type(&slot, "abcdef", 6), 6);
    ck_assert(ring_take(&rings[RECEIVE], &id, &size));
    ck_assert_uint_eq(size, 4);
    ck_assert(ring_take(&rings[RECEIVE], &id, &size));
    ck_assert_uint_eq(size, 2);
    ck_assert_mem_eq(memory(DATA), "abcd", 4);
    ck_assert_mem_eq(memory(DATA + 16), "ef", 2);
    ck_assert(slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_has_no_buffer_waits_until_there_is_one)
{
    set_up();
    ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 0);
    ck_assert_uint_eq(slot.resume_count, 0);
    give(RECEIVE, 0, DATA, 2);
    ck_assert_uint_eq(slot.resume_count, 1);
    ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 2);
    give(RECEIVE, 1, DATA, 2);
    ck_assert_uint_eq(slot.resume_count, 2);
    ck_assert_uint_eq(fake_slot_type(&slot, "c", 1), 1);
    give(RECEIVE, 2, DATA, 2);
    ck_assert_uint_eq(slot.resume_count, 2); /* nobody waits */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(nothing_is_taken_before_the_driver_is_ready_2_1_2)
{
    ck_assert_int_eq(create(vdev_virtio_console_module, NULL, 0), 0);
    ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 0);
    drive(VERSION_1);
    ck_assert_uint_eq(slot.resume_count, 1); /* the driver is there: ask again */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(emergency_write_needs_no_queue_5_3_4)
{
    ck_assert_int_eq(create(vdev_virtio_console_module, NULL, 0), 0);
    ck_assert_uint_ne(offered() & FEATURE(F_EMERG_WRITE), 0);
    set(EMERGENCY, 'x');
    ck_assert_uint_eq(slot.sent_count, 1);
    ck_assert_uint_eq(slot.sent[0], 'x');
    set(0x100, 'y'); /* columns: nobody writes them */
    ck_assert_uint_eq(slot.sent_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(one_round_is_bounded)
{
    set_up();
    for (uint16_t i = 0; i < 4; i++) {
        ring_describe(&rings[TRANSMIT], i, DATA, 0x8000, 0, 0);
        ring_offer(&rings[TRANSMIT], i);
    }
    kick(TRANSMIT);
    ck_assert_uint_eq(slot.sent_count, 0x10000);
    fake_slot_run(&slot);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.sent_count, 0x20000);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_size_is_told_with_a_change_of_the_configuration_5_3_4)
{
    struct fields_writer saved = {0};

    set_up();
    ck_assert_uint_eq(offered() & 0xff, FEATURE(0) | FEATURE(F_EMERG_WRITE));
    ck_assert_uint_eq(get(0x100), 0);
    slot.module->ops->resize(slot.device, 80, 25);
    ck_assert_uint_eq(get(0x60), 2); /* 4.2.2 */
    ck_assert_uint_eq(get(0x100), 80 | 25 << 16);
    set(0x64, 2);
    slot.module->ops->resize(slot.device, 80, 25);
    ck_assert(!slot.is_high); /* nothing new */
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    slot.module->ops->resize(slot.device, 100, 30);
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    ck_assert_uint_eq(get(0x100), 80 | 25 << 16);
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_console", the_size_is_told_with_a_change_of_the_configuration_5_3_4,
          what_the_guest_says_goes_to_the_stream_5_3_6,
          what_is_typed_fills_the_drivers_buffers_5_3_6,
          what_has_no_buffer_waits_until_there_is_one,
          nothing_is_taken_before_the_driver_is_ready_2_1_2, emergency_write_needs_no_queue_5_3_4,
          one_round_is_bounded)
