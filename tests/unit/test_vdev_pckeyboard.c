/* The keyboard controller and its keyboard, as a guest talks to them. */
#include <stdio.h>
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_pckeyboard_module;

static struct vdev_slot slot;

static void set_up(void)
{
    ck_assert_int_eq(fake_slot_create(&slot, vdev_pckeyboard_module, NULL, 0, NULL, 0), 0);
}

static void data(unsigned value)
{
    fake_slot_out(&slot, 0, 0, (uint8_t)value);
}

static void command(unsigned value)
{
    fake_slot_out(&slot, 1, 0, (uint8_t)value);
}

static uint8_t status(void)
{
    return fake_slot_in(&slot, 1, 0);
}

/* The next byte of the output buffer, which must be full. */
static uint8_t next(void)
{
    ck_assert_uint_eq(status() & 0x01, 0x01);
    return fake_slot_in(&slot, 0, 0);
}

static void expect_empty(void)
{
    ck_assert_uint_eq(status() & 0x01, 0x00);
}

START_TEST(after_a_reset_it_is_idle_and_as_firmware_leaves_it)
{
    set_up();
    for (int round = 0; round < 2; round++) {
        ck_assert_uint_eq(status(), 0x14);
        command(0x20);
        ck_assert_uint_eq(next(), 0x65);
        data(0xed);
        command(0x60);
        data(0x00);
        fake_slot_reset(&slot);
        ck_assert(!slot.is_high);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(pulsing_the_reset_line_resets_the_machine_and_other_lines_do_not)
{
    set_up();
    for (unsigned c = 0xf1; c <= 0xff; c += 2) {
        command(c);
    }
    ck_assert_uint_eq(slot.request_count, 0);
    for (unsigned c = 0xf0; c <= 0xfe; c += 2) {
        command(c);
    }
    ck_assert_uint_eq(slot.request_count, 8);
    ck_assert_int_eq(slot.request, VDEV_REQUEST_RESET);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_output_port_switches_a20_and_resets)
{
    set_up();
    command(0xd0);
    ck_assert_uint_eq(next(), 0x03);
    command(0xd1);
    data(0x01);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "a20=off"));
    command(0xdf);
    command(0xd0);
    ck_assert_uint_eq(next(), 0x03);
    command(0xdd);
    command(0xd0);
    ck_assert_uint_eq(next(), 0x01);
    ck_assert_uint_eq(slot.request_count, 0);
    command(0xd1);
    data(0xfe);
    ck_assert_uint_eq(slot.request_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(self_test_and_interface_test_pass)
{
    set_up();
    command(0xaa);
    ck_assert_uint_eq(next(), 0x55);
    command(0x20);
    ck_assert_uint_eq(next(), 0x74); /* keyboard off, no interrupts */
    command(0xab);
    ck_assert_uint_eq(next(), 0x00);
    command(0xc0);
    ck_assert_uint_eq(next(), 0x80);
    command(0xa4);
    ck_assert_uint_eq(next(), 0xf1);
    expect_empty();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_status_tells_commands_from_data)
{
    set_up();
    command(0xae);
    ck_assert_uint_eq(status(), 0x1c);
    data(0xf4);
    ck_assert_uint_eq(status(), 0x15);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(every_byte_of_the_controllers_memory_can_be_written_and_read)
{
    set_up();
    for (unsigned at = 1; at < 32; at++) {
        command(0x60 + at);
        data(at * 7);
    }
    for (unsigned at = 1; at < 32; at++) {
        command(0x20 + at);
        ck_assert_uint_eq(next(), (uint8_t)(at * 7));
    }
    command(0x60);
    data(0x43);
    command(0x20);
    ck_assert_uint_eq(next(), 0x63); /* bit 5 stays: there is no auxiliary port */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_keyboard_resets_identifies_itself_and_takes_leds)
{
    set_up();
    command(0x60);
    data(0x24); /* no translation, no interrupts */
    data(0xff);
    ck_assert_uint_eq(next(), 0xfa);
    ck_assert_uint_eq(next(), 0xaa);
    data(0xf2);
    ck_assert_uint_eq(next(), 0xfa);
    ck_assert_uint_eq(next(), 0xab);
    ck_assert_uint_eq(next(), 0x83);
    data(0xed);
    ck_assert_uint_eq(next(), 0xfa);
    data(0x05);
    ck_assert_uint_eq(next(), 0xfa);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "leds=5"));
    data(0xee);
    ck_assert_uint_eq(next(), 0xee);
    expect_empty();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(translation_changes_what_the_keyboard_says)
{
    set_up();
    data(0xf2);
    ck_assert_uint_eq(next(), 0xfa);
    ck_assert_uint_eq(next(), 0xab);
    ck_assert_uint_eq(next(), 0x41);
    data(0xf0);
    ck_assert_uint_eq(next(), 0xfa);
    data(0x00);
    ck_assert_uint_eq(next(), 0xfa);
    ck_assert_uint_eq(next(), 0x41); /* scan code set 2 */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(scan_sets_rates_and_resends_are_answered)
{
    set_up();
    command(0x60);
    data(0x24);
    for (unsigned set = 1; set <= 3; set++) {
        data(0xf0);
        ck_assert_uint_eq(next(), 0xfa);
        data(set);
        ck_assert_uint_eq(next(), 0xfa);
        data(0xf0);
        ck_assert_uint_eq(next(), 0xfa);
        data(0);
        ck_assert_uint_eq(next(), 0xfa);
        ck_assert_uint_eq(next(), set);
        data(0xfe);
        ck_assert_uint_eq(next(), set);
    }
    data(0xf0);
    ck_assert_uint_eq(next(), 0xfa);
    data(4);
    ck_assert_uint_eq(next(), 0xfe);
    data(0xf3);
    ck_assert_uint_eq(next(), 0xfa);
    data(0x20);
    ck_assert_uint_eq(next(), 0xfa);
    for (unsigned c = 0xf4; c <= 0xfa; c++) {
        data(c);
        ck_assert_uint_eq(next(), 0xfa);
    }
    data(0x12);
    ck_assert_uint_eq(next(), 0xfe);
    expect_empty();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_command_in_the_place_of_data_is_a_command)
{
    set_up();
    data(0xed);
    ck_assert_uint_eq(next(), 0xfa);
    data(0xf2);
    ck_assert_uint_eq(next(), 0xfa);
    ck_assert_uint_eq(next(), 0xab);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(each_byte_brings_an_edge_of_the_interrupt)
{
    set_up();
    data(0xf2);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(slot.rise_count, 1);
    (void)next();
    ck_assert_uint_eq(slot.rise_count, 2);
    (void)next();
    ck_assert_uint_eq(slot.rise_count, 3);
    (void)next();
    ck_assert(!slot.is_high);
    command(0x60);
    data(0x64); /* interrupts off */
    data(0xf2);
    ck_assert(!slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_keyboard_that_is_off_keeps_its_bytes_while_the_controller_answers)
{
    set_up();
    data(0xf2);
    command(0xad);
    ck_assert_uint_eq(next(), 0xfa); /* was out already */
    expect_empty();
    command(0x20);
    ck_assert_uint_eq(next(), 0x75);
    expect_empty();
    command(0xae);
    ck_assert_uint_eq(next(), 0xab);
    ck_assert_uint_eq(next(), 0x41);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(at_the_auxiliary_port_there_is_nothing_and_the_controller_says_so)
{
    set_up();
    command(0xa8);
    command(0x20);
    ck_assert_uint_eq(next(), 0x65);
    command(0xa9);
    ck_assert_uint_ne(next(), 0x00);
    command(0xd3);
    data(0x5a);
    ck_assert_uint_eq(status() & 0x21, 0x01); /* not as from an auxiliary device */
    ck_assert_uint_eq(next(), 0x5a);
    command(0xd4);
    data(0xf2);
    ck_assert_uint_eq(status() & 0x61, 0x61); /* nobody answered in time */
    ck_assert(!slot.is_high);
    ck_assert_uint_eq(next(), 0xfe);
    expect_empty();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_is_not_read_is_bounded)
{
    unsigned count = 0;

    set_up();
    for (int i = 0; i < 1000; i++) {
        data(0xee);
        command(0xaa);
    }
    while ((status() & 1) != 0) {
        (void)next();
        count++;
    }
    command(0xae);
    while ((status() & 1) != 0) {
        (void)next();
        count++;
    }
    ck_assert_uint_le(count, 33); /* two queues and the output buffer */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(places_of_another_size_are_refused)
{
    static const struct vdev_region wide[] = {{VDEV_SPACE_IO, 0x60, 1}, {VDEV_SPACE_IO, 0x64, 2}};

    ck_assert_int_ne(fake_slot_create(&slot, vdev_pckeyboard_module, NULL, 0, wide, 2), 0);
    ck_assert_str_eq(slot.failure, "the keyboard controller has two places of 1 byte each");
}
END_TEST

static void press(uint16_t key)
{
    ck_assert(slot.module->ops->key(slot.device, key, true));
}

static void let_go(uint16_t key)
{
    ck_assert(slot.module->ops->key(slot.device, key, false));
}

/* All that comes, as "xx xx ". */
static const char *typed(void)
{
    static char text[128];
    size_t used = 0;

    text[0] = '\0';
    while ((fake_slot_in(&slot, 1, 0) & 1) != 0 && used + 4 < sizeof(text)) {
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "%02x ", fake_slot_in(&slot, 0, 0));
    }
    return text;
}

START_TEST(keys_come_translated_to_set_1_and_interrupt_for_each_byte)
{
    unsigned rises;

    set_up();
    rises = slot.rise_count;
    press(30); /* a */
    ck_assert(slot.is_high);
    let_go(30);
    ck_assert_str_eq(typed(), "1e 9e ");
    ck_assert_uint_eq(slot.rise_count - rises, 2);
    press(103); /* up */
    let_go(103);
    ck_assert_str_eq(typed(), "e0 48 e0 c8 ");
    press(65); /* F7: its code in set 2 has its high bit set */
    let_go(65);
    ck_assert_str_eq(typed(), "41 c1 ");
    press(99); /* print screen */
    let_go(99);
    ck_assert_str_eq(typed(), "e0 37 e0 b7 ");
    press(119); /* pause */
    let_go(119);
    ck_assert_str_eq(typed(), "e1 1d 45 e1 9d c5 ");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(control_alt_delete_is_three_keys)
{
    set_up();
    press(29);
    press(56);
    press(111);
    let_go(111);
    let_go(56);
    let_go(29);
    ck_assert_str_eq(typed(), "1d 38 e0 53 e0 d3 b8 9d ");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(every_plain_key_has_its_own_code_in_set_1)
{
    set_up();
    for (uint16_t key = 1; key <= 88; key++) {
        char expected[16] = "";

        press(key);
        if (key != 85) { /* no such key */
            (void)snprintf(expected, sizeof(expected), "%02x ", key);
        }
        ck_assert_str_eq(typed(), expected);
    }
    press(200);
    press(0xffff);
    ck_assert_str_eq(typed(), "");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(without_translation_they_are_those_of_set_2_or_of_set_1)
{
    set_up();
    fake_slot_out(&slot, 1, 0, 0x60);
    fake_slot_out(&slot, 0, 0, 0x01);
    press(30);
    let_go(30);
    ck_assert_str_eq(typed(), "1c f0 1c ");
    press(103);
    let_go(103);
    ck_assert_str_eq(typed(), "e0 75 e0 f0 75 ");
    fake_slot_out(&slot, 0, 0, 0xf0);
    fake_slot_out(&slot, 0, 0, 0x01);
    ck_assert_str_eq(typed(), "fa fa ");
    press(30);
    let_go(30);
    press(103);
    let_go(103);
    ck_assert_str_eq(typed(), "1e 9e e0 48 e0 c8 ");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(keys_wait_for_room_and_are_lost_while_nobody_scans)
{
    unsigned count = 0;

    set_up();
    while (slot.module->ops->key(slot.device, 30, true)) {
        ck_assert_uint_lt(++count, 100);
    }
    ck_assert_uint_ge(count, 16);
    (void)typed();
    ck_assert(slot.module->ops->key(slot.device, 30, true));
    (void)typed();
    fake_slot_out(&slot, 0, 0, 0xf5);
    ck_assert_str_eq(typed(), "fa ");
    press(30);
    ck_assert_str_eq(typed(), "");
    fake_slot_out(&slot, 0, 0, 0xf4);
    press(30);
    ck_assert_str_eq(typed(), "fa 1e ");
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("pckeyboard", after_a_reset_it_is_idle_and_as_firmware_leaves_it,
          pulsing_the_reset_line_resets_the_machine_and_other_lines_do_not,
          the_output_port_switches_a20_and_resets, self_test_and_interface_test_pass,
          the_status_tells_commands_from_data,
          every_byte_of_the_controllers_memory_can_be_written_and_read,
          the_keyboard_resets_identifies_itself_and_takes_leds,
          translation_changes_what_the_keyboard_says, scan_sets_rates_and_resends_are_answered,
          a_command_in_the_place_of_data_is_a_command, each_byte_brings_an_edge_of_the_interrupt,
          a_keyboard_that_is_off_keeps_its_bytes_while_the_controller_answers,
          at_the_auxiliary_port_there_is_nothing_and_the_controller_says_so,
          what_is_not_read_is_bounded, places_of_another_size_are_refused,
          keys_come_translated_to_set_1_and_interrupt_for_each_byte,
          control_alt_delete_is_three_keys, every_plain_key_has_its_own_code_in_set_1,
          without_translation_they_are_those_of_set_2_or_of_set_1,
          keys_wait_for_room_and_are_lost_while_nobody_scans)
