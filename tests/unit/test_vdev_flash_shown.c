/* Flash that is read as memory. */
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

#define SIZE (128u << 10)

extern const struct vdev_module *const vdev_flash_module;

static struct vdev_slot slot;

static void set_up(void)
{
    struct vdev_region region = {VDEV_SPACE_MEMORY, 0xffe00000, SIZE};
    struct vdev_config config = {.regions = &region, .region_count = 1, .intr_count = 1};

    memset(&slot, 0, sizeof(slot));
    ck_assert_int_eq(fake_slot_build(&slot, vdev_flash_module, &config), 0);
}

static void give(uint64_t at, unsigned value)
{
    fake_slot_out(&slot, 0, at, (uint8_t)value);
}

static uint8_t take(uint64_t at)
{
    return fake_slot_in(&slot, 0, at);
}

static void program(uint64_t at, unsigned value)
{
    give(at, 0x10);
    give(at, value);
}

START_TEST(who_reads_for_a_while_reads_memory_until_the_first_command)
{
    set_up();
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < 63; i++) {
            ck_assert_uint_eq(take(i), i < 8 && round > 1 ? 0x5a : 0xff);
            ck_assert_ptr_null(slot.shown);
        }
        (void)take(1000);
        ck_assert_ptr_nonnull(slot.shown);
        ck_assert_uint_eq(slot.shown_size, SIZE);
        ck_assert_uint_eq(((const uint8_t *)slot.shown)[3], round > 1 ? 0x5a : 0xff);
        give(0, 0xff); /* reads the array, as before */
        ck_assert_ptr_nonnull(slot.shown);
        for (unsigned i = 0; i < 8; i++) {
            program(i, 0x5a);
            ck_assert_ptr_null(slot.shown); /* its status is read there */
            ck_assert_uint_eq(take(i), 0x80);
        }
        give(0, 0xff);
        ck_assert_ptr_null(slot.shown);
    }
    ck_assert_uint_eq(slot.show_count, 6);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_is_shown_stays_over_a_reset_and_goes_with_another_mode)
{
    set_up();
    for (unsigned i = 0; i < 64; i++) {
        (void)take(i);
    }
    fake_slot_reset(&slot);
    ck_assert_ptr_nonnull(slot.shown);
    give(0, 0x90); /* its identity */
    ck_assert_ptr_null(slot.shown);
    ck_assert_uint_eq(take(0), 0x89);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_host_that_shows_nothing_answers_each_read)
{
    set_up();
    slot.refuses_memory = true;
    for (unsigned i = 0; i < 1000; i++) {
        ck_assert_uint_eq(take(i), 0xff);
    }
    program(5, 0x11);
    give(0, 0xff);
    ck_assert_uint_eq(take(5), 0x11);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("flash that is read as memory",
          who_reads_for_a_while_reads_memory_until_the_first_command,
          what_is_shown_stays_over_a_reset_and_goes_with_another_mode,
          a_host_that_shows_nothing_answers_each_read)
