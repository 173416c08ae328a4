/* The interval timer: each rule of the data sheet. */
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_timer8254_module;

#define PORTS   0u
#define CONTROL 3u
#define PORT_B  1u /* the region of port 0x61 */
#define S       1000000000ull
#define HZ      1193182ull

static struct vdev_slot slot;

static void set_up(void)
{
    ck_assert_int_eq(fake_slot_create(&slot, vdev_timer8254_module, NULL, 0, NULL, 0), 0);
}

/* Let so many ticks go by, and a bit. */
static void tick(uint64_t ticks)
{
    fake_slot_advance(&slot, ticks * S / HZ + 1);
}

static void control(unsigned counter, unsigned access, unsigned mode, unsigned bcd)
{
    fake_slot_out(&slot, PORTS, CONTROL, (uint8_t)(counter << 6 | access << 4 | mode << 1 | bcd));
}

static void set_count(unsigned counter, unsigned value)
{
    fake_slot_out(&slot, PORTS, counter, (uint8_t)value);
    fake_slot_out(&slot, PORTS, counter, (uint8_t)(value >> 8));
}

static uint64_t loaded_ns;

/* Until `ticks` after the last start's count was taken. */
static void at(uint64_t ticks)
{
    fake_slot_advance(&slot, loaded_ns + (ticks * S + HZ - 1) / HZ - slot.now_ns);
}

/* Set a counter, and let it take its count. */
static void start(unsigned counter, unsigned mode, unsigned value)
{
    control(counter, 3, mode, 0);
    set_count(counter, value);
    loaded_ns = slot.now_ns + (S + HZ - 1) / HZ;
    at(0);
}

static unsigned get_count(unsigned counter)
{
    unsigned low;

    control(counter, 0, 0, 0); /* latch */
    low = fake_slot_in(&slot, PORTS, counter);
    return low | (unsigned)fake_slot_in(&slot, PORTS, counter) << 8;
}

static void gate(bool is_open)
{
    fake_slot_out(&slot, PORT_B, 0, is_open);
}

static bool out2(void)
{
    return (fake_slot_in(&slot, PORT_B, 0) & 0x20) != 0;
}

static unsigned status(unsigned counter)
{
    fake_slot_out(&slot, PORTS, CONTROL, (uint8_t)(0xe0 | 2u << counter));
    return fake_slot_in(&slot, PORTS, counter);
}

START_TEST(mode_0_is_low_until_the_count_is_over_and_then_stays_high)
{
    set_up();
    gate(true);
    start(2, 0, 1000);
    ck_assert(!out2());
    tick(999);
    ck_assert(!out2());
    tick(1);
    ck_assert(out2());
    tick(70000);
    ck_assert(out2());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(mode_0_stops_while_the_gate_is_low_and_goes_on_afterwards)
{
    set_up();
    gate(true);
    start(2, 0, 1000);
    tick(400);
    gate(false);
    tick(100000);
    ck_assert_uint_ge(get_count(2), 599);
    ck_assert_uint_le(get_count(2), 600);
    ck_assert(!out2());
    gate(true);
    tick(590);
    ck_assert(!out2());
    tick(11);
    ck_assert(out2());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(mode_0_stops_at_the_first_byte_of_a_new_count)
{
    set_up();
    gate(true);
    start(2, 0, 1000);
    fake_slot_out(&slot, PORTS, 2, 0x10);
    tick(5000);
    ck_assert(!out2());
    fake_slot_out(&slot, PORTS, 2, 0x00);
    tick(0x10 + 2);
    ck_assert(out2());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(mode_1_is_low_for_the_count_after_each_trigger)
{
    set_up();
    start(2, 1, 500);
    ck_assert(out2());
    tick(1000);
    ck_assert(out2()); /* nothing before the trigger */
    gate(true);
    tick(2);
    ck_assert(!out2());
    tick(400);
    gate(false); /* the gate's level means nothing */
    ck_assert(!out2());
    gate(true); /* again before its end: anew */
    tick(499);
    ck_assert(!out2());
    tick(3);
    ck_assert(out2());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(mode_2_is_low_for_the_last_tick_of_each_period)
{
    set_up();
    gate(true);
    start(2, 2, 100);
    for (unsigned period = 0; period < 3; period++) {
        at(100 * period);
        ck_assert(out2());
        at(100 * period + 98);
        ck_assert(out2());
        at(100 * period + 99);
        ck_assert(!out2());
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(mode_2_is_high_while_the_gate_is_low_and_begins_anew_when_it_rises)
{
    set_up();
    gate(true);
    start(2, 2, 100);
    tick(99);
    ck_assert(!out2());
    gate(false);
    ck_assert(out2());
    tick(1000);
    ck_assert(out2());
    gate(true);
    tick(1);
    ck_assert_uint_ge(get_count(2), 99);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(mode_3_is_a_square_wave_whose_odd_tick_is_high)
{
    set_up();
    gate(true);
    start(2, 3, 101);
    ck_assert(out2());
    tick(50);
    ck_assert(out2());
    tick(1);
    ck_assert(!out2());
    tick(49);
    ck_assert(!out2());
    tick(1);
    ck_assert(out2());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(mode_3_counts_by_two)
{
    set_up();
    gate(true);
    start(2, 3, 1000);
    tick(100);
    ck_assert_uint_ge(get_count(2), 796);
    ck_assert_uint_le(get_count(2), 800);
    ck_assert_uint_eq(get_count(2) & 1, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(modes_4_and_5_strobe_once_at_the_end)
{
    set_up();
    gate(true);
    start(2, 4, 300);
    ck_assert(out2());
    at(299);
    ck_assert(out2());
    at(300);
    ck_assert(!out2());
    at(301);
    ck_assert(out2());
    at(65535);
    ck_assert(out2());
    gate(false);
    start(2, 5, 300);
    at(301);
    ck_assert(out2()); /* waits for its trigger */
    gate(true);
    loaded_ns = slot.now_ns + (S + HZ - 1) / HZ;
    at(300);
    ck_assert(!out2());
    at(301);
    ck_assert(out2());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(modes_6_and_7_are_2_and_3)
{
    set_up();
    control(1, 3, 6, 0);
    ck_assert_uint_eq(status(1) & 0x0e, 2 << 1);
    control(1, 3, 7, 0);
    ck_assert_uint_eq(status(1) & 0x0e, 3 << 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_latched_count_stays_until_it_is_read)
{
    unsigned low;

    set_up();
    start(1, 2, 50000);
    tick(1000);
    control(1, 0, 0, 0);
    tick(1000);
    control(1, 0, 0, 0); /* ignored: one is latched */
    low = fake_slot_in(&slot, PORTS, 1);
    ck_assert_uint_ge(low | (unsigned)fake_slot_in(&slot, PORTS, 1) << 8, 48998);
    ck_assert_uint_le(get_count(1), 48000);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(bytes_are_read_and_written_as_the_control_word_says)
{
    set_up();
    control(1, 1, 2, 0);
    fake_slot_out(&slot, PORTS, 1, 0x80); /* the low byte alone: 0x80 */
    tick(1);
    ck_assert_uint_ge(fake_slot_in(&slot, PORTS, 1), 0x7d);
    ck_assert_uint_ge(fake_slot_in(&slot, PORTS, 1), 0x7d);
    control(1, 2, 2, 0);
    fake_slot_out(&slot, PORTS, 1, 0x80); /* the high byte alone: 0x8000 */
    tick(16);
    ck_assert_uint_eq(fake_slot_in(&slot, PORTS, 1), 0x7f);
    ck_assert_uint_eq(fake_slot_in(&slot, PORTS, 1), 0x7f);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_count_of_0_is_the_largest_in_binary_and_in_bcd)
{
    set_up();
    gate(true);
    start(2, 0, 0);
    tick(65535);
    ck_assert(!out2());
    tick(2);
    ck_assert(out2());
    control(2, 3, 0, 1);
    set_count(2, 0);
    tick(10000);
    ck_assert(!out2());
    tick(2);
    ck_assert(out2());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(bcd_counts_four_decades)
{
    set_up();
    control(1, 3, 2, 1);
    set_count(1, 0x1234);
    tick(1);
    tick(35);
    ck_assert_uint_ge(get_count(1), 0x1197);
    ck_assert_uint_le(get_count(1), 0x1199);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(read_back_tells_output_null_count_and_mode)
{
    set_up();
    gate(true);
    control(2, 3, 0, 0);
    ck_assert_uint_eq(status(2), 0x40 | 3 << 4); /* OUT low, no count yet */
    set_count(2, 100);
    ck_assert_uint_eq(status(2), 0x40 | 3 << 4); /* written, not yet taken */
    tick(3);
    ck_assert_uint_eq(status(2), 3 << 4);
    tick(200);
    ck_assert_uint_eq(status(2), 0x80 | 3 << 4);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(read_back_latches_several_counters_status_before_count)
{
    set_up();
    start(0, 2, 40000);
    start(1, 2, 40000);
    fake_slot_out(&slot, PORTS, CONTROL, 0xc0 | 2 << 0 | 2 << 1); /* both, counters 0 and 1 */
    tick(1000);
    for (unsigned i = 0; i < 2; i++) {
        unsigned low;

        ck_assert_uint_eq(fake_slot_in(&slot, PORTS, i) & 0x3f, 3 << 4 | 2 << 1);
        low = fake_slot_in(&slot, PORTS, i);
        ck_assert_uint_ge(low | (unsigned)fake_slot_in(&slot, PORTS, i) << 8, 39990);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_interrupt_comes_once_a_period)
{
    static const unsigned modes[] = {2, 3};

    for (size_t i = 0; i < 2; i++) {
        unsigned rises;

        set_up();
        start(0, modes[i], 11932); /* 100 Hz */
        rises = slot.rise_count;
        fake_slot_advance(&slot, 10 * S);
        ck_assert_uint_ge(slot.rise_count - rises, 999);
        ck_assert_uint_le(slot.rise_count - rises, 1000);
        fake_slot_destroy(&slot);
    }
}
END_TEST

START_TEST(in_mode_0_it_comes_once_and_the_line_stays_high)
{
    set_up();
    start(0, 0, 11932);
    ck_assert(!slot.is_high);
    fake_slot_advance(&slot, 9 * S / 1000);
    ck_assert(!slot.is_high);
    fake_slot_advance(&slot, 2 * S / 1000);
    ck_assert(slot.is_high);
    fake_slot_advance(&slot, 10 * S);
    ck_assert_uint_eq(slot.timer_count, 1);
    start(0, 0, 100); /* the control word lowers it */
    ck_assert(!slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(no_guest_gets_more_than_ten_thousand_interrupts_a_second)
{
    set_up();
    start(0, 2, 2); /* 600,000 a second */
    fake_slot_advance(&slot, S);
    ck_assert_uint_le(slot.timer_count, 10001);
    ck_assert_uint_ge(slot.timer_count, 9000);
    ck_assert_ptr_null(strstr(fake_slot_state(&slot), "interrupts-late=0\n"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(port_b_keeps_two_bits_and_shows_the_refresh)
{
    uint8_t first;

    set_up();
    fake_slot_out(&slot, PORT_B, 0, 0xff);
    ck_assert_uint_eq(fake_slot_in(&slot, PORT_B, 0) & 0xcf, 0x03);
    first = fake_slot_in(&slot, PORT_B, 0) & 0x10;
    fake_slot_advance(&slot, 15085);
    ck_assert_uint_ne(fake_slot_in(&slot, PORT_B, 0) & 0x10, first);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_control_port_cannot_be_read)
{
    set_up();
    ck_assert_uint_eq(fake_slot_in(&slot, PORTS, CONTROL), 0xff);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_stops_the_interrupts)
{
    set_up();
    start(0, 2, 11932);
    fake_slot_reset(&slot);
    fake_slot_advance(&slot, S);
    ck_assert_uint_eq(slot.timer_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("timer8254", mode_0_is_low_until_the_count_is_over_and_then_stays_high,
          mode_0_stops_while_the_gate_is_low_and_goes_on_afterwards,
          mode_0_stops_at_the_first_byte_of_a_new_count,
          mode_1_is_low_for_the_count_after_each_trigger,
          mode_2_is_low_for_the_last_tick_of_each_period,
          mode_2_is_high_while_the_gate_is_low_and_begins_anew_when_it_rises,
          mode_3_is_a_square_wave_whose_odd_tick_is_high, mode_3_counts_by_two,
          modes_4_and_5_strobe_once_at_the_end, modes_6_and_7_are_2_and_3,
          a_latched_count_stays_until_it_is_read,
          bytes_are_read_and_written_as_the_control_word_says,
          a_count_of_0_is_the_largest_in_binary_and_in_bcd, bcd_counts_four_decades,
          read_back_tells_output_null_count_and_mode,
          read_back_latches_several_counters_status_before_count, the_interrupt_comes_once_a_period,
          in_mode_0_it_comes_once_and_the_line_stays_high,
          no_guest_gets_more_than_ten_thousand_interrupts_a_second,
          port_b_keeps_two_bits_and_shows_the_refresh, the_control_port_cannot_be_read,
          a_reset_stops_the_interrupts)
