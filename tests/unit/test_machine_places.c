/* Places that no vdev can have. */
#include "qvm-worker/machine/places.h"

#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/memory/memory.h"
#include "tests/unit/unit.h"

static struct err err;
static struct bus *bus;
static struct memory *memory;

static void set_up(void)
{
    const struct memory_range ram[] = {{.size = 16ull << 20, .where = "t:1"},
                                       {true, 4ull << 30, 1ull << 20, "t:2", false}};

    bus = bus_create();
    ck_assert_ptr_nonnull(bus);
    ck_assert_int_eq(memory_create(ram, ARRAY_LEN(ram), &memory, &err), 0);
    ck_assert_int_eq(machine_places_claim(bus, memory, true, false, &err), 0);
}

static void tear_down(void)
{
    bus_destroy(bus);
    memory_destroy(memory);
}

static void on_access(void *device, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write)
{
    (void)device;
    (void)region;
    (void)offset;
    (void)size;
    (void)value;
    (void)is_write;
}

static int add(enum bus_space space, uint64_t start)
{
    return bus_add(bus, space, start, 8, on_access, NULL, 0, "vdev x", &err);
}

START_TEST(a_device_where_kvm_answers_or_nobody_can_is_refused_in_words)
{
    static const struct {
        enum bus_space space;
        uint64_t start;
        const char *words;
    } cases[] = {
        {BUS_MEMORY, 0, "guest RAM (0x0-0x9ffff)"},
        {BUS_MEMORY, 0x9fff9, "guest RAM (0x0-0x9ffff)"},
        {BUS_MEMORY, 0xf0000, "guest RAM (0xe0000-0xfffff)"},
        {BUS_MEMORY, 0xfffff8, "guest RAM (0x100000-0xffffff)"},
        {BUS_MEMORY, 0x100000000, "guest RAM (0x100000000-0x1000fffff)"},
        {BUS_MEMORY, 0xfec00ff9, "the IOAPIC (0xfec00000-0xfec00fff)"},
        {BUS_MEMORY, 0xfeffc000, "KVM (0xfeffc000-0xfeffffff)"},
        {BUS_MEMORY, 0xfeefffff, "the local APICs (0xfee00000-0xfeefffff)"},
        {BUS_MEMORY, 0xffffffffffff9, "no processor (0x10000000000000-0xffffffffffffffff)"},
        {BUS_IO, 0x1f, "the 8259 interrupt controller (0x20-0x21)"},
        {BUS_IO, 0xa1, "the second 8259 interrupt controller (0xa0-0xa1)"},
        {BUS_IO, 0x4d0, "the 8259 interrupt controllers (0x4d0-0x4d1)"},
    };

    set_up();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_int_eq(add(cases[i].space, cases[i].start), -EEXIST);
        ck_assert_msg(strstr(err.msg, cases[i].words) != NULL, "%s", err.msg);
    }
    tear_down();
}
END_TEST

START_TEST(a_device_between_them_is_welcome)
{
    set_up();
    ck_assert_int_eq(add(BUS_MEMORY, 0xa0000), 0);
    ck_assert_int_eq(add(BUS_MEMORY, 0xbfff8), 0);
    ck_assert_int_eq(add(BUS_MEMORY, 0x1000000), 0);
    ck_assert_int_eq(add(BUS_MEMORY, 0xfec01000), 0);
    ck_assert_int_eq(add(BUS_MEMORY, 0xffffffff8), 0);
    ck_assert_int_eq(add(BUS_MEMORY, 0xffffffffffff8), 0);
    ck_assert_int_eq(add(BUS_IO, 0x22), 0);
    tear_down();
}
END_TEST

START_TEST(where_nobody_answers_reads_are_all_ones_and_writes_are_lost)
{
    uint8_t data[4] = {0};

    set_up();
    (void)bus_access(bus, BUS_MEMORY, 0xfee00020, data, sizeof(data), false);
    for (size_t i = 0; i < sizeof(data); i++) {
        ck_assert_uint_eq(data[i], 0xff);
    }
    (void)bus_access(bus, BUS_MEMORY, 0xfee00020, data, sizeof(data), true);
    tear_down();
}
END_TEST

UNIT_MAIN("machine places", a_device_where_kvm_answers_or_nobody_can_is_refused_in_words,
          a_device_between_them_is_welcome,
          where_nobody_answers_reads_are_all_ones_and_writes_are_lost)
