/* The HPET: each rule of the specification. */
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_hpet_module;

#define MS 1000000ull
#define S  1000000000ull

#define LEVEL    0x0002u
#define ENABLE   0x0004u
#define PERIODIC 0x0008u
#define SET      0x0040u
#define MODE_32  0x0100u
#define MESSAGE  0x4000u

static struct vdev_slot slot;

/* A counter of 10 MHz: 10,000 ticks are a millisecond. */
static void set_up(void)
{
    struct vdev_value value = {.option = 0, .number = {10000000}};

    ck_assert_int_eq(fake_slot_create(&slot, vdev_hpet_module, &value, 1, NULL, 0), 0);
}

static uint64_t get(uint64_t offset)
{
    return slot.module->ops->read(slot.device, 0, offset, 8);
}

static void put(uint64_t offset, uint64_t value)
{
    slot.module->ops->write(slot.device, 0, offset, 8, value);
}

static void put_half(uint64_t offset, uint32_t value)
{
    slot.module->ops->write(slot.device, 0, offset, 4, value);
}

static void set_timer(uint32_t timer, uint64_t config, uint64_t comparator)
{
    put(0x100 + 0x20 * timer, config);
    put(0x108 + 0x20 * timer, comparator);
}

START_TEST(capabilities_tell_period_timers_and_legacy_route)
{
    struct vdev_value value = {.option = 1, .boolean = true};

    set_up();
    ck_assert_uint_eq(get(0), UINT64_C(100000000) << 32 | 0x8086a201);
    fake_slot_destroy(&slot);
    ck_assert_int_eq(fake_slot_create(&slot, vdev_hpet_module, &value, 1, NULL, 0), 0);
    ck_assert_uint_eq(get(0) & 0x8000, 0);
    ck_assert_uint_eq(get(0) >> 32, 69841278);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_counter_stands_still_until_it_is_enabled_and_can_be_set_then)
{
    set_up();
    fake_slot_advance(&slot, S);
    ck_assert_uint_eq(get(0xf0), 0);
    put(0xf0, 1000);
    put(0x10, 1);
    fake_slot_advance(&slot, MS);
    ck_assert_uint_eq(get(0xf0), 11000);
    put(0xf0, 5); /* not while it runs */
    ck_assert_uint_eq(get(0xf0), 11000);
    put(0x10, 0);
    fake_slot_advance(&slot, S);
    ck_assert_uint_eq(get(0xf0), 11000);
    put_half(0xf4, 7);
    ck_assert_uint_eq(get(0xf0), UINT64_C(7) << 32 | 11000);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 0, 0xf4, 4) & UINT32_MAX, 7);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_timer_fires_once_at_its_comparator)
{
    set_up();
    set_timer(2, ENABLE, 20000);
    put(0x10, 1);
    fake_slot_advance(&slot, 2 * MS - 1000);
    ck_assert_uint_eq(slot.rise_count, 0);
    fake_slot_advance(&slot, 1000);
    ck_assert_uint_eq(slot.rise_count, 1);
    ck_assert(!slot.lines[2]); /* an edge */
    fake_slot_advance(&slot, 10 * S);
    ck_assert_uint_eq(slot.rise_count, 1);
    put(0x148, 10 * S / 100 + 40000); /* again */
    fake_slot_advance(&slot, 3 * MS);
    ck_assert_uint_eq(slot.rise_count, 2);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_periodic_timer_goes_on_by_its_period)
{
    set_up();
    put(0x10, 1);
    set_timer(0, ENABLE | PERIODIC | SET, 50000); /* first at 5 ms */
    ck_assert_uint_eq(get(0x100) & SET, 0);
    put(0x108, 10000); /* then each ms */
    fake_slot_advance(&slot, 5 * MS - 1000);
    ck_assert_uint_eq(slot.rise_count, 0);
    fake_slot_advance(&slot, 1000);
    ck_assert_uint_eq(slot.rise_count, 1);
    fake_slot_advance(&slot, 100 * MS);
    ck_assert_uint_eq(slot.rise_count, 101);
    ck_assert_uint_eq(get(0x108), 50000 + 101 * 10000);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_level_stays_until_its_status_bit_is_written)
{
    set_up();
    put(0x10, 1);
    set_timer(1, ENABLE | LEVEL, 10000);
    fake_slot_advance(&slot, 5 * MS);
    ck_assert(slot.lines[1]);
    ck_assert_uint_eq(get(0x20), 2);
    put(0x20, 1); /* another's */
    ck_assert(slot.lines[1]);
    put(0x20, 2);
    ck_assert(!slot.lines[1]);
    ck_assert_uint_eq(get(0x20), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_timer_may_send_a_message_instead)
{
    set_up();
    put(0x10, 1);
    put(0x150, UINT64_C(0xfee01000) << 32 | 0x4055);
    set_timer(2, ENABLE | MESSAGE, 10000);
    fake_slot_advance(&slot, 2 * MS);
    ck_assert_uint_eq(slot.message_count, 1);
    ck_assert_uint_eq(slot.message_address, 0xfee01000);
    ck_assert_uint_eq(slot.message_data, 0x4055);
    ck_assert_uint_eq(slot.rise_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(in_32_bit_mode_the_comparator_meets_the_low_half)
{
    set_up();
    put(0xf0, UINT64_C(5) << 32);
    put(0x10, 1);
    set_timer(2, ENABLE | MODE_32, UINT64_C(9) << 32 | 10000);
    ck_assert_uint_eq(get(0x148), 10000);
    fake_slot_advance(&slot, 2 * MS);
    ck_assert_uint_eq(slot.rise_count, 1);
    fake_slot_advance(&slot, 428 * S); /* it comes round after 429.5 s */
    ck_assert_uint_eq(slot.rise_count, 1);
    fake_slot_advance(&slot, 2 * S);
    ck_assert_uint_eq(slot.rise_count, 2);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_timer_says_which_line_it_has_and_keeps_to_it)
{
    set_up();
    put(0x100, UINT64_MAX);
    ck_assert_uint_eq(get(0x100) >> 32, 1u << 2); /* line 0 is pin 2 */
    ck_assert_uint_eq(get(0x120) >> 32, 1u << 8);
    ck_assert_uint_eq(get(0x100) >> 9 & 31, 2);
    ck_assert_uint_eq(get(0x160), 0); /* there are three */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(nothing_fires_while_it_or_all_are_disabled)
{
    set_up();
    set_timer(0, 0, 10000);
    set_timer(1, ENABLE, 10000);
    fake_slot_advance(&slot, 10 * MS);
    put(0x10, 1);
    put(0x120, 0);
    fake_slot_advance(&slot, 10 * MS);
    ck_assert_uint_eq(slot.rise_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(no_guest_gets_more_than_ten_thousand_interrupts_a_second_of_a_timer)
{
    set_up();
    put(0x10, 1);
    set_timer(0, ENABLE | PERIODIC | SET, 1);
    put(0x108, 1);
    fake_slot_advance(&slot, S);
    ck_assert_uint_le(slot.timer_count, 10001);
    ck_assert_uint_ge(slot.timer_count, 9000);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(with_the_legacy_route_timer_and_clock_do_not_interrupt)
{
    struct vdev_value value = {.option = 1, .boolean = true};

    set_up();
    put(0x10, 3);
    ck_assert(slot.is_legacy_taken);
    put(0x10, 1);
    ck_assert(!slot.is_legacy_taken);
    put(0x10, 2);
    ck_assert(slot.is_legacy_taken);
    fake_slot_reset(&slot);
    ck_assert(!slot.is_legacy_taken);
    fake_slot_destroy(&slot);
    ck_assert_int_eq(fake_slot_create(&slot, vdev_hpet_module, &value, 1, NULL, 0), 0);
    put(0x10, 3);
    ck_assert(!slot.is_legacy_taken); /* free of legacy: there is no such bit */
    ck_assert_uint_eq(get(0x10), 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_stops_all)
{
    set_up();
    put(0x10, 3);
    set_timer(1, ENABLE | LEVEL, 10000);
    fake_slot_advance(&slot, 5 * MS);
    fake_slot_reset(&slot);
    ck_assert_uint_eq(get(0x10), 0);
    ck_assert_uint_eq(get(0x20), 0);
    ck_assert_uint_eq(get(0xf0), 0);
    ck_assert_uint_eq(get(0x108), UINT64_MAX);
    fake_slot_advance(&slot, S);
    ck_assert_uint_eq(slot.rise_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("hpet", capabilities_tell_period_timers_and_legacy_route,
          the_counter_stands_still_until_it_is_enabled_and_can_be_set_then,
          a_timer_fires_once_at_its_comparator, a_periodic_timer_goes_on_by_its_period,
          a_level_stays_until_its_status_bit_is_written, a_timer_may_send_a_message_instead,
          in_32_bit_mode_the_comparator_meets_the_low_half,
          a_timer_says_which_line_it_has_and_keeps_to_it,
          nothing_fires_while_it_or_all_are_disabled,
          no_guest_gets_more_than_ten_thousand_interrupts_a_second_of_a_timer,
          with_the_legacy_route_timer_and_clock_do_not_interrupt, a_reset_stops_all)
