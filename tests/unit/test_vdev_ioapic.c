/* The IOAPIC: each rule of the data sheet. */
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_ioapic_module;

#define MASKED 0x10000u
#define LEVEL  0x8000u

static struct vdev_slot slot;

static void set_up(void)
{
    ck_assert_int_eq(fake_slot_create(&slot, vdev_ioapic_module, NULL, 0, NULL, 0), 0);
}

static void put(uint32_t index, uint32_t value)
{
    slot.module->ops->write(slot.device, 0, 0, 4, index);
    slot.module->ops->write(slot.device, 0, 0x10, 4, value);
}

static uint32_t get(uint32_t index)
{
    slot.module->ops->write(slot.device, 0, 0, 4, index);
    return (uint32_t)slot.module->ops->read(slot.device, 0, 0x10, 4);
}

static void route(uint32_t pin, uint32_t low, uint32_t high)
{
    put(0x11 + 2 * pin, high);
    put(0x10 + 2 * pin, low);
}

static void input(uint32_t pin, bool is_high)
{
    slot.module->ops->input(slot.device, pin, is_high);
}

static void end(uint8_t vector)
{
    slot.module->ops->end_of_interrupt(slot.device, vector);
}

START_TEST(it_says_what_it_is_and_all_entries_are_masked)
{
    set_up();
    ck_assert_uint_eq(get(1), 0x170011);
    put(0, 0xffffffff);
    ck_assert_uint_eq(get(0), 0x0f000000);
    ck_assert_uint_eq(get(2), 0x0f000000);
    for (uint32_t pin = 0; pin < 24; pin++) {
        ck_assert_uint_eq(get(0x10 + 2 * pin), MASKED);
        ck_assert_uint_eq(get(0x11 + 2 * pin), 0);
    }
    ck_assert_uint_eq(get(0x40), UINT32_MAX);
    put(0x40, 0);
    put(0x01, 0);
    ck_assert_uint_eq(get(1), 0x170011);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(an_edge_sends_the_message_of_its_entry)
{
    set_up();
    route(4, 0x31, 3u << 24);
    input(4, true);
    ck_assert_uint_eq(slot.message_count, 1);
    ck_assert_uint_eq(slot.message_address, 0xfee03000);
    ck_assert_uint_eq(slot.message_data, 0x4031);
    input(4, true);
    input(4, false);
    ck_assert_uint_eq(slot.message_count, 1);
    input(4, true);
    ck_assert_uint_eq(slot.message_count, 2);
    route(4, 0x931, 0xffu << 24); /* logical, lowest priority */
    input(4, false);
    input(4, true);
    ck_assert_uint_eq(slot.message_address, 0xfeeff004);
    ck_assert_uint_eq(slot.message_data, 0x4131);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(an_edge_that_came_while_it_was_masked_is_sent_once_it_is_not)
{
    set_up();
    input(4, true);
    input(4, false);
    ck_assert_uint_eq(slot.message_count, 0);
    route(4, 0x31, 0);
    ck_assert_uint_eq(slot.message_count, 1);
    route(4, 0x31 | MASKED, 0);
    route(4, 0x31, 0);
    ck_assert_uint_eq(slot.message_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_level_is_sent_again_at_each_end_of_interrupt_while_it_is_high)
{
    set_up();
    route(11, 0x52 | LEVEL, 0);
    ck_assert(slot.is_watched[0x52]);
    input(11, true);
    ck_assert_uint_eq(slot.message_count, 1);
    ck_assert_uint_eq(slot.message_data, 0xc052);
    ck_assert_uint_eq(get(0x10 + 22), 0x52 | LEVEL | 0x4000); /* remote IRR */
    input(11, false);
    input(11, true);
    ck_assert_uint_eq(slot.message_count, 1); /* not before its end */
    end(0x51);
    ck_assert_uint_eq(slot.message_count, 1);
    end(0x52);
    ck_assert_uint_eq(slot.message_count, 2);
    input(11, false);
    end(0x52);
    ck_assert_uint_eq(slot.message_count, 2);
    ck_assert_uint_eq(get(0x10 + 22), 0x52 | LEVEL);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_level_that_is_high_is_sent_when_its_entry_is_unmasked)
{
    set_up();
    route(11, 0x52 | LEVEL | MASKED, 0);
    input(11, true);
    ck_assert_uint_eq(slot.message_count, 0);
    route(11, 0x52 | LEVEL, 0);
    ck_assert_uint_eq(slot.message_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(remote_irr_is_read_only_and_goes_when_the_trigger_becomes_an_edge)
{
    set_up();
    route(5, 0x40 | LEVEL, 0);
    input(5, true);
    route(5, 0x40 | LEVEL, 0);
    ck_assert_uint_eq(get(0x1a) & 0x4000, 0x4000);
    route(5, 0x40 | MASKED, 0);
    ck_assert_uint_eq(get(0x1a) & 0x4000, 0);
    route(5, 0x40 | 0x5000 | MASKED, 0);
    ck_assert_uint_eq(get(0x1a) & 0x5000, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(vectors_are_watched_as_long_as_a_level_entry_has_them)
{
    set_up();
    route(5, 0x40 | LEVEL, 0);
    route(6, 0x40 | LEVEL, 0);
    route(5, 0x41 | LEVEL, 0);
    ck_assert(slot.is_watched[0x40] && slot.is_watched[0x41]);
    route(6, 0x40, 0);
    ck_assert(!slot.is_watched[0x40]);
    fake_slot_reset(&slot);
    ck_assert(!slot.is_watched[0x41]);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(two_pins_of_one_vector_are_both_served_at_its_end)
{
    set_up();
    route(5, 0x40 | LEVEL, 0);
    route(6, 0x40 | LEVEL, 0);
    input(5, true);
    input(6, true);
    ck_assert_uint_eq(slot.message_count, 2);
    end(0x40);
    ck_assert_uint_eq(slot.message_count, 4);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(wide_destinations_go_into_the_messages_higher_bits)
{
    set_up();
    route(5, 0x40, 0x2cu << 24 | 1u << 17); /* 300: 0x2c, and bit 8 at bit 49 */
    input(5, true);
    ck_assert_uint_eq(slot.message_address, 0xfee2c020);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(registers_are_32_bits_at_their_two_places)
{
    set_up();
    slot.module->ops->write(slot.device, 0, 0, 1, 0x10);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 0, 0, 4), 0x10);
    slot.module->ops->write(slot.device, 0, 0x10, 1, 0x31); /* too narrow: nothing */
    ck_assert_uint_eq(get(0x10), MASKED);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 0, 0x12, 2), MASKED >> 16);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 0, 0x20, 4), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(an_8259_on_a_pin_sends_nothing)
{
    set_up();
    route(0, 0x700, 0);
    input(0, true);
    ck_assert_uint_eq(slot.message_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("ioapic", it_says_what_it_is_and_all_entries_are_masked,
          an_edge_sends_the_message_of_its_entry,
          an_edge_that_came_while_it_was_masked_is_sent_once_it_is_not,
          a_level_is_sent_again_at_each_end_of_interrupt_while_it_is_high,
          a_level_that_is_high_is_sent_when_its_entry_is_unmasked,
          remote_irr_is_read_only_and_goes_when_the_trigger_becomes_an_edge,
          vectors_are_watched_as_long_as_a_level_entry_has_them,
          two_pins_of_one_vector_are_both_served_at_its_end,
          wide_destinations_go_into_the_messages_higher_bits,
          registers_are_32_bits_at_their_two_places, an_8259_on_a_pin_sends_nothing)
