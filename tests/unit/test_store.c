/* The store: guests, instances, transactions. */
#include "tests/unit/store_unit.h"

#include <errno.h>

START_TEST(a_new_definition_has_the_next_generation_and_keeps_what_was_wanted_of_it)
{
    auto_store struct store *store = test_store(NULL);
    char text[] = "{\"words\":[\"ram\"]}";
    struct store_guest guest = {
        .name = "web", .owner = 7, .definition = text, .desired = STATE_stopped};
    struct store_guest read = {0};
    int64_t generation = 0;

    test_define(store, "web");
    ck_assert_int_eq(store_guest_set_desired(store, "web", STATE_running, NULL), 0);
    ck_assert_int_eq(store_guest_set_settings(store, "web", "{}", NULL), 0);
    ck_assert_int_eq(store_guest_set_settings(store, "db", "{}", NULL), -ENOENT);
    ck_assert_int_eq(store_guest_put(store, &guest, &generation, NULL), 0);
    ck_assert_int_eq(generation, 2);
    ck_assert_int_eq(store_guest_get(store, "web", &read, NULL), 0);
    ck_assert_str_eq(read.name, "web");
    ck_assert_int_eq(read.owner, 7);
    ck_assert_str_eq(read.definition, text);
    ck_assert_int_eq(read.generation, 2);
    ck_assert_int_eq(read.desired, STATE_running);
    ck_assert_str_eq(read.settings, "{}");
    store_guest_fini(&read);
}
END_TEST

START_TEST(guests_are_listed_by_name)
{
    auto_store struct store *store = test_store(NULL);
    struct store_guest *guests = NULL;
    size_t count = 0;

    test_define(store, "web");
    test_define(store, "db");
    test_define(store, "mail");
    ck_assert_int_eq(store_guest_list(store, &guests, &count, NULL), 0);
    ck_assert_uint_eq(count, 3);
    ck_assert_str_eq(guests[0].name, "db");
    ck_assert_str_eq(guests[1].name, "mail");
    ck_assert_str_eq(guests[2].name, "web");
    store_guests_free(guests, count);
}
END_TEST

START_TEST(what_is_not_there_is_refused_by_its_name)
{
    auto_store struct store *store = test_store(NULL);
    struct store_instance instance;
    struct store_guest guest;
    struct err err = {0};

    ck_assert_int_eq(store_guest_get(store, "web", &guest, &err), -ENOENT);
    ck_assert_str_eq(err.msg, "there is no guest 'web'");
    ck_assert_int_eq(store_guest_set_desired(store, "web", STATE_running, NULL), -ENOENT);
    ck_assert_int_eq(store_guest_delete(store, "web", NULL), -ENOENT);
    ck_assert_int_eq(store_instance_set_state(store, 5, STATE_running, &err), -ENOENT);
    ck_assert_str_eq(err.msg, "there is no instance 5");
    test_define(store, "web");
    ck_assert_int_eq(store_instance_last(store, "web", &instance, &err), -ENOENT);
    ck_assert_str_eq(err.msg, "guest 'web' never ran");
}
END_TEST

START_TEST(a_name_that_is_none_is_not_stored)
{
    auto_store struct store *store = test_store(NULL);
    char text[] = "{}";
    struct store_guest guest = {.name = "../etc", .definition = text, .desired = STATE_stopped};

    ck_assert_int_eq(store_guest_put(store, &guest, NULL, NULL), -EINVAL);
}
END_TEST

START_TEST(a_second_live_instance_is_refused_with_the_pid_of_the_first)
{
    auto_store struct store *store = test_store(NULL);
    struct store_instance second = {
        .guest = "web", .boot_id = TEST_BOOT, .state = STATE_starting, .started = TEST_TIME};
    struct err err = {0};
    int64_t first = test_instance(store, "web", 4711);

    ck_assert_int_eq(store_instance_begin(store, &second, &err), -EBUSY);
    ck_assert_str_eq(err.msg, "guest 'web' has an instance that lives (pid 4711)");
    test_end(store, first);
    ck_assert_int_eq(store_instance_begin(store, &second, &err), 0);
    ck_assert_int_gt(second.id, first);
}
END_TEST

START_TEST(the_database_itself_forbids_a_second_live_instance)
{
    auto_store struct store *store = test_store(NULL);

    test_instance(store, "web", 1);
    ck_assert_int_eq(store_write_one(store,
                                     "INSERT INTO instance(guest, boot_id, nonce, uid, state, "
                                     "started) VALUES('web', '', '', 0, 'running', '')",
                                     BIND_NONE, NULL),
                     -EEXIST);
}
END_TEST

START_TEST(an_instance_reads_back_as_it_was_written)
{
    auto_store struct store *store = test_store(NULL);
    struct store_instance read;
    const struct store_end end = {.state = STATE_failed,
                                  .reason = REASON_guest_crash,
                                  .message = "triple fault",
                                  .exit_status = 7,
                                  .ended = TEST_TIME};
    int64_t id = test_instance(store, "web", 4711);

    ck_assert_int_eq(store_instance_set_uid(store, id, 90001, NULL), 0);
    ck_assert_int_eq(store_instance_set_state(store, id, STATE_running, NULL), 0);
    ck_assert_int_eq(store_instance_set_reboots(store, id, 3, NULL), 0);
    ck_assert_int_eq(store_instance_set_kill_due(store, id, INT64_MAX, NULL), 0);
    ck_assert_int_eq(store_instance_get(store, id, &read, NULL), 0);
    ck_assert_int_eq(read.state, STATE_running);
    ck_assert_int_eq(read.pid, 4711);
    ck_assert_uint_eq(read.start_ticks, 77);
    ck_assert_str_eq(read.boot_id, TEST_BOOT);
    ck_assert_int_eq(read.uid, 90001);
    ck_assert_int_eq(read.exit_status, -1);
    ck_assert_int_eq(read.reason, REASON_none);
    ck_assert_str_eq(read.ended, "");
    ck_assert_int_eq(store_instance_end(store, id, &end, NULL), 0);
    ck_assert_int_eq(store_instance_last(store, "web", &read, NULL), 0);
    ck_assert_int_eq(read.state, STATE_failed);
    ck_assert_int_eq(read.reason, REASON_guest_crash);
    ck_assert_str_eq(read.message, "triple fault");
    ck_assert_int_eq(read.exit_status, 7);
    ck_assert_int_eq(read.reboots, 3);
    ck_assert_int_eq(read.kill_due_ns, INT64_MAX);
    ck_assert_str_eq(read.ended, TEST_TIME);
}
END_TEST

START_TEST(live_instances_are_those_without_an_end)
{
    auto_store struct store *store = test_store(NULL);
    struct store_instance *instances = NULL;
    size_t count = 0;
    int64_t first = test_instance(store, "a", 1);
    int64_t second = test_instance(store, "b", 2);

    test_end(store, first);
    ck_assert_int_eq(store_instances_live(store, &instances, &count, NULL), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(instances[0].id, second);
    free(instances);
}
END_TEST

START_TEST(instance_numbers_only_grow_even_when_their_guest_is_forgotten)
{
    auto_store struct store *store = test_store(NULL);
    int64_t id = test_instance(store, "web", 1);

    test_end(store, id);
    ck_assert_int_eq(store_guest_delete(store, "web", NULL), 0);
    ck_assert_int_gt(test_instance(store, "web", 1), id);
}
END_TEST

START_TEST(the_past_of_a_guest_is_bounded)
{
    auto_store struct store *store = test_store(NULL);
    int64_t count = 0;

    for (int i = 0; i < STORE_INSTANCES_MAX + 1; i++) {
        test_end(store, test_instance(store, "web", 1));
    }
    test_instance(store, "web", 1);
    ck_assert_int_eq(store_run_int(store, "SELECT count(*) FROM instance", BIND_NONE, &count, NULL),
                     0);
    ck_assert_int_eq(count, STORE_INSTANCES_MAX + 1); /* and the one that lives */
}
END_TEST

START_TEST(a_guest_that_lives_is_not_forgotten)
{
    auto_store struct store *store = test_store(NULL);
    struct err err = {0};

    test_instance(store, "web", 1);
    ck_assert_int_eq(store_guest_delete(store, "web", &err), -EBUSY);
    ck_assert_str_eq(err.msg, "guest 'web' has a process, or still holds something");
}
END_TEST

START_TEST(what_is_not_committed_did_not_happen)
{
    auto_store struct store *store = test_store(NULL);
    struct store_guest guest;

    {
        auto_tx struct store_tx tx = {0};

        ck_assert_int_eq(store_begin(store, &tx, NULL), 0);
        test_define(store, "web");
        ck_assert_int_eq(test_event(store, "defined"), 1);
    }
    ck_assert_int_eq(store_guest_get(store, "web", &guest, NULL), -ENOENT);
    ck_assert_int_eq(store_event_last(store), 0);
}
END_TEST

START_TEST(an_inner_transaction_rolls_back_alone)
{
    auto_store struct store *store = test_store(NULL);
    auto_tx struct store_tx outer = {0};
    struct store_guest guest;

    ck_assert_int_eq(store_begin(store, &outer, NULL), 0);
    test_define(store, "outer");
    {
        auto_tx struct store_tx inner = {0};

        ck_assert_int_eq(store_begin(store, &inner, NULL), 0);
        test_define(store, "inner");
    }
    ck_assert_int_eq(store_commit(&outer, NULL), 0);
    ck_assert_int_eq(store_guest_get(store, "inner", &guest, NULL), -ENOENT);
    ck_assert_int_eq(store_guest_get(store, "outer", &guest, NULL), 0);
    store_guest_fini(&guest);
}
END_TEST

static int64_t synchronous(struct store *store)
{
    int64_t level = -1;

    ck_assert_int_eq(store_run_int(store, "PRAGMA synchronous", BIND_NONE, &level, NULL), 0);
    return level; /* 1 NORMAL, 2 FULL: sqlite.org/pragma.html#pragma_synchronous */
}

START_TEST(only_a_light_transaction_does_not_wait_for_the_disk)
{
    auto_store struct store *store = test_store(NULL);
    struct store_tx tx = {0}, inner = {0};

    test_define(store, "web");
    ck_assert_int_eq(synchronous(store), 2);
    ck_assert_int_eq(store_begin_light(store, &tx, NULL), 0);
    ck_assert_int_eq(synchronous(store), 1);
    ck_assert_int_eq(store_begin_light(store, &inner, NULL), 0);
    ck_assert_int_eq(store_commit(&inner, NULL), 0);
    ck_assert_int_eq(synchronous(store), 1);
    ck_assert_int_eq(store_commit(&tx, NULL), 0);
    ck_assert_int_eq(synchronous(store), 2);
    ck_assert_int_eq(store_begin_light(store, &tx, NULL), 0);
    store_rollback(&tx);
    ck_assert_int_eq(synchronous(store), 2);
    ck_assert_int_eq(store_begin(store, &tx, NULL), 0);
    ck_assert_int_eq(store_begin_light(store, &inner, NULL), 0);
    ck_assert_int_eq(synchronous(store), 2);
    ck_assert_int_eq(store_commit(&inner, NULL), 0);
    ck_assert_int_eq(store_commit(&tx, NULL), 0);
}
END_TEST

START_TEST(a_row_with_a_word_of_no_list_is_refused)
{
    auto_store struct store *store = test_store(NULL);
    struct store_instance *instances = NULL;
    size_t count = 0;
    struct err err = {0};

    test_instance(store, "web", 1);
    ck_assert_int_eq(
        store_write_one(store, "UPDATE instance SET state = 'flying'", BIND_NONE, NULL), 0);
    ck_assert_int_eq(store_instances_live(store, &instances, &count, &err), -EIO);
    ck_assert_str_eq(err.msg, "the store 'in memory' holds a row that makes no sense");
    ck_assert_ptr_null(instances);
}
END_TEST

UNIT_MAIN("store", a_new_definition_has_the_next_generation_and_keeps_what_was_wanted_of_it,
          guests_are_listed_by_name, what_is_not_there_is_refused_by_its_name,
          a_name_that_is_none_is_not_stored,
          a_second_live_instance_is_refused_with_the_pid_of_the_first,
          the_database_itself_forbids_a_second_live_instance,
          an_instance_reads_back_as_it_was_written, live_instances_are_those_without_an_end,
          instance_numbers_only_grow_even_when_their_guest_is_forgotten,
          the_past_of_a_guest_is_bounded, a_guest_that_lives_is_not_forgotten,
          what_is_not_committed_did_not_happen, only_a_light_transaction_does_not_wait_for_the_disk,
          an_inner_transaction_rolls_back_alone, a_row_with_a_word_of_no_list_is_refused)
