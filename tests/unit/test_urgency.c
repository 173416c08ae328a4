/* For how long qvmd comes before all others: every clock. */
#include "daemon/urgency.h"

#include "proto/base/cleanup.h"
#include "tests/unit/unit.h"

#define SECOND 1000000

START_TEST(who_uses_little_is_always_urgent)
{
    struct urgency_budget budget = {.left_us = URGENCY_BURST_US};

    for (uint64_t us = 0; us < UINT64_C(1000) * SECOND; us += SECOND / 100) {
        ck_assert(urgency_judge(&budget, us, us / URGENCY_SHARE));
    }
}
END_TEST

START_TEST(a_burst_is_had_at_once_and_no_more)
{
    struct urgency_budget budget = {.left_us = URGENCY_BURST_US};

    ck_assert(urgency_judge(&budget, 0, URGENCY_BURST_US - 1));
    ck_assert(!urgency_judge(&budget, 0, URGENCY_BURST_US));
}
END_TEST

START_TEST(who_used_too_much_is_urgent_again_after_a_while_without)
{
    struct urgency_budget budget = {.left_us = URGENCY_BURST_US};
    uint64_t used_us = UINT64_C(3600) * SECOND, now_us = used_us;

    ck_assert(!urgency_judge(&budget, now_us, used_us)); /* an hour of it is not held against him */
    now_us += (uint64_t)URGENCY_BURST_US * URGENCY_SHARE;
    ck_assert(!urgency_judge(&budget, now_us, used_us));
    now_us += (uint64_t)URGENCY_BURST_US / 2 * URGENCY_SHARE;
    ck_assert(!urgency_judge(&budget, now_us, used_us));
    ck_assert(urgency_judge(&budget, now_us + URGENCY_SHARE, used_us));
}
END_TEST

START_TEST(a_flood_is_urgent_for_its_share_of_the_time_at_most)
{
    struct urgency_budget budget = {.left_us = URGENCY_BURST_US};
    uint64_t urgent = 0;

    for (uint64_t ms = 1; ms <= 100000; ms++) { /* the whole of a CPU */
        urgent += urgency_judge(&budget, ms * 1000, ms * 1000);
    }
    ck_assert_uint_le(urgent, 100000 / URGENCY_SHARE + URGENCY_BURST_US / 1000 * 2);
}
END_TEST

UNIT_MAIN("urgency", who_uses_little_is_always_urgent, a_burst_is_had_at_once_and_no_more,
          who_used_too_much_is_urgent_again_after_a_while_without,
          a_flood_is_urgent_for_its_share_of_the_time_at_most)
