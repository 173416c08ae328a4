/* Calls that may be repeated: written with what they do, or not at all; bounded. */
#include "tests/unit/store_unit.h"

#include <errno.h>

#include "proto/base/cleanup.h"

#define NOW_NS INT64_C(1800000000000000000)
#define DAY_NS (INT64_C(86400) * 1000000000)

static struct store_request request_of(uid_t uid, const char *id)
{
    struct store_request request = {.uid = uid, .begun_ns = NOW_NS};

    (void)snprintf(request.id, sizeof(request.id), "%s", id);
    (void)strcpy(request.method, "guest.start");
    (void)strcpy(request.digest, "1-2");
    return request;
}

static int get(struct store *store, uid_t uid, const char *id, struct store_request *found)
{
    return store_request_get(store, uid, id, NOW_NS, found, NULL);
}

START_TEST(a_call_is_written_with_the_next_transaction_and_its_instance)
{
    auto_store struct store *store = test_store(NULL);
    struct store_request request = request_of(7, "r"), found = {0};
    int64_t instance;

    test_define(store, "web");
    store_request_ride(store, &request);
    ck_assert_int_eq(get(store, 7, "r", &found), -ENOENT);
    instance = test_instance(store, "web", 4711);
    ck_assert(store_request_leave(store));
    ck_assert_int_eq(get(store, 7, "r", &found), 0);
    ck_assert_int_eq(found.instance, instance);
    ck_assert_str_eq(found.method, "guest.start");
    ck_assert_str_eq(found.digest, "1-2");
    ck_assert_ptr_null(found.answer);
    ck_assert_int_eq(get(store, 8, "r", &found), -ENOENT); /* another user's */
}
END_TEST

START_TEST(what_is_rolled_back_takes_the_call_with_it)
{
    auto_store struct store *store = test_store(NULL);
    struct store_request request = request_of(7, "r"), found = {0};
    struct store_tx tx = {0};

    store_request_ride(store, &request);
    ck_assert_int_eq(store_begin(store, &tx, NULL), 0);
    store_rollback(&tx);
    ck_assert(!store_request_leave(store));
    ck_assert_int_eq(get(store, 7, "r", &found), -ENOENT);
    test_define(store, "web"); /* nothing rides any more */
    ck_assert_int_eq(get(store, 7, "r", &found), -ENOENT);
}
END_TEST

START_TEST(an_answer_is_put_to_the_call_and_leaves_its_instance)
{
    auto_store struct store *store = test_store(NULL);
    char answer[] = "{}";
    struct store_request request = request_of(7, "r"), found = {0};
    int64_t instance;

    test_define(store, "web");
    store_request_ride(store, &request);
    instance = test_instance(store, "web", 4711);
    (void)store_request_leave(store);
    request.answer = answer;
    ck_assert_int_eq(store_request_finish(store, &request, NULL), 0);
    ck_assert_int_eq(get(store, 7, "r", &found), 0);
    ck_assert_str_eq(found.answer, "{}");
    ck_assert_int_eq(found.instance, instance);
    store_request_fini(&found);
}
END_TEST

START_TEST(so_many_calls_of_a_user_are_kept_and_no_more)
{
    auto_store struct store *store = test_store(NULL);
    struct store_request found = {0};
    int64_t count = 0;

    for (int i = 0; i <= STORE_REQUESTS_MAX; i++) {
        char id[16];
        struct store_request request;

        (void)snprintf(id, sizeof(id), "%d", i);
        request = request_of(7, id);
        ck_assert_int_eq(store_request_finish(store, &request, NULL), 0);
        request = request_of(8, id); /* whose calls do not drive out the other's */
        if (i == 0) {
            ck_assert_int_eq(store_request_finish(store, &request, NULL), 0);
        }
    }
    ck_assert_int_eq(
        store_run_int(store, "SELECT count(*) FROM request WHERE uid = 7", BIND_NONE, &count, NULL),
        0);
    ck_assert_int_eq(count, STORE_REQUESTS_MAX);
    ck_assert_int_eq(get(store, 7, "0", &found), -ENOENT);
    ck_assert_int_eq(get(store, 7, "1", &found), 0);
    ck_assert_int_eq(get(store, 8, "0", &found), 0);
}
END_TEST

START_TEST(a_call_is_forgotten_a_day_later)
{
    auto_store struct store *store = test_store(NULL);
    struct store_request request = request_of(7, "r"), found = {0};
    int64_t count = 0;

    ck_assert_int_eq(store_request_finish(store, &request, NULL), 0);
    ck_assert_int_eq(store_request_get(store, 7, "r", NOW_NS + DAY_NS, &found, NULL), 0);
    ck_assert_int_eq(store_request_get(store, 7, "r", NOW_NS + DAY_NS + 1, &found, NULL), -ENOENT);
    request = request_of(8, "s");
    request.begun_ns = NOW_NS + DAY_NS + 1;
    ck_assert_int_eq(store_request_finish(store, &request, NULL), 0);
    ck_assert_int_eq(store_run_int(store, "SELECT count(*) FROM request", BIND_NONE, &count, NULL),
                     0);
    ck_assert_int_eq(count, 1);
}
END_TEST

START_TEST(a_drain_is_kept_until_it_is_ended)
{
    auto_store struct store *store = test_store(NULL);
    struct store_drain drain = {.boot_id = TEST_BOOT,
                                .reason = REASON_host_shutdown,
                                .is_kill = true,
                                .since = TEST_TIME,
                                .due_ns = 5};
    struct store_drain found = {0};

    ck_assert_int_eq(store_drain_get(store, &found, NULL), -ENOENT);
    ck_assert_int_eq(store_drain_put(store, &drain, NULL), 0);
    drain.due_ns = 6;
    ck_assert_int_eq(store_drain_put(store, &drain, NULL), 0);
    ck_assert_int_eq(store_drain_get(store, &found, NULL), 0);
    ck_assert_int_eq(found.reason, REASON_host_shutdown);
    ck_assert(found.is_kill);
    ck_assert_int_eq(found.due_ns, 6);
    ck_assert_str_eq(found.since, TEST_TIME);
    ck_assert_int_eq(store_drain_end(store, NULL), 0);
    ck_assert_int_eq(store_drain_end(store, NULL), 0);
    ck_assert_int_eq(store_drain_get(store, &found, NULL), -ENOENT);
}
END_TEST

START_TEST(a_turn_is_kept_with_its_count_until_it_is_over_or_its_guest_is_forgotten)
{
    auto_store struct store *store = test_store(NULL);
    struct store_turn turn = {.guest = "web", .boot_id = TEST_BOOT, .uid = 7};
    auto_free struct store_turn *turns = NULL;
    size_t count = 9;

    ck_assert_int_eq(store_turn_put(store, &turn, NULL), -EEXIST);
    test_define(store, "db");
    test_define(store, "web");
    ck_assert_int_eq(store_turn_put(store, &turn, NULL), 0);
    ck_assert_int_eq(store_turn_begin(store, "web", NULL), 0);
    ck_assert_int_eq(store_turn_put(store, &turn, NULL), 0); /* it waits already */
    (void)snprintf(turn.guest, sizeof(turn.guest), "db");
    ck_assert_int_eq(store_turn_put(store, &turn, NULL), 0);
    test_define(store, "web"); /* anew */
    ck_assert_int_eq(store_turns_list(store, &turns, &count, NULL), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(turns[0].guest, "db");
    ck_assert_str_eq(turns[1].guest, "web");
    ck_assert_int_eq(turns[1].begun, 1);
    ck_assert_uint_eq(turns[1].uid, 7);
    ck_assert_str_eq(turns[1].boot_id, TEST_BOOT);
    ck_assert_int_eq(store_turn_end(store, "db", NULL), 0);
    ck_assert_int_eq(store_turn_end(store, "db", NULL), 0);
    ck_assert_int_eq(store_guest_delete(store, "web", NULL), 0);
    cleanup_free(&turns);
    ck_assert_int_eq(store_turns_list(store, &turns, &count, NULL), 0);
    ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(a_turn_of_an_earlier_boot_is_written_over)
{
    auto_store struct store *store = test_store(NULL);
    struct store_turn turn = {.guest = "web", .boot_id = "earlier", .begun = 2};
    auto_free struct store_turn *turns = NULL;
    size_t count = 0;

    test_define(store, "web");
    ck_assert_int_eq(store_turn_put(store, &turn, NULL), 0);
    (void)snprintf(turn.boot_id, sizeof(turn.boot_id), "%s", TEST_BOOT);
    turn.begun = 0;
    ck_assert_int_eq(store_turn_put(store, &turn, NULL), 0);
    ck_assert_int_eq(store_turns_list(store, &turns, &count, NULL), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(turns[0].boot_id, TEST_BOOT);
    ck_assert_int_eq(turns[0].begun, 0);
    ck_assert_int_eq(store_turns_end(store, NULL), 0);
    cleanup_free(&turns);
    ck_assert_int_eq(store_turns_list(store, &turns, &count, NULL), 0);
    ck_assert_uint_eq(count, 0);
}
END_TEST

UNIT_MAIN("store_request", a_call_is_written_with_the_next_transaction_and_its_instance,
          what_is_rolled_back_takes_the_call_with_it,
          an_answer_is_put_to_the_call_and_leaves_its_instance,
          so_many_calls_of_a_user_are_kept_and_no_more, a_call_is_forgotten_a_day_later,
          a_drain_is_kept_until_it_is_ended,
          a_turn_is_kept_with_its_count_until_it_is_over_or_its_guest_is_forgotten,
          a_turn_of_an_earlier_boot_is_written_over)
