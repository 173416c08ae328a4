/* What qvmd may answer to an ask: all of it, once, with the descriptors that belong to it. */
#include "qvm-worker/control/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"
#include "tests/unit/unit.h"

static struct plan *plan; /* asks for memory, kvm and two files */
static struct ask ask;
static struct err err;

static void begin(void)
{
    static const enum resource_kind kinds[] = {RESOURCE_memory, RESOURCE_kvm, RESOURCE_file,
                                               RESOURCE_file};

    plan = calloc(1, sizeof(*plan));
    ck_assert_ptr_nonnull(plan);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        plan->needs[plan->need_count++] =
            (struct plan_need){.kind = kinds[i], .id = "thing", .where = "f:1"};
    }
    ask_init(&ask, plan);
}

/* The last of them is a cable. */
static void begin_with_cable(void)
{
    begin();
    plan->needs[3].kind = RESOURCE_network;
    plan->needs[3].is_cable = true;
    plan->needs[3].cable = PLAN_CABLES_MAX - 1;
}

static void end(void)
{
    ask_fini(&ask);
    free(plan);
}

/* Answer with `count` items and `fd_count` descriptors; those that are not taken are closed. */
static int answer(const struct msg_granted *items, size_t count, size_t fd_count, bool more)
{
    struct msg_granted copy[8];
    struct msg_grant grant = {.items = copy, .items_count = count, .more = more};
    int fds[8];
    int r;

    memcpy(copy, items, count * sizeof(*items));
    for (size_t i = 0; i < fd_count; i++) {
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        ck_assert_int_ge(fds[i], 0);
    }
    err.msg[0] = '\0';
    r = ask_take(&ask, &grant, fds, fd_count, &err);
    for (size_t i = 0; i < fd_count; i++) {
        cleanup_close(&fds[i]);
    }
    return r;
}

#define ANSWER(fd_count, more, ...)                                                                \
    answer((const struct msg_granted[]){__VA_ARGS__},                                              \
           sizeof((const struct msg_granted[]){__VA_ARGS__}) / sizeof(struct msg_granted),         \
           (fd_count), (more))

START_TEST(a_whole_grant_in_one_packet_is_complete)
{
    begin();
    ck_assert_int_eq(
        ANSWER(3, false, {.item = 0, .has_descriptor = false}, {.item = 1, .has_descriptor = true},
               {.item = 2, .has_descriptor = true}, {.item = 3, .has_descriptor = true}),
        1);
    ck_assert_int_eq(ask.fds[0], -1);
    ck_assert_int_ge(ask.fds[1], 0);
    ck_assert_int_ge(ask.fds[3], 0);
    end();
}
END_TEST

START_TEST(a_grant_may_come_in_pieces_and_in_any_order)
{
    begin();
    ck_assert_int_eq(
        ANSWER(2, true, {.item = 3, .has_descriptor = true}, {.item = 1, .has_descriptor = true}),
        0);
    ck_assert_int_eq(
        ANSWER(1, false, {.item = 0, .has_descriptor = false}, {.item = 2, .has_descriptor = true}),
        1);
    end();
}
END_TEST

START_TEST(what_is_left_out_is_told)
{
    begin();
    ck_assert_int_eq(ANSWER(2, false, {.item = 0, .has_descriptor = false},
                            {.item = 1, .has_descriptor = true},
                            {.item = 2, .has_descriptor = true}),
                     -EPROTO);
    ck_assert_str_eq(err.msg, "the grant leaves out 'thing'");
    end();
}
END_TEST

START_TEST(what_was_not_asked_for_or_came_before_is_refused)
{
    begin();
    ck_assert_int_eq(ANSWER(0, true, {.item = 4, .has_descriptor = false}), -EPROTO);
    ck_assert_str_eq(err.msg, "item 4 of the grant was not asked for");
    ck_assert_int_eq(ANSWER(0, true, {.item = 0, .has_descriptor = false}), 0);
    ck_assert_int_eq(ANSWER(0, true, {.item = 0, .has_descriptor = false}), -EPROTO);
    end();
}
END_TEST

START_TEST(descriptors_come_with_what_has_one_and_with_nothing_else)
{
    begin();
    ck_assert_int_eq(ANSWER(1, true, {.item = 0, .has_descriptor = true}), -EPROTO);
    ck_assert_str_eq(err.msg, "'thing' was granted with what is not its descriptor");
    ck_assert_int_eq(ANSWER(0, true, {.item = 1, .has_descriptor = false}), -EPROTO);
    ck_assert_str_eq(err.msg, "'thing' was granted without its descriptor");
    ck_assert_int_eq(ANSWER(0, true, {.item = 1, .has_descriptor = true}), -EPROTO);
    ck_assert_int_eq(ANSWER(2, true, {.item = 1, .has_descriptor = true}), -EPROTO);
    ck_assert_str_eq(err.msg, "the grant came with more descriptors than items");
    end();
}
END_TEST

START_TEST(a_cable_comes_with_both_its_ends)
{
    begin_with_cable();
    ck_assert_int_eq(ANSWER(1, true, {.item = 3, .has_descriptor = true}), -EPROTO);
    ck_assert_int_eq(ANSWER(2, true, {.item = 3, .has_descriptor = true, .descriptors = 2}), 0);
    ck_assert_int_ge(ask.fds[3], 0);
    ck_assert_int_ge(ask.fds[PLAN_FD_FAR(PLAN_CABLES_MAX - 1)], 0);
    ck_assert_int_ne(ask.fds[3], ask.fds[PLAN_FD_FAR(PLAN_CABLES_MAX - 1)]);
    end();
}
END_TEST

START_TEST(a_tap_comes_with_all_its_queues)
{
    begin();
    plan->needs[3].kind = RESOURCE_network;
    plan->needs[3].amount = 3;
    plan->needs[3].queue = PLAN_QUEUES_MAX - 2;
    ck_assert_int_eq(ANSWER(2, true, {.item = 3, .has_descriptor = true, .descriptors = 2}),
                     -EPROTO);
    ck_assert_int_eq(ANSWER(4, true, {.item = 3, .has_descriptor = true, .descriptors = 4}),
                     -EPROTO);
    ck_assert_int_eq(ANSWER(3, true, {.item = 3, .has_descriptor = true, .descriptors = 3}), 0);
    ck_assert_int_ge(ask.fds[3], 0);
    ck_assert_int_ge(ask.fds[PLAN_FD_QUEUE(PLAN_QUEUES_MAX - 2)], 0);
    ck_assert_int_ge(ask.fds[PLAN_FD_QUEUE(PLAN_QUEUES_MAX - 1)], 0);
    ck_assert_int_lt(ask.fds[PLAN_FD_QUEUE(0)], 0);
    end();
}
END_TEST

UNIT_MAIN("ask", a_whole_grant_in_one_packet_is_complete,
          a_grant_may_come_in_pieces_and_in_any_order, what_is_left_out_is_told,
          what_was_not_asked_for_or_came_before_is_refused,
          descriptors_come_with_what_has_one_and_with_nothing_else,
          a_cable_comes_with_both_its_ends, a_tap_comes_with_all_its_queues)
