/* When an I/O thread coalesces requests, held against guests of whom we know what is best for them.
 */
#include "qvm-worker/vdev/coalesce.h"

#include "tests/unit/unit.h"

#define US UINT64_C(1000)

/* A guest that has up to `depth` requests under way and computes `think_ns` for each, and what a
 * doorbell with an interrupt costs it. */
struct guest {
    uint32_t depth;
    uint64_t think_ns, exits_ns;
    uint64_t now_ns, requests, rounds;
    uint32_t bytes; /* of a request; 0: 4 KiB */
    struct coalesce coalesce;
};

static void do_round(struct guest *guest)
{
    uint64_t delay_ns = coalesce_delay_ns(&guest->coalesce), count = delay_ns / guest->think_ns;

    count = count < guest->depth ? count : guest->depth;
    if (count < 2) { /* now and then the thread is late without a delay, too */
        count = guest->depth > 1 && guest->rounds++ % 8 == 0 ? 2 : 1;
    }
    guest->now_ns += delay_ns > count * guest->think_ns ? delay_ns : count * guest->think_ns;
    guest->now_ns += guest->exits_ns;
    guest->requests += count;
    coalesce_round(&guest->coalesce, guest->now_ns, (uint32_t)count,
                   count * (guest->bytes != 0 ? guest->bytes : 4096));
}

/* How long a request takes, of so many from now on. */
static uint64_t cost_of(struct guest *guest, uint64_t requests)
{
    uint64_t begin_ns = guest->now_ns, begin = guest->requests;

    while (guest->requests - begin < requests) {
        do_round(guest);
    }
    return (guest->now_ns - begin_ns) / (guest->requests - begin);
}

static struct guest make(uint32_t depth, uint64_t think_us, uint64_t exits_us)
{
    return (struct guest){
        .depth = depth, .think_ns = think_us * US, .exits_ns = exits_us * US, .now_ns = US};
}

START_TEST(large_requests_never_wait_for_each_other)
{
    struct guest guest = make(32, 100, 150); /* which delays would help */

    guest.bytes = 1 << 20;
    for (uint32_t i = 0; i < 100; i++) {
        (void)cost_of(&guest, 100);
        ck_assert_uint_eq(coalesce_delay_ns(&guest.coalesce), 0);
    }
}
END_TEST

START_TEST(at_first_there_is_no_delay)
{
    struct coalesce coalesce = {0};

    ck_assert_uint_eq(coalesce_delay_ns(&coalesce), 0);
}
END_TEST

START_TEST(guest_with_many_requests_shares_doorbells_and_interrupts_among_them)
{
    struct guest guest = make(32, 100, 150); /* 250 us for each, without delays */

    (void)cost_of(&guest, 1000);
    ck_assert_uint_lt(cost_of(&guest, 20000), 125 * US);
}
END_TEST

START_TEST(guest_with_one_request_at_a_time_is_never_delayed)
{
    struct guest guest = make(1, 10, 5);

    ck_assert_uint_eq(cost_of(&guest, 200000), 15 * US);
}
END_TEST

START_TEST(guest_that_a_delay_would_only_make_wait_is_hardly_delayed)
{
    struct guest guest = make(4, 100, 5); /* exits cost it nothing */

    ck_assert_uint_le(cost_of(&guest, 200000), 105 * US + 105 * US / 50);
}
END_TEST

START_TEST(guest_that_goes_on_with_one_request_at_a_time_is_noticed_at_once)
{
    struct guest guest = make(32, 100, 150);
    unsigned delays = 0;

    (void)cost_of(&guest, 1000);
    while (coalesce_delay_ns(&guest.coalesce) == 0) {
        do_round(&guest);
    }
    guest.depth = 1;
    while (coalesce_delay_ns(&guest.coalesce) != 0) {
        do_round(&guest);
        delays++;
    }
    ck_assert_uint_le(delays, 5);
}
END_TEST

START_TEST(guest_that_begins_to_have_many_requests_is_noticed_soon)
{
    struct guest guest = make(1, 700, 150);

    (void)cost_of(&guest, 20000); /* trials are rare by then */
    guest.depth = 32;
    guest.think_ns = 100 * US;
    (void)cost_of(&guest, 1000);
    ck_assert_uint_lt(cost_of(&guest, 20000), 125 * US);
}
END_TEST

START_TEST(guest_in_no_hurry_has_no_delay)
{
    struct guest guest = make(32, 5000, 0);

    (void)cost_of(&guest, 10000);
    ck_assert_uint_eq(coalesce_delay_ns(&guest.coalesce), 0);
}
END_TEST

UNIT_MAIN("coalesce", at_first_there_is_no_delay, large_requests_never_wait_for_each_other,
          guest_with_many_requests_shares_doorbells_and_interrupts_among_them,
          guest_with_one_request_at_a_time_is_never_delayed,
          guest_that_a_delay_would_only_make_wait_is_hardly_delayed,
          guest_that_goes_on_with_one_request_at_a_time_is_noticed_at_once,
          guest_that_begins_to_have_many_requests_is_noticed_soon, guest_in_no_hurry_has_no_delay)
