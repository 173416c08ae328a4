/* A guest that resets in a loop is slowed down; one that reboots is not. */
#include "qvm-worker/control/reset_pace.h"

#include "tests/unit/unit.h"

START_TEST(a_few_resets_come_at_once_and_the_next_one_waits)
{
    struct reset_pace pace = {0};

    for (unsigned i = 0; i < RESET_PACE_BURST; i++) {
        ck_assert_uint_eq(reset_pace_wait_ms(&pace, 5000), 0);
    }
    ck_assert_uint_eq(reset_pace_wait_ms(&pace, 5000), RESET_PACE_MS);
    ck_assert_uint_eq(reset_pace_wait_ms(&pace, 5999), 1);
    ck_assert_uint_eq(reset_pace_wait_ms(&pace, 6000), 0);
    ck_assert_uint_eq(reset_pace_wait_ms(&pace, 6000), RESET_PACE_MS);
}
END_TEST

START_TEST(quiet_time_gives_the_burst_back_and_no_more)
{
    struct reset_pace pace = {0};

    for (unsigned i = 0; i < RESET_PACE_BURST; i++) {
        ck_assert_uint_eq(reset_pace_wait_ms(&pace, 0), 0);
    }
    for (unsigned i = 0; i < RESET_PACE_BURST; i++) {
        ck_assert_uint_eq(reset_pace_wait_ms(&pace, 1000000), 0);
    }
    ck_assert_uint_eq(reset_pace_wait_ms(&pace, 1000000), RESET_PACE_MS);
}
END_TEST

START_TEST(one_reset_a_second_never_waits)
{
    struct reset_pace pace = {0};

    for (uint64_t now = 0; now < 100 * RESET_PACE_MS; now += RESET_PACE_MS) {
        ck_assert_uint_eq(reset_pace_wait_ms(&pace, now), 0);
    }
}
END_TEST

UNIT_MAIN("reset pace", a_few_resets_come_at_once_and_the_next_one_waits,
          quiet_time_gives_the_burst_back_and_no_more, one_reset_a_second_never_waits)
