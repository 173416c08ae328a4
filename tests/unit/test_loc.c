/* Places and interrupts as the words of a configuration name them. */
#include "qvm-worker/loc.h"

#include <errno.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

START_TEST(ports_and_addresses_are_hexadecimal_and_lengths_decimal)
{
    struct loc loc = {0};

    ck_assert_int_eq(loc_parse("io:3f8,8", &loc, NULL), 0);
    ck_assert_int_eq(loc.kind, LOC_IO);
    ck_assert_uint_eq(loc.start, 0x3f8);
    ck_assert_uint_eq(loc.size, 8);
    ck_assert_int_eq(loc_parse("mem:fed00000,1K", &loc, NULL), 0);
    ck_assert_int_eq(loc.kind, LOC_MEMORY);
    ck_assert_uint_eq(loc.start, 0xfed00000);
    ck_assert_uint_eq(loc.size, 1024);
    ck_assert_int_eq(loc_parse("mem:0d4096", &loc, NULL), 0);
    ck_assert_uint_eq(loc.start, 4096);
    ck_assert(!loc.has_size);
    ck_assert_int_eq(loc_parse("io:ffff,1", &loc, NULL), 0);
}
END_TEST

START_TEST(a_place_on_pci_may_leave_out_bus_and_function_or_all)
{
    struct loc loc = {0};

    ck_assert_int_eq(loc_parse("pci:", &loc, NULL), 0);
    ck_assert_int_eq(loc.kind, LOC_PCI);
    ck_assert(!loc.pci.has_device && !loc.pci.has_function);
    ck_assert_int_eq(loc_parse("pci:3", &loc, NULL), 0);
    ck_assert(loc.pci.has_device && !loc.pci.has_function);
    ck_assert_uint_eq(loc.pci.device, 3);
    ck_assert_int_eq(loc_parse("pci:31.7", &loc, NULL), 0);
    ck_assert_uint_eq(loc.pci.device, 31);
    ck_assert_uint_eq(loc.pci.function, 7);
    ck_assert_int_eq(loc_parse("pci:255:0x1f.0", &loc, NULL), 0);
    ck_assert_uint_eq(loc.pci.bus, 255);
    ck_assert_uint_eq(loc.pci.device, 31);
    ck_assert(loc.pci.has_function);
}
END_TEST

START_TEST(a_place_that_is_none_is_refused_and_changes_nothing)
{
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"", -EINVAL},          {"500", -EINVAL},       {"io:", -EINVAL},
        {"io:10000", -ERANGE},  {"io:ffff,2", -ERANGE}, {"io:1,0", -ERANGE},
        {"mem:1,", -EINVAL},    {"mem:x,1", -EINVAL},   {"mem:ffffffffffffffff,2", -ERANGE},
        {"pci:256:0", -ERANGE}, {"pci:0:32", -ERANGE},  {"pci:0:1.8", -ERANGE},
        {"pci:0:1.", -EINVAL},  {"pci::1", -EINVAL},    {"pci:0:", -EINVAL},
        {"pci:1f", -EINVAL},    {"pci:1:2:3", -EINVAL}, {"pci:1.2.3", -EINVAL},
    };
    struct loc loc = {.kind = LOC_IO, .start = 42};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};

        ck_assert_msg(loc_parse(cases[i].text, &loc, &err) == cases[i].code, "%s: %s",
                      cases[i].text, err.msg);
        ck_assert_int_eq(err.code, cases[i].code);
        ck_assert_uint_eq(loc.start, 42);
    }
}
END_TEST

START_TEST(an_interrupt_is_a_line_of_a_controller_or_the_local_apic)
{
    struct intr intr = {0};

    ck_assert_int_eq(intr_parse("apic", &intr, NULL), 0);
    ck_assert_int_eq(intr.kind, INTR_APIC);
    ck_assert_int_eq(intr_parse("my-pic:0x10", &intr, NULL), 0);
    ck_assert_int_eq(intr.kind, INTR_LINE);
    ck_assert_str_eq(intr.pic, "my-pic");
    ck_assert_uint_eq(intr.line, 16);
    ck_assert_int_eq(intr_parse("8259:0d65535", &intr, NULL), 0);
    ck_assert_uint_eq(intr.line, 65535);
}
END_TEST

START_TEST(an_interrupt_that_is_none_is_refused)
{
    static const char long_name[] =
        "a123456789a123456789a123456789a123456789a123456789a123456789a123:1";
    static const char *const cases[] = {
        "", ":4", "4", "ioapic", "ioapic:", "ioapic:one", "ioapic:65536", long_name};
    struct intr intr = {.line = 42};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};

        ck_assert_msg(intr_parse(cases[i], &intr, &err) < 0, "%s", cases[i]);
        ck_assert_int_ne(err.code, 0);
        ck_assert_uint_eq(intr.line, 42);
    }
}
END_TEST

UNIT_MAIN("loc", ports_and_addresses_are_hexadecimal_and_lengths_decimal,
          a_place_on_pci_may_leave_out_bus_and_function_or_all,
          a_place_that_is_none_is_refused_and_changes_nothing,
          an_interrupt_is_a_line_of_a_controller_or_the_local_apic,
          an_interrupt_that_is_none_is_refused)
