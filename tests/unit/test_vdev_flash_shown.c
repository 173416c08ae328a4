/* Flash that is read as memory. */
#include "tests/unit/flash_unit.h"

static void set_up(void)
{
    memset(&slot, 0, sizeof(slot));
    ck_assert_int_eq(build(SIZE), 0);
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
