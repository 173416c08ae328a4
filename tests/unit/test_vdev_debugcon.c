/* The port to which firmware writes what it does. */
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_debugcon_module;

static struct vdev_slot slot;

static void say(const char *text)
{
    for (; *text != '\0'; text++) {
        fake_slot_out(&slot, 0, 0, (uint8_t)*text);
    }
}

START_TEST(a_read_tells_that_somebody_listens)
{
    ck_assert_int_eq(fake_slot_create(&slot, vdev_debugcon_module, NULL, 0, NULL, 0), 0);
    ck_assert_uint_eq(fake_slot_in(&slot, 0, 0), 0xe9);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(without_a_stream_lines_go_to_the_log)
{
    ck_assert_int_eq(fake_slot_create(&slot, vdev_debugcon_module, NULL, 0, NULL, 0), 0);
    slot.log_count = 0;
    say("SeaBIOS\r");
    ck_assert_uint_eq(slot.log_count, 0);
    say("\n\n");
    ck_assert_uint_eq(slot.log_count, 1);
    ck_assert_str_eq(slot.logged, "SeaBIOS");
    say("a\x1b[2Jb\n");
    ck_assert_str_eq(slot.logged, "a?[2Jb");
    say("lost");
    slot.module->ops->reset(slot.device);
    say("new\n");
    ck_assert_str_eq(slot.logged, "new");
    ck_assert_uint_eq(slot.sent_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_line_of_more_than_160_bytes_is_cut)
{
    ck_assert_int_eq(fake_slot_create(&slot, vdev_debugcon_module, NULL, 0, NULL, 0), 0);
    slot.log_count = 0;
    for (unsigned i = 0; i < 160; i++) {
        say("x");
    }
    ck_assert_uint_eq(slot.log_count, 0);
    say("y");
    ck_assert_uint_eq(slot.log_count, 1);
    ck_assert_uint_eq(strlen(slot.logged), 160);
    say("\n");
    ck_assert_str_eq(slot.logged, "y");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(with_a_stream_every_byte_goes_there_and_none_comes_back)
{
    const struct vdev_value value = {.text = ">/tmp/firmware.log"};
    static const uint8_t typed[3] = {1, 2, 3};

    ck_assert_int_eq(fake_slot_create(&slot, vdev_debugcon_module, &value, 1, NULL, 0), 0);
    slot.log_count = 0;
    say("a\r\n");
    ck_assert_uint_eq(slot.sent_count, 3);
    ck_assert_mem_eq(slot.sent, "a\r\n", 3);
    ck_assert_uint_eq(slot.log_count, 0);
    ck_assert_uint_eq(slot.module->ops->receive(slot.device, typed, 3), 3);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(it_has_one_port)
{
    const struct vdev_region region = {VDEV_SPACE_IO, 0x402, 2};

    ck_assert_int_ne(fake_slot_create(&slot, vdev_debugcon_module, NULL, 0, &region, 1), 0);
    ck_assert_str_eq(slot.failure, "debugcon has 1 byte, 'loc' gives 2");
}
END_TEST

UNIT_MAIN("debugcon", a_read_tells_that_somebody_listens, without_a_stream_lines_go_to_the_log,
          a_line_of_more_than_160_bytes_is_cut,
          with_a_stream_every_byte_goes_there_and_none_comes_back, it_has_one_port)
