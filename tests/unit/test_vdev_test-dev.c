/* The device for bare-metal tests. */
#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_test_dev_module;

#define PORTS  0u
#define LINES  1u
#define MEMORY 2u

static struct vdev_slot slot;

static void set_up(void)
{
    ck_assert_int_eq(fake_slot_create(&slot, vdev_test_dev_module, NULL, 0, NULL, 0), 0);
}

static uint64_t get(uint32_t region, uint64_t offset, uint32_t size)
{
    return slot.module->ops->read(slot.device, region, offset, size);
}

static void put(uint32_t region, uint64_t offset, uint32_t size, uint64_t value)
{
    slot.module->ops->write(slot.device, region, offset, size, value);
}

START_TEST(ports_echo_what_was_written_in_each_width_and_at_both_places)
{
    set_up();
    put(PORTS, 0, 4, 0x12345678);
    ck_assert_uint_eq(get(PORTS, 0, 4), 0x12345678);
    ck_assert_uint_eq(get(PORTS, 1, 2), 0x3456);
    ck_assert_uint_eq(get(PORTS, 8, 4), 0x12345678);
    put(PORTS, 9, 1, 0xaa);
    ck_assert_uint_eq(get(PORTS, 0, 4), 0x1234aa78);
    put(PORTS, 4, 4, 0x1000); /* a page to be mapped anew */
    ck_assert_uint_eq(get(PORTS, 0, 4), 0x1234aa78);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(each_of_24_ports_is_an_interrupt_line)
{
    set_up();
    for (uint32_t line = 0; line < 24; line++) {
        put(LINES, line, 1, 1);
        for (uint32_t other = 0; other < 24; other++) {
            ck_assert_int_eq(slot.lines[other], other == line);
        }
        ck_assert_uint_eq(get(LINES, line, 1), 1);
        put(LINES, line, 1, 0);
        ck_assert(!slot.lines[line]);
    }
    put(LINES, 20, 4, 0x01010101);
    ck_assert(slot.lines[20] && slot.lines[21] && slot.lines[22] && slot.lines[23]);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(memory_keeps_64_kib_in_each_width)
{
    set_up();
    put(MEMORY, 0, 8, 0x1122334455667788);
    put(MEMORY, 0xfff8, 8, 0xffeeddccbbaa9988);
    ck_assert_uint_eq(get(MEMORY, 0, 8), 0x1122334455667788);
    ck_assert_uint_eq(get(MEMORY, 3, 2), 0x4455);
    ck_assert_uint_eq(get(MEMORY, 0xffff, 1), 0xff);
    fake_slot_reset(&slot);
    ck_assert_uint_eq(get(MEMORY, 0, 8), 0);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("test-dev", ports_echo_what_was_written_in_each_width_and_at_both_places,
          each_of_24_ports_is_an_interrupt_line, memory_keeps_64_kib_in_each_width)
