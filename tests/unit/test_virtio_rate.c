/* A token bucket, by a clock of the test's own. */
#include "vdevs/virtio/rate.h"

#include "tests/unit/unit.h"

#define SECOND UINT64_C(1000000000)
#define BEGIN  (1000 * SECOND)

/* How many takes of `amount` there are from `now_ns` on in a second, each as early as it may be. */
static unsigned takes_of_a_second(struct rate *rate, uint64_t now_ns, uint32_t amount)
{
    uint64_t end_ns = now_ns + SECOND;
    unsigned count = 0;

    while ((now_ns += rate_wait_ns(rate, now_ns)) < end_ns) {
        rate_take(rate, now_ns, amount);
        count++;
    }
    return count;
}

START_TEST(no_bound_means_no_wait)
{
    struct rate rate = {0};

    for (unsigned i = 0; i < 100; i++) {
        rate_take(&rate, BEGIN, UINT32_MAX);
        ck_assert_uint_eq(rate_wait_ns(&rate, BEGIN), 0);
    }
}
END_TEST

START_TEST(first_second_has_a_burst_more_and_the_others_what_was_said)
{
    struct rate rate = {.per_second = 1000};

    ck_assert_uint_eq(takes_of_a_second(&rate, BEGIN, 1), 1100);
    ck_assert_uint_eq(takes_of_a_second(&rate, BEGIN + SECOND, 1), 1000);
    ck_assert_uint_eq(takes_of_a_second(&rate, BEGIN + 2 * SECOND, 1), 1000);
}
END_TEST

START_TEST(time_in_which_nothing_happened_is_not_saved_up)
{
    struct rate rate = {.per_second = 1000};

    (void)takes_of_a_second(&rate, BEGIN, 1);
    ck_assert_uint_eq(takes_of_a_second(&rate, BEGIN + 3600 * SECOND, 1), 1100);
}
END_TEST

START_TEST(what_is_larger_than_a_second_has_is_paid_for_afterwards)
{
    struct rate rate = {.per_second = 1 << 20};

    ck_assert_uint_eq(rate_wait_ns(&rate, BEGIN), 0);
    rate_take(&rate, BEGIN, 8 << 20);
    ck_assert_uint_eq(rate_wait_ns(&rate, BEGIN), 8 * SECOND - RATE_BURST_NS);
    ck_assert_uint_eq(rate_wait_ns(&rate, BEGIN + 8 * SECOND), 0);
}
END_TEST

START_TEST(largest_request_of_the_smallest_rate_does_not_overflow)
{
    struct rate rate = {.per_second = 1};

    rate_take(&rate, BEGIN, UINT32_MAX);
    ck_assert_uint_eq(rate_wait_ns(&rate, BEGIN), UINT32_MAX * SECOND - RATE_BURST_NS);
}
END_TEST

UNIT_MAIN("virtio_rate", no_bound_means_no_wait,
          first_second_has_a_burst_more_and_the_others_what_was_said,
          time_in_which_nothing_happened_is_not_saved_up,
          what_is_larger_than_a_second_has_is_paid_for_afterwards,
          largest_request_of_the_smallest_rate_does_not_overflow)
