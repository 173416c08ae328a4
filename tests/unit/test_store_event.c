/* Events: numbers without gaps, whatever is rolled back and however full the disk is. */
#include "tests/unit/store_unit.h"

#include <errno.h>

#include "daemon/store/inside.h"

static struct msg_event_list read_events(struct store *store, int64_t since, const char *guest,
                                         int64_t limit)
{
    auto_free char *name = guest != NULL ? strdup(guest) : NULL;
    const struct msg_events_params params = {.since = since, .guest = name, .limit = limit};
    struct msg_event_list list = {0};
    struct err err = {0};

    ck_assert_msg(store_events_read(store, &params, &list, &err) == 0, "%s", err.msg);
    return list;
}

/* All events that are kept are numbered first, first + 1, ... last. */
static void expect_all(struct store *store, int64_t first, int64_t last)
{
    struct msg_event_list list = read_events(store, 0, NULL, 0);

    ck_assert_int_eq((int64_t)list.events_count, last - first + 1);
    for (size_t i = 0; i < list.events_count; i++) {
        ck_assert_int_eq(list.events[i].seq, first + (int64_t)i);
    }
    ck_assert_int_eq(list.last, last);
    msg_fini(MSG_event_list, &list);
}

START_TEST(an_event_reads_back_as_it_was_appended)
{
    auto_store struct store *store = test_store(NULL);
    char what[] = "state", time[] = TEST_TIME, guest[] = "web", state[] = "failed";
    char reason[] = "guest-crash", message[] = "triple fault";
    const struct msg_event event = {.time = time,
                                    .what = what,
                                    .guest = guest,
                                    .instance = 9,
                                    .pid = 4711,
                                    .state = state,
                                    .reason = reason,
                                    .message = message,
                                    .uid = 1000};
    struct msg_event_list list;

    ck_assert_int_eq(store_event_append(store, &event, NULL, NULL), 0);
    list = read_events(store, 0, NULL, 0);
    ck_assert_uint_eq(list.events_count, 1);
    ck_assert_int_eq(list.events[0].seq, 1);
    ck_assert_str_eq(list.events[0].time, time);
    ck_assert_str_eq(list.events[0].what, what);
    ck_assert_str_eq(list.events[0].guest, guest);
    ck_assert_int_eq(list.events[0].instance, 9);
    ck_assert_int_eq(list.events[0].pid, 4711);
    ck_assert_str_eq(list.events[0].state, state);
    ck_assert_str_eq(list.events[0].reason, reason);
    ck_assert_str_eq(list.events[0].message, message);
    ck_assert_int_eq(list.events[0].uid, 1000);
    msg_fini(MSG_event_list, &list);
}
END_TEST

START_TEST(events_are_chosen_by_number_guest_and_count)
{
    auto_store struct store *store = test_store(NULL);
    char what[] = "state", time[] = TEST_TIME, web[] = "web", db[] = "db";
    struct msg_event_list list;

    for (int i = 0; i < 6; i++) {
        const struct msg_event event = {.time = time, .what = what, .guest = i % 2 == 0 ? web : db};

        ck_assert_int_eq(store_event_append(store, &event, NULL, NULL), 0);
    }
    list = read_events(store, 4, NULL, 0);
    ck_assert_uint_eq(list.events_count, 2);
    ck_assert_int_eq(list.events[0].seq, 5);
    msg_fini(MSG_event_list, &list);
    list = read_events(store, 0, "db", 2);
    ck_assert_uint_eq(list.events_count, 2);
    ck_assert_int_eq(list.events[0].seq, 4);
    ck_assert_int_eq(list.events[1].seq, 6);
    ck_assert_int_eq(list.last, 6);
    msg_fini(MSG_event_list, &list);
    list = read_events(store, 6, NULL, 0);
    ck_assert_uint_eq(list.events_count, 0);
    msg_fini(MSG_event_list, &list);
}
END_TEST

START_TEST(a_rolled_back_event_leaves_no_gap)
{
    auto_store struct store *store = test_store(NULL);

    ck_assert_int_eq(test_event(store, "one"), 1);
    {
        auto_tx struct store_tx tx = {0};

        ck_assert_int_eq(store_begin(store, &tx, NULL), 0);
        ck_assert_int_eq(test_event(store, "two"), 2);
        ck_assert_int_eq(test_event(store, "three"), 3);
    }
    ck_assert_int_eq(test_event(store, "two again"), 2);
    expect_all(store, 1, 2);
}
END_TEST

START_TEST(the_oldest_events_go_when_there_are_too_many)
{
    auto_store struct store *store = test_store(NULL);
    auto_tx struct store_tx tx = {0};

    ck_assert_int_eq(store_begin(store, &tx, NULL), 0); /* all in one: faster */
    for (int i = 1; i <= STORE_EVENTS_MAX; i++) {
        ck_assert_int_eq(test_event(store, "x"), i);
    }
    expect_all(store, 1, STORE_EVENTS_MAX);
    ck_assert_int_eq(test_event(store, "one more"), STORE_EVENTS_MAX + 1);
    ck_assert_int_eq(store_commit(&tx, NULL), 0);
    expect_all(store, 2, STORE_EVENTS_MAX + 1);
}
END_TEST

/* Append until the database has no page left; the number of the last event that went in. */
static int64_t fill(struct store *store)
{
    int64_t seq = 0;

    test_fill_disk(store, 1);
    for (int i = 0; store_degraded(store) == NULL; i++) {
        ck_assert_int_lt(i, 1000);
        seq = test_event(store, "...............................................");
    }
    return seq - 1; /* the last one is in memory */
}

START_TEST(on_a_full_disk_events_keep_their_numbers_in_memory_and_are_written_later)
{
    auto_store struct store *store = test_store(NULL);
    int64_t written = fill(store);
    int64_t count = 0;

    ck_assert_int_eq(test_event(store, "more"), written + 2);
    ck_assert_ptr_nonnull(strstr(store_degraded(store), "is full"));
    ck_assert_int_eq(store_event_last(store), written + 2);
    expect_all(store, 1, written + 2);
    ck_assert_int_eq(store_retry(store, NULL), -EROFS);
    ck_assert_int_eq(store_run_int(store, "SELECT max(seq) FROM event", BIND_NONE, &count, NULL),
                     0);
    ck_assert_int_eq(count, written);

    test_fill_disk(store, 0);
    ck_assert_int_eq(store_retry(store, NULL), 0);
    ck_assert_ptr_null(store_degraded(store));
    ck_assert_int_eq(store_run_int(store, "SELECT max(seq) FROM event", BIND_NONE, &count, NULL),
                     0);
    ck_assert_int_eq(count, written + 2);
    ck_assert_int_eq(test_event(store, "after"), written + 3);
    expect_all(store, 1, written + 3);
}
END_TEST

START_TEST(an_event_in_a_transaction_that_cannot_be_written_fails_with_it)
{
    auto_store struct store *store = test_store(NULL);
    char what[] = "state", time[] = TEST_TIME;
    const struct msg_event event = {.time = time, .what = what};
    int64_t written = fill(store);
    auto_tx struct store_tx tx = {0};
    struct err err = {0};

    ck_assert_int_eq(store_begin(store, &tx, &err), -EROFS); /* those in memory do not go in */
    ck_assert_ptr_null(tx.store);
    test_fill_disk(store, 0);
    ck_assert_int_eq(store_begin(store, &tx, &err), 0);
    test_fill_disk(store, 1);
    for (int i = 0; i < 1000 && store_event_append(store, &event, NULL, &err) == 0; i++) {
    }
    ck_assert_int_eq(err.code, -EROFS);
    ck_assert_int_eq(store_event_append(store, &event, NULL, NULL), -EROFS); /* broken for good */
    ck_assert_int_eq(store_commit(&tx, NULL), -EROFS);
    expect_all(store, 1, written + 1); /* as before: the one in memory is still there */
    test_fill_disk(store, 0);
    ck_assert_int_eq(test_event(store, "after"), written + 2);
    expect_all(store, 1, written + 2);
}
END_TEST

START_TEST(a_transaction_that_the_database_rolled_back_takes_nothing_more)
{
    auto_store struct store *store = test_store(NULL);
    char long_text[2000];
    int r = 0;

    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    test_event(store, "kept");
    {
        auto_tx struct store_tx tx = {0};

        ck_assert_int_eq(store_begin(store, &tx, NULL), 0);
        test_fill_disk(store, 1);
        for (int i = 0; i < 1000 && r == 0; i++) {
            r = store_run(store, "INSERT INTO event(time, what) VALUES('', ?1)",
                          BIND(SQL_TEXT(long_text)), NULL, NULL, NULL);
        }
        ck_assert_int_eq(r, -EROFS);
        /* it needs no page; alone it would succeed and be committed at once */
        ck_assert_int_eq(store_run(store, "DELETE FROM event", BIND_NONE, NULL, NULL, NULL),
                         -EROFS);
    }
    expect_all(store, 1, 1);
}
END_TEST

START_TEST(events_in_memory_are_bounded_too)
{
    auto_store struct store *store = test_store(NULL);
    int64_t last = fill(store) + 1;

    for (int i = 0; i < STORE_EVENTS_MAX; i++) {
        last = test_event(store, "x");
    }
    ck_assert_int_eq(store_event_last(store), last);
    ck_assert_uint_eq(store->waiting.count, STORE_EVENTS_MAX);
    expect_all(store, last - STORE_EVENTS_MAX + 1, last);
    test_fill_disk(store, 0);
    ck_assert_int_eq(store_retry(store, NULL), 0);
    expect_all(store, last - STORE_EVENTS_MAX + 1, last);
}
END_TEST

/* Write one of these kinds of event. */
static void say(struct store *store, char *what, char *guest, char *state, char *reason)
{
    char time[] = TEST_TIME;
    const struct msg_event event = {
        .time = time, .what = what, .guest = guest, .state = state, .reason = reason};

    ck_assert_int_eq(store_event_append(store, &event, NULL, NULL), 0);
}

static size_t count_of(struct store *store, const struct msg_events_params *params)
{
    struct msg_event_list list = {0};
    size_t count;

    ck_assert_int_eq(store_events_read(store, params, &list, NULL), 0);
    count = list.events_count;
    for (size_t i = 0; i < count; i++) {
        ck_assert(store_event_matches(params, &list.events[i]));
    }
    msg_fini(MSG_event_list, &list);
    return count;
}

START_TEST(filters_hold_together_in_the_database_and_in_memory)
{
    auto_store struct store *store = test_store(NULL);
    char state[] = "state", reboot[] = "reboot", web[] = "web", db[] = "db", failed[] = "failed";
    char crash[] = "guest-crash", killed[] = "killed", stopped[] = "stopped", empty[] = "";

    for (size_t round = 1; round <= 2; round++) {
        say(store, state, web, failed, crash);
        say(store, state, db, failed, crash);
        say(store, state, web, stopped, killed);
        say(store, reboot, web, NULL, NULL);
        say(store, reboot, NULL, NULL, NULL);
        ck_assert_uint_eq(count_of(store, &(struct msg_events_params){.what = reboot}), 2 * round);
        ck_assert_uint_eq(count_of(store, &(struct msg_events_params){.state = failed}), 2 * round);
        ck_assert_uint_eq(
            count_of(store, &(struct msg_events_params){.reason = crash, .guest = web}), round);
        ck_assert_uint_eq(
            count_of(store, &(struct msg_events_params){.reason = killed, .guest = db}), 0);
        ck_assert_uint_eq(
            count_of(store, &(struct msg_events_params){.guest = web, .reason = empty}), 3 * round);
        test_fill_disk(store, 1); /* the second round stays in memory */
    }
}
END_TEST

START_TEST(what_is_no_longer_kept_is_counted)
{
    auto_store struct store *store = test_store(NULL);
    struct msg_event_list list;

    for (int i = 0; i < STORE_EVENTS_MAX + 20; i++) {
        test_event(store, "x");
    }
    list = read_events(store, 15, NULL, 0);
    ck_assert_int_eq(list.oldest, 21);
    ck_assert_int_eq(list.missing, 5);
    msg_fini(MSG_event_list, &list);
    list = read_events(store, 20, NULL, 1);
    ck_assert_int_eq(list.missing, 0);
    msg_fini(MSG_event_list, &list);
    list = read_events(store, 0, NULL, 0); /* no number was named: nothing is missed */
    ck_assert_int_eq(list.missing, 0);
    msg_fini(MSG_event_list, &list);
}
END_TEST

UNIT_MAIN("store_event", an_event_reads_back_as_it_was_appended,
          events_are_chosen_by_number_guest_and_count, a_rolled_back_event_leaves_no_gap,
          the_oldest_events_go_when_there_are_too_many,
          on_a_full_disk_events_keep_their_numbers_in_memory_and_are_written_later,
          an_event_in_a_transaction_that_cannot_be_written_fails_with_it,
          a_transaction_that_the_database_rolled_back_takes_nothing_more,
          events_in_memory_are_bounded_too, filters_hold_together_in_the_database_and_in_memory,
          what_is_no_longer_kept_is_counted)
