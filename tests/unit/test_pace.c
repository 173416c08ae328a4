/* So many at once, then one each while. */
#include "proto/base/pace.h"

#include "tests/unit/unit.h"

#define BURST  3u
#define GAP_MS 10u

static struct pace pace;

static void set_up(void)
{
    pace = (struct pace){0};
}

static unsigned take_all(uint64_t now_ms)
{
    unsigned taken = 0;

    while (taken <= BURST && pace_take(&pace, now_ms, BURST, GAP_MS)) {
        taken++;
    }
    return taken;
}

START_TEST(so_many_are_taken_at_once_and_no_more)
{
    ck_assert_uint_eq(take_all(1000), BURST);
    ck_assert_uint_eq(take_all(1000 + GAP_MS - 1), 0);
}
END_TEST

START_TEST(each_gap_lets_one_more_through)
{
    (void)take_all(1000);
    ck_assert_uint_eq(take_all(1000 + GAP_MS), 1);
    ck_assert_uint_eq(take_all(1000 + 3 * GAP_MS), 2);
}
END_TEST

START_TEST(what_is_left_of_a_gap_counts_for_the_next)
{
    (void)take_all(1000);
    ck_assert_uint_eq(take_all(1000 + GAP_MS + GAP_MS / 2), 1);
    ck_assert_uint_eq(take_all(1000 + 2 * GAP_MS), 1);
}
END_TEST

START_TEST(a_long_pause_saves_up_no_more_than_a_burst)
{
    (void)take_all(1000);
    ck_assert_uint_eq(take_all(1000 + 1000 * GAP_MS), BURST);
    ck_assert_uint_eq(take_all(1000 + 1000 * GAP_MS), 0);
}
END_TEST

UNIT_MAIN_WITH("pace", set_up, NULL, so_many_are_taken_at_once_and_no_more,
               each_gap_lets_one_more_through, what_is_left_of_a_gap_counts_for_the_next,
               a_long_pause_saves_up_no_more_than_a_burst)
