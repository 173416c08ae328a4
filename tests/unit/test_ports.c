/* Ports of the host: who has them already, as /proc/ioports tells. */
#include "qvm-worker/ports/ports.h"
#include "tests/unit/unit.h"

static const char text[] = "0000-0cf7 : PCI Bus 0000:00\n"
                           "  0000-001f : dma1\n"
                           "  03f8-03ff : serial\n"
                           "0cf8-0cff : PCI conf1\n"
                           "0d00-ffff : PCI Bus 0000:00\n"
                           "  c040-c05f : 0000:00:03.0\n";
static char holder[16];

static int find(uint16_t start, uint32_t size)
{
    holder[0] = '\0';
    return ports_find_holder(text, start, size, holder, sizeof(holder));
}

START_TEST(ports_in_a_window_that_nobody_has_are_free)
{
    ck_assert_int_eq(find(0x20, 0x10), 0);
    ck_assert_int_eq(find(0x3f0, 8), 0);
    ck_assert_int_eq(find(0x400, 1), 0);
    ck_assert_int_eq(find(0xffff, 1), 0);
}
END_TEST

START_TEST(who_has_one_of_them_is_named)
{
    ck_assert_int_eq(find(0x3f1, 8), 1);
    ck_assert_str_eq(holder, "serial");
    ck_assert_int_eq(find(0x3ff, 1), 1);
    ck_assert_int_eq(find(0x1f, 1), 1);
    ck_assert_str_eq(holder, "dma1");
    ck_assert_int_eq(find(0xcfc, 4), 1);
    ck_assert_str_eq(holder, "PCI conf1");
    ck_assert_int_eq(find(0xc000, 0x41), 1);
    ck_assert_str_eq(holder, "0000:00:03.0"); /* a function is given as a whole */
    ck_assert_int_eq(find(0, 0x10000), 1);
}
END_TEST

UNIT_MAIN("ports", ports_in_a_window_that_nobody_has_are_free, who_has_one_of_them_is_named)
