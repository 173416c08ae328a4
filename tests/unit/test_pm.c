/* ACPI's fixed hardware, register by register. Sections are of ACPI 6.5. */
#include "qvm-worker/machine/pm.h"

#include <string.h>

#include "qvm-worker/bus/bus.h"
#include "tests/unit/unit.h"

static struct bus *bus;
static struct pm *pm;
static uint64_t clock_ns, deadline_ns;
static unsigned off_count, holders;

static void on_off(void *context)
{
    (void)context;
    off_count++;
}

static void on_line(void *context, uint32_t gsi, bool is_held)
{
    (void)context;
    ck_assert_uint_eq(gsi, 9);
    holders += is_held ? 1u : -1u;
}

static uint64_t now_ns(void *context)
{
    (void)context;
    return clock_ns;
}

static void on_timer(void *context, uint64_t at_ns)
{
    (void)context;
    deadline_ns = at_ns;
}

static void setup(void)
{
    static const struct pm_ops ops = {on_off, on_line, now_ns, on_timer};

    bus = bus_create();
    pm = pm_create(bus, &ops, NULL);
    pm_place(pm, 0x600);
}

static void teardown(void)
{
    pm_destroy(pm);
    bus_destroy(bus);
}

static uint32_t in(uint16_t port, uint32_t size)
{
    uint8_t data[4] = {0};
    uint32_t value;

    (void)bus_access(bus, BUS_IO, port, data, size, false);
    memcpy(&value, data, sizeof(value));
    return value;
}

static void out(uint16_t port, uint32_t size, uint32_t value)
{
    uint8_t data[4];

    memcpy(data, &value, sizeof(data));
    (void)bus_access(bus, BUS_IO, port, data, size, true);
}

START_TEST(button_interrupts_while_it_is_enabled_and_not_cleared_4_8_3_2_2)
{
    pm_press(pm);
    ck_assert_uint_eq(holders, 0);
    ck_assert_uint_eq(in(0x600, 2), 0x100);
    out(0x602, 2, 0x100);
    ck_assert_uint_eq(holders, 1);
    out(0x600, 2, 0x20); /* another bit */
    ck_assert_uint_eq(holders, 1);
    out(0x600, 2, 0x100);
    ck_assert_uint_eq(holders, 0);
    ck_assert_uint_eq(in(0x600, 4), 0x01000000);
    pm_press(pm);
    pm_press(pm);
    ck_assert_uint_eq(holders, 1);
    out(0x603, 1, 0);
    ck_assert_uint_eq(holders, 0);
}
END_TEST

START_TEST(clock_interrupts_as_the_button_does_4_8_3_1_1)
{
    pm_ring(pm);
    ck_assert_uint_eq(holders, 0);
    ck_assert_uint_eq(in(0x600, 2), 0x400);
    out(0x602, 2, 0x400);
    ck_assert_uint_eq(holders, 1);
    pm_press(pm); /* not enabled */
    out(0x600, 2, 0x100);
    ck_assert_uint_eq(holders, 1);
    out(0x600, 2, 0x400);
    ck_assert_uint_eq(holders, 0);
    pm_ring(pm);
    ck_assert_uint_eq(holders, 1);
    pm_reset(pm);
    ck_assert_uint_eq(holders, 0);
    ck_assert_uint_eq(in(0x600, 4), 0);
}
END_TEST

START_TEST(guest_sleeps_for_good_by_type_5_and_its_enable_bit_4_8_4_2)
{
    ck_assert_uint_eq(in(0x604, 2), 1); /* ACPI mode */
    out(0x604, 2, 0x2000 | 3 << 10);
    ck_assert_uint_eq(off_count, 0);
    out(0x604, 2, 5 << 10);
    ck_assert_uint_eq(off_count, 0);
    ck_assert_uint_eq(in(0x604, 2), 1 | 5 << 10);
    out(0x604, 2, 0x2000 | 5 << 10);
    ck_assert_uint_eq(off_count, 1);
    ck_assert_uint_eq(in(0x604, 2), 1 | 5 << 10); /* the enable bit reads 0 */
    out(0x604, 2, 0);
    ck_assert_uint_eq(in(0x604, 2), 1); /* the mode cannot be left */
}
END_TEST

START_TEST(firmware_switches_off_by_type_0)
{
    out(0x604, 2, 0);
    ck_assert_uint_eq(off_count, 0);
    out(0x604, 2, 0x2000);
    ck_assert_uint_eq(off_count, 1);
}
END_TEST

START_TEST(timer_counts_24_bits_at_3_579545_mhz_4_8_3_3)
{
    ck_assert_uint_eq(in(0x608, 4), 0);
    clock_ns = 1000000000;
    ck_assert_uint_eq(in(0x608, 4), 3579545);
    clock_ns = 1000000000000000; /* eleven days */
    ck_assert_uint_eq(in(0x608, 4), 3579545000000 & 0xffffff);
    out(0x608, 4, 0);
    ck_assert_uint_eq(in(0x608, 4), 3579545000000 & 0xffffff);
}
END_TEST

START_TEST(timer_status_is_set_when_its_highest_bit_changes_4_8_4_1_1)
{
    ck_assert_uint_eq(in(0x600, 2), 0);
    clock_ns = 2400000000; /* half of its range is 2.34 s */
    ck_assert_uint_eq(in(0x600, 2), 1);
    out(0x600, 2, 1);
    ck_assert_uint_eq(in(0x600, 2), 0);
    clock_ns = 4700000000;
    ck_assert_uint_eq(in(0x600, 2), 1);
}
END_TEST

START_TEST(timer_interrupts_when_its_highest_bit_changes_and_it_may_4_8_4_1_1)
{
    ck_assert_uint_eq(deadline_ns, 0);
    out(0x602, 2, 1);
    ck_assert_uint_eq(deadline_ns, 2343484438); /* 2^23 / 3.579545 MHz */
    clock_ns = deadline_ns - 1;
    pm_tick(pm);
    ck_assert_uint_eq(holders, 0);
    clock_ns = deadline_ns;
    pm_tick(pm);
    ck_assert_uint_eq(holders, 1);
    ck_assert_uint_eq(deadline_ns, 0); /* its status stays set until it is cleared */
    out(0x600, 2, 1);
    ck_assert_uint_eq(holders, 0);
    ck_assert_uint_eq(deadline_ns, 4686968875);
    out(0x602, 2, 0);
    ck_assert_uint_eq(deadline_ns, 0);
    clock_ns = 4700000000;
    pm_tick(pm);
    ck_assert_uint_eq(holders, 0);
    out(0x602, 2, 1); /* enabled when it is set already */
    ck_assert_uint_eq(holders, 1);
    pm_reset(pm);
    ck_assert_uint_eq(holders, 0);
    ck_assert_uint_eq(in(0x600, 4), 0);
}
END_TEST

START_TEST(general_purpose_events_never_come_4_8_4_3)
{
    out(0x620, 4, 0xffffffff);
    out(0x628, 4, 0xffffffff);
    ck_assert_uint_eq(in(0x620, 4), 0);
    ck_assert_uint_eq(in(0x628, 4), 0xffffffff);
    ck_assert_uint_eq(holders, 0);
}
END_TEST

START_TEST(registers_move_and_a_reset_leaves_them_there)
{
    pm_press(pm);
    out(0x602, 2, 0x100);
    pm_place(pm, 0xb000);
    ck_assert_ptr_null(bus_owner(bus, BUS_IO, 0x600));
    ck_assert_uint_eq(in(0xb000, 2), 0x100);
    pm_reset(pm);
    ck_assert_uint_eq(holders, 0);
    ck_assert_uint_eq(in(0xb000, 4), 0);
    ck_assert_uint_eq(in(0xb004, 2), 1);
    pm_place(pm, 0);
    ck_assert_ptr_null(bus_owner(bus, BUS_IO, 0xb000));
}
END_TEST

UNIT_MAIN_WITH("pm", setup, teardown,
               button_interrupts_while_it_is_enabled_and_not_cleared_4_8_3_2_2,
               clock_interrupts_as_the_button_does_4_8_3_1_1,
               guest_sleeps_for_good_by_type_5_and_its_enable_bit_4_8_4_2,
               firmware_switches_off_by_type_0, timer_counts_24_bits_at_3_579545_mhz_4_8_3_3,
               timer_status_is_set_when_its_highest_bit_changes_4_8_4_1_1,
               timer_interrupts_when_its_highest_bit_changes_and_it_may_4_8_4_1_1,
               general_purpose_events_never_come_4_8_4_3,
               registers_move_and_a_reset_leaves_them_there)
