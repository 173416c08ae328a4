/* Who comes after whom: chains, rings, and names that there are not. */
#include "daemon/guest/order.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

static char db[] = "db", net[] = "net", web[] = "web", nobody[] = "nobody";
static char *after_db[] = {db}, *after_net[] = {net}, *after_web[] = {web};
static char *after_both[] = {db, net}, *after_nobody[] = {nobody};

#define AFTER(list) .after = (list), .after_count = ARRAY_LEN(list)

START_TEST(a_chain_and_a_diamond_are_fine)
{
    const struct order_guest guests[] = {
        {.name = "db", AFTER(after_net)}, {.name = "net"}, {.name = "web", AFTER(after_both)}};

    for (size_t i = 0; i < ARRAY_LEN(guests); i++) {
        ck_assert_int_eq(order_check(guests, ARRAY_LEN(guests), i, NULL), 0);
    }
}
END_TEST

START_TEST(a_guest_does_not_come_after_itself)
{
    const struct order_guest guests[] = {{.name = "db", AFTER(after_db)}};
    struct err err = {0};

    ck_assert_int_eq(order_check(guests, 1, 0, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "guest 'db' would come after itself");
}
END_TEST

START_TEST(a_ring_is_refused_and_all_of_it_is_named)
{
    const struct order_guest guests[] = {{.name = "db", AFTER(after_net)},
                                         {.name = "net", AFTER(after_web)},
                                         {.name = "web", AFTER(after_db)}};
    struct err err = {0};

    ck_assert_int_eq(order_check(guests, ARRAY_LEN(guests), 0, &err), -EINVAL);
    ck_assert_str_eq(err.msg,
                     "guest 'db' would come after itself: 'web' comes after it, 'net' after that");
}
END_TEST

START_TEST(a_ring_of_others_is_not_this_guest_s_fault_and_does_not_hang_the_check)
{
    const struct order_guest guests[] = {{.name = "db", AFTER(after_net)},
                                         {.name = "net", AFTER(after_db)},
                                         {.name = "web", AFTER(after_both)}};

    ck_assert_int_eq(order_check(guests, ARRAY_LEN(guests), 2, NULL), 0);
}
END_TEST

START_TEST(a_name_that_there_is_not_is_refused_where_it_is_set_and_borne_elsewhere)
{
    const struct order_guest guests[] = {{.name = "db", AFTER(after_nobody)},
                                         {.name = "web", AFTER(after_db)}};
    struct err err = {0};

    ck_assert_int_eq(order_check(guests, 2, 0, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "there is no guest 'nobody' to come after");
    ck_assert_int_eq(order_check(guests, 2, 1, NULL), 0);
}
END_TEST

START_TEST(a_long_ring_is_told_as_far_as_there_is_room)
{
    enum { COUNT = 1000 };
    static char names[COUNT][64];
    static char *after[COUNT][1];
    static struct order_guest guests[COUNT];
    struct err err = {0};

    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "g%059zu", i);
        after[i][0] = names[(i + 1) % COUNT];
        guests[i] = (struct order_guest){.name = names[i], AFTER(after[i])};
    }
    ck_assert_int_eq(order_check(guests, COUNT, 0, &err), -EINVAL);
    ck_assert_uint_gt(strlen(err.msg), 500);
}
END_TEST

UNIT_MAIN("order", a_chain_and_a_diamond_are_fine, a_guest_does_not_come_after_itself,
          a_ring_is_refused_and_all_of_it_is_named,
          a_ring_of_others_is_not_this_guest_s_fault_and_does_not_hang_the_check,
          a_name_that_there_is_not_is_refused_where_it_is_set_and_borne_elsewhere,
          a_long_ring_is_told_as_far_as_there_is_room)
