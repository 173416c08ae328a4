/* The real-time clock. The fake slot's wall clock begins at 2023-11-14 22:13:20 UTC, a Tuesday. */
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"
#include "vdevs/mc146818.h"

extern const struct vdev_module *const vdev_mc146818_module;

#define MS 1000000ull
#define S  1000000000ull

static struct vdev_slot slot;

static void set_up(void)
{
    ck_assert_int_eq(fake_slot_create(&slot, vdev_mc146818_module, NULL, 0, NULL, 0), 0);
}

static uint8_t get(unsigned at)
{
    fake_slot_out(&slot, 0, 0, (uint8_t)at);
    return fake_slot_in(&slot, 0, 1);
}

/* A number of `bytes` bytes, low one first. */
static unsigned get_size(unsigned at, unsigned bytes)
{
    unsigned value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (unsigned)get(at + i) << (8 * i);
    }
    return value;
}

static void set(unsigned at, unsigned value)
{
    fake_slot_out(&slot, 0, 0, (uint8_t)at);
    fake_slot_out(&slot, 0, 1, (uint8_t)value);
}

/* Seconds, minutes, hours, weekday, day, month, year, century. */
static void expect_time(unsigned s, unsigned m, unsigned h, unsigned wd, unsigned d, unsigned mo,
                        unsigned y, unsigned c)
{
    ck_assert_uint_eq(get(0), s);
    ck_assert_uint_eq(get(2), m);
    ck_assert_uint_eq(get(4), h);
    ck_assert_uint_eq(get(6), wd);
    ck_assert_uint_eq(get(7), d);
    ck_assert_uint_eq(get(8), mo);
    ck_assert_uint_eq(get(9), y);
    ck_assert_uint_eq(get(0x32), c);
}

START_TEST(it_shows_the_hosts_time_in_utc_in_bcd_and_24_hours)
{
    set_up();
    expect_time(0x20, 0x13, 0x22, 3, 0x14, 0x11, 0x23, 0x20);
    fake_slot_advance(&slot, 40 * S);
    expect_time(0x00, 0x14, 0x22, 3, 0x14, 0x11, 0x23, 0x20);
    fake_slot_advance(&slot, 106 * 60 * S);
    expect_time(0x00, 0x00, 0x00, 4, 0x15, 0x11, 0x23, 0x20);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(it_shows_binary_and_12_hours_when_asked)
{
    set_up();
    set(0x0b, 0x04);
    expect_time(20, 13, 0x80 | 10, 3, 14, 11, 23, 20);
    set(0x0b, 0x00);
    expect_time(0x20, 0x13, 0x80 | 0x10, 3, 0x14, 0x11, 0x23, 0x20);
    fake_slot_advance(&slot, 2 * 3600 * S);
    ck_assert_uint_eq(get(4), 0x12); /* midnight is 12 AM */
    set(0x0b, 0x06);
    expect_time(20, 13, 0, 4, 15, 11, 23, 20);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(leap_days_and_centuries_are_right)
{
    static const struct {
        uint64_t wall_s;
        unsigned wd, d, mo, y, c;
    } cases[] = {
        {0, 5, 0x01, 0x01, 0x70, 0x19},          {951782400, 3, 0x29, 0x02, 0x00, 0x20},
        {951868800, 4, 0x01, 0x03, 0x00, 0x20},  {1709164800, 5, 0x29, 0x02, 0x24, 0x20},
        {1735603200, 3, 0x31, 0x12, 0x24, 0x20}, {4107456000, 1, 0x28, 0x02, 0x00, 0x21},
        {4107542400, 2, 0x01, 0x03, 0x00, 0x21}, {4102444800, 6, 0x01, 0x01, 0x00, 0x21},
    };

    set_up();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        slot.wall_ns = cases[i].wall_s * S;
        expect_time(0, 0, 0, cases[i].wd, cases[i].d, cases[i].mo, cases[i].y, cases[i].c);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_guest_sets_the_clock_and_it_goes_on_from_there)
{
    set_up();
    set(0x0b, 0x82); /* SET */
    set(0x00, 0x58);
    set(0x02, 0x59);
    set(0x04, 0x23);
    set(0x07, 0x31);
    set(0x08, 0x12);
    set(0x09, 0x99);
    set(0x32, 0x19);
    fake_slot_advance(&slot, 100 * S);
    ck_assert_uint_eq(get(0), 0x58); /* it stands still */
    set(0x0b, 0x02);
    expect_time(0x58, 0x59, 0x23, 6, 0x31, 0x12, 0x99, 0x19);
    fake_slot_advance(&slot, 2 * S);
    expect_time(0x00, 0x00, 0x00, 7, 0x01, 0x01, 0x00, 0x20);
    fake_slot_reset(&slot);
    expect_time(0x00, 0x00, 0x00, 7, 0x01, 0x01, 0x00, 0x20); /* the battery keeps it */
    set(0x02, 0x30);                                          /* without SET, too */
    ck_assert_uint_eq(get(2), 0x30);
    ck_assert_uint_eq(get(4), 0x00);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(twelve_is_midnight_in_the_morning_and_noon_in_the_afternoon)
{
    static const struct {
        unsigned bcd, hour;
    } cases[] = {{0x12, 0}, {0x01, 1}, {0x11, 11}, {0x92, 12}, {0x81, 13}, {0x91, 23}};

    set_up();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set(0x0b, 0x00);
        set(0x0b, 0x80);
        set(0x04, cases[i].bcd);
        set(0x0b, 0x00);
        ck_assert_uint_eq(get(0x04), cases[i].bcd);
        set(0x0b, 0x06);
        ck_assert_uint_eq(get(0x04), cases[i].hour);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(after_the_divider_was_reset_the_next_second_comes_half_a_second_later)
{
    set_up();
    set(0x0a, 0x76);
    set(0x00, 0x10);
    fake_slot_advance(&slot, 5 * S);
    ck_assert_uint_eq(get(0), 0x10);
    set(0x0a, 0x26);
    fake_slot_advance(&slot, 499 * MS);
    ck_assert_uint_eq(get(0), 0x10);
    fake_slot_advance(&slot, 2 * MS);
    ck_assert_uint_eq(get(0), 0x11);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(values_that_are_no_time_break_nothing)
{
    set_up();
    for (unsigned b = 0; b < 8; b += 2) {
        for (unsigned value = 0; value < 256; value += 17) {
            set(0x0b, 0x80 | b);
            for (unsigned at = 0; at < 10; at++) {
                set(at, value);
            }
            set(0x32, value);
            set(0x0b, 0x30 | b);
            fake_slot_advance(&slot, 3 * S);
            (void)get(0x09);
            (void)get(0x0c);
        }
    }
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "time="));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(update_in_progress_shows_shortly_before_the_second)
{
    set_up();
    ck_assert_uint_eq(get(0x0a), 0x26);
    fake_slot_advance(&slot, 997 * MS);
    ck_assert_uint_eq(get(0x0a), 0x26);
    fake_slot_advance(&slot, 1 * MS);
    ck_assert_uint_eq(get(0x0a), 0xa6);
    fake_slot_advance(&slot, 2 * MS);
    ck_assert_uint_eq(get(0x0a), 0x26);
    set(0x0b, 0x82);
    fake_slot_advance(&slot, 998 * MS);
    ck_assert_uint_eq(get(0x0a), 0x26); /* no updates while SET */
    set(0x0b, 0x92);
    ck_assert_uint_eq(get(0x0b), 0x82); /* and no interrupt at their end */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_update_interrupt_comes_each_second_and_reading_c_takes_it)
{
    set_up();
    fake_slot_advance(&slot, 300 * MS);
    (void)get(0x0c);
    set(0x0b, 0x12);
    fake_slot_advance(&slot, 699 * MS);
    ck_assert(!slot.is_high);
    fake_slot_advance(&slot, 1 * MS);
    ck_assert(slot.is_high);
    fake_slot_advance(&slot, 10 * S);
    ck_assert_uint_eq(slot.timer_count, 1); /* nobody takes it: no timer runs */
    ck_assert_uint_eq(get(0x0c) & 0xb0, 0x90);
    ck_assert(!slot.is_high);
    ck_assert_uint_eq(get(0x0c), 0);
    fake_slot_advance(&slot, 1 * S);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(slot.rise_count, 2);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_periodic_interrupt_has_the_rates_of_the_table)
{
    static const uint32_t hertz[] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                     256, 128, 64,  32,   16,   8,    4,    2};

    set_up();
    for (unsigned rate = 0; rate < 16; rate++) {
        unsigned rises;

        set(0x0b, 0x02);
        set(0x0a, 0x20 | rate);
        (void)get(0x0c);
        set(0x0b, 0x42);
        rises = slot.rise_count;
        for (int i = 0; i < 64 * 1024; i++) { /* looks more often than it ticks, for four seconds */
            fake_slot_advance(&slot, 4 * S / (64 * 1024));
            if (slot.is_high) {
                ck_assert_uint_eq(get(0x0c) & 0xe0, 0xc0);
            }
        }
        ck_assert_uint_ge(slot.rise_count - rises + 1, 4 * hertz[rate]);
        ck_assert_uint_le(slot.rise_count - rises, 4 * hertz[rate]);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(flags_show_what_happened_also_without_interrupts)
{
    set_up();
    (void)get(0x0c);
    ck_assert_uint_eq(get(0x0c), 0x00);
    fake_slot_advance(&slot, 2 * MS);
    ck_assert_uint_eq(get(0x0c), 0x40);
    fake_slot_advance(&slot, 1 * S);
    ck_assert_uint_eq(get(0x0c), 0x50);
    ck_assert(!slot.is_high);
    ck_assert_uint_eq(slot.timer_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_alarm_rings_at_its_time_once_a_day)
{
    set_up();
    set(0x01, 0x05);
    set(0x03, 0x15);
    set(0x05, 0x22); /* now: 22:13:20 */
    (void)get(0x0c);
    set(0x0b, 0x22);
    fake_slot_advance(&slot, 104 * S);
    ck_assert(!slot.is_high);
    fake_slot_advance(&slot, 1 * S);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(get(0x0c) & 0xa0, 0xa0);
    fake_slot_advance(&slot, 86399 * S);
    ck_assert(!slot.is_high);
    fake_slot_advance(&slot, 1 * S);
    ck_assert(slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(an_alarm_may_leave_fields_open)
{
    static const struct {
        unsigned s, m, h;
        uint64_t after_s;
    } cases[] = {
        {0xff, 0xff, 0xff, 1},     {0x10, 0xff, 0xff, 50},    {0x00, 0x00, 0xc0, 2800},
        {0x00, 0xff, 0x23, 2800},  {0x19, 0x13, 0xff, 3599},  {0x20, 0x13, 0x22, 86400},
        {0xff, 0x12, 0x22, 86320}, {0xff, 0x13, 0x21, 82780},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set_up();
        set(0x01, cases[i].s);
        set(0x03, cases[i].m);
        set(0x05, cases[i].h);
        set(0x0b, 0x22);
        fake_slot_advance(&slot, cases[i].after_s * S - MS);
        ck_assert(!slot.is_high);
        fake_slot_advance(&slot, MS);
        ck_assert(slot.is_high);
        fake_slot_destroy(&slot);
    }
}
END_TEST

START_TEST(an_alarm_at_no_time_never_rings)
{
    set_up();
    set(0x01, 0x99);
    set(0x03, 0xff);
    set(0x05, 0xff);
    set(0x0b, 0x22);
    fake_slot_advance(&slot, 3 * 86400 * S);
    ck_assert(!slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_switches_interrupts_off_and_keeps_memory_and_time)
{
    set_up();
    set(0x40, 0x5a);
    set(0x0b, 0x7a);
    fake_slot_advance(&slot, 2 * S);
    fake_slot_reset(&slot);
    ck_assert(!slot.is_high);
    ck_assert_uint_eq(get(0x0b), 0x02);
    ck_assert_uint_eq(get(0x0c), 0x00);
    ck_assert_uint_eq(get(0x40), 0x5a);
    ck_assert_uint_eq(slot.deadline_ns, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(every_byte_of_memory_keeps_its_value_and_bit_7_of_the_address_is_no_address)
{
    set_up();
    for (unsigned at = 0x0e; at < 0x80; at++) {
        if (at != 0x32) {
            set(at | 0x80, at ^ 0x55);
        }
    }
    for (unsigned at = 0x0e; at < 0x80; at++) {
        if (at != 0x32) {
            ck_assert_uint_eq(get(at), at ^ 0x55);
        }
    }
    ck_assert_uint_eq(fake_slot_in(&slot, 0, 0), 0xff); /* the address cannot be read */
    set(0x0d, 0);
    ck_assert_uint_eq(get(0x0d), 0x80);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_sizes_of_memory_stand_where_firmware_looks)
{
    set_up(); /* 3 GiB below 4 GiB, 5 GiB above */
    ck_assert_uint_eq(get_size(0x15, 2), 640);
    ck_assert_uint_eq(get_size(0x17, 2), 0xffff);
    ck_assert_uint_eq(get_size(0x30, 2), 0xffff);
    ck_assert_uint_eq(get_size(0x34, 2), (3072 - 16) * 16);
    ck_assert_uint_eq(get_size(0x5b, 3), 5 * 1024 * 16);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(reg_sets_bytes_of_memory_and_none_of_the_clocks_own)
{
    struct vdev_value values[] = {{.number = {0x10, 0x40}}, {.number = {0x7f, 0xff}}};
    static const uint64_t wrong[] = {0x00, 0x0d, 0x32, 0x80, UINT64_MAX};

    ck_assert_int_eq(fake_slot_create(&slot, vdev_mc146818_module, values, 2, NULL, 0), 0);
    ck_assert_uint_eq(get(0x10), 0x40);
    ck_assert_uint_eq(get(0x7f), 0xff);
    fake_slot_destroy(&slot);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        values[1].number[0] = wrong[i];
        ck_assert_int_ne(fake_slot_create(&slot, vdev_mc146818_module, values, 2, NULL, 0), 0);
        ck_assert_ptr_nonnull(strstr(slot.failure, "is not free"));
    }
}
END_TEST

/* Its flag is one bit: what a guest misses is not made up for. */
START_TEST(periods_that_were_missed_are_one_interrupt)
{
    unsigned rises;

    set_up();
    set(0x0a, 0x26); /* 1,024 a second */
    (void)get(0x0c);
    rises = slot.rise_count;
    set(0x0b, 0x42);
    fake_slot_advance(&slot, 10 * S);
    ck_assert_uint_eq(slot.rise_count, rises + 1);
    ck_assert_uint_eq(get(0x0c) & 0xc0, 0xc0);
    ck_assert(!slot.is_high);
    fake_slot_advance(&slot, MS);
    ck_assert_uint_eq(slot.rise_count, rises + 2);
    fake_slot_destroy(&slot);
}
END_TEST

static void save_and_restore(uint64_t pause_ns)
{
    struct fields_writer saved = {0};

    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    slot.now_ns += pause_ns;
    slot.wall_ns += pause_ns;
    fake_slot_reset(&slot);
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    fields_discard(&saved);
}

START_TEST(a_restored_clock_went_on_and_keeps_its_alarm_its_rate_and_its_memory)
{
    set_up();
    set(0x40, 0x5a);
    set(0x01, 0x30);
    set(0x03, 0xff);
    set(0x05, 0xff);
    set(0x0b, 0x22); /* the alarm, at each :30 */
    save_and_restore(5 * S);
    expect_time(0x25, 0x13, 0x22, 3, 0x14, 0x11, 0x23, 0x20);
    ck_assert_uint_eq(get(0x40), 0x5a);
    ck_assert(!slot.is_high);
    fake_slot_advance(&slot, 5 * S);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(get(0x0c) & 0xa0, 0xa0);
    set(0x0a, 0x2f); /* twice a second */
    set(0x0b, 0x42);
    (void)get(0x0c);
    fake_slot_advance(&slot, 400 * MS);
    save_and_restore(7 * S);
    fake_slot_advance(&slot, 90 * MS);
    ck_assert(!slot.is_high);
    fake_slot_advance(&slot, 20 * MS); /* half a second of its own life is over */
    ck_assert(slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(periods_that_a_stranger_saved_as_seen_before_their_time_begin_anew)
{
    struct mc146818 *rtc;
    uint32_t timers;

    set_up();
    set(0x0a, 0x2f);
    set(0x0b, 0x42);
    rtc = slot.device;
    rtc->periodic_seen = (UINT64_C(1) << 50) - 1; /* the next would be at the start again */
    save_and_restore(0);
    timers = slot.timer_count;
    fake_slot_advance(&slot, 600 * MS);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(slot.timer_count, timers + 1);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("mc146818", it_shows_the_hosts_time_in_utc_in_bcd_and_24_hours,
          it_shows_binary_and_12_hours_when_asked, leap_days_and_centuries_are_right,
          a_guest_sets_the_clock_and_it_goes_on_from_there,
          twelve_is_midnight_in_the_morning_and_noon_in_the_afternoon,
          after_the_divider_was_reset_the_next_second_comes_half_a_second_later,
          values_that_are_no_time_break_nothing, update_in_progress_shows_shortly_before_the_second,
          the_update_interrupt_comes_each_second_and_reading_c_takes_it,
          the_periodic_interrupt_has_the_rates_of_the_table,
          flags_show_what_happened_also_without_interrupts, the_alarm_rings_at_its_time_once_a_day,
          an_alarm_may_leave_fields_open, an_alarm_at_no_time_never_rings,
          a_reset_switches_interrupts_off_and_keeps_memory_and_time,
          every_byte_of_memory_keeps_its_value_and_bit_7_of_the_address_is_no_address,
          the_sizes_of_memory_stand_where_firmware_looks,
          reg_sets_bytes_of_memory_and_none_of_the_clocks_own,
          periods_that_were_missed_are_one_interrupt,
          a_restored_clock_went_on_and_keeps_its_alarm_its_rate_and_its_memory,
          periods_that_a_stranger_saved_as_seen_before_their_time_begin_anew)
