/* A database that is damaged, empty, deleted or replaced: nothing is thrown away, all is told. */
#include "tests/unit/store_file_unit.h"

/* Opening puts the file aside, whole, tells so with `words`, and makes another. */
static void expect_put_aside(const char *words)
{
    auto_store struct store *store = NULL;
    auto_free char *before = NULL;
    auto_free char *after = NULL;
    char notice[STORE_MESSAGE_SIZE];
    char *name;
    size_t before_size;
    size_t after_size;

    read_whole(path, &before, &before_size);
    store = test_store(path);
    ck_assert_ptr_null(store_degraded(store));
    ck_assert_ptr_nonnull(store_take_notice(store, notice));
    ck_assert_msg(strstr(notice, words) != NULL, "%s", notice);
    name = strstr(notice, "it was put aside as '");
    ck_assert_ptr_nonnull(name);
    name += strlen("it was put aside as '");
    name[strcspn(name, "'")] = '\0';
    ck_assert_int_eq(strncmp(name, path, strlen(path)), 0);
    read_whole(name, &after, &after_size);
    ck_assert_uint_eq(before_size, after_size);
    ck_assert_mem_eq(before, after, before_size);
    ck_assert_ptr_null(store_take_notice(store, notice));
    test_define(store, "new");
}

static bool has_guest(const char *name)
{
    auto_store struct store *store = test_store(path);
    struct store_guest guest = {0};
    int r = store_guest_get(store, name, &guest, NULL);

    store_guest_fini(&guest);
    return r == 0;
}

START_TEST(a_damaged_database_is_put_aside_and_another_one_made)
{
    struct store *store = test_store(path);
    char rubbish[4096];

    test_define(store, "web");
    store_close(store);
    memset(rubbish, 0x5a, sizeof(rubbish));
    overwrite(4096, rubbish, sizeof(rubbish));
    expect_put_aside("is damaged");
}
END_TEST

START_TEST(the_guests_of_a_damaged_database_are_kept_where_they_can_be_read)
{
    struct store *store = test_store(path);
    int64_t page = 0;
    char rubbish[4096];

    test_define(store, "web");
    (void)test_instance(store, "db", 7);
    ck_assert_int_eq(store_run_int(store,
                                   "SELECT rootpage FROM sqlite_schema WHERE name = 'instance'",
                                   BIND_NONE, &page, NULL),
                     0);
    store_close(store);
    memset(rubbish, 0x5a, sizeof(rubbish));
    overwrite((page - 1) * 4096, rubbish, sizeof(rubbish));
    expect_put_aside("2 definitions of guests were read from it");
    ck_assert(has_guest("web") && has_guest("db"));
}
END_TEST

START_TEST(a_row_that_makes_no_sense_is_damage)
{
    struct store *store = test_store(path);

    test_define(store, "web");
    test_define(store, "zoo");
    ck_assert_int_eq(store_write_one(store,
                                     "UPDATE guest SET desired = 'Zunning' WHERE name = 'zoo'",
                                     BIND_NONE, NULL),
                     0);
    store_close(store);
    expect_put_aside("holds a row that makes no sense");
    ck_assert(has_guest("web") && !has_guest("zoo"));
}
END_TEST

START_TEST(a_truncated_database_is_put_aside_and_an_empty_one_is_told_of)
{
    struct store *store = test_store(path);
    char notice[STORE_MESSAGE_SIZE];

    test_define(store, "web");
    store_close(store);
    ck_assert_int_eq(truncate(path, 5000), 0);
    expect_put_aside("is damaged");
    ck_assert_int_eq(truncate(path, 0), 0);
    store = test_store(path);
    ck_assert_ptr_nonnull(store_take_notice(store, notice));
    ck_assert_msg(strstr(notice, "was empty") != NULL, "%s", notice);
    store_close(store);
}
END_TEST

START_TEST(a_remainder_of_a_few_bytes_is_put_aside)
{
    overwrite(0, "SQLite", 6);
    expect_put_aside("6 bytes are left of it");
}
END_TEST

START_TEST(a_file_that_is_no_database_is_put_aside)
{
    overwrite(0, "This is a text that somebody wrote.\n", 36);
    expect_put_aside("is damaged");
}
END_TEST

START_TEST(what_cannot_be_put_aside_is_refused_and_kept)
{
    overwrite(0, "This is a text that somebody wrote.\n", 36);
    ck_assert_int_eq(chmod(directory, 0500), 0);
    expect_refused("cannot be put aside");
    ck_assert_int_eq(chmod(directory, 0700), 0);
}
END_TEST

START_TEST(a_database_deleted_while_it_is_open_is_written_anew_with_all_that_stood_in_it)
{
    auto_store struct store *store = test_store(path);
    char notice[STORE_MESSAGE_SIZE];
    char log[128];

    test_define(store, "web");
    (void)test_event(store, "before");
    (void)snprintf(log, sizeof(log), "%s-wal", path);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(unlink(log), 0);
    ck_assert_int_eq(test_event(store, "after"), 2);
    ck_assert_ptr_nonnull(store_take_notice(store, notice));
    ck_assert_msg(strstr(notice, "was deleted while qvmd had it open") != NULL, "%s", notice);
    ck_assert_ptr_null(store_degraded(store));
    test_define(store, "db");
    expect_mode("");
    store_close(take_ptr(store));
    ck_assert(has_guest("web") && has_guest("db"));
    store = test_store(path);
    ck_assert_int_eq(store_event_last(store), 2);
}
END_TEST

START_TEST(a_database_replaced_while_it_is_open_is_not_written_to)
{
    auto_store struct store *store = test_store(path);
    struct err err = {0};
    char mine[128];

    (void)snprintf(mine, sizeof(mine), "%s.mine", path);
    ck_assert_int_eq(rename(path, mine), 0);
    overwrite(0, "another", 7);
    ck_assert_int_eq(store_guest_set_desired(store, "web", STATE_running, &err), -EROFS);
    ck_assert_msg(strstr(err.msg, "was replaced by another file") != NULL, "%s", err.msg);
    ck_assert_int_eq(test_event(store, "kept"), 1);
    ck_assert_int_eq(rename(mine, path), 0);
    ck_assert_int_eq(store_retry(store, NULL), 0);
    ck_assert_ptr_null(store_degraded(store));
    ck_assert_int_eq(test_event(store, "written"), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_rescue");
    TCase *tcase = tcase_create("store_rescue");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_damaged_database_is_put_aside_and_another_one_made);
    tcase_add_test(tcase, the_guests_of_a_damaged_database_are_kept_where_they_can_be_read);
    tcase_add_test(tcase, a_row_that_makes_no_sense_is_damage);
    tcase_add_test(tcase, a_truncated_database_is_put_aside_and_an_empty_one_is_told_of);
    tcase_add_test(tcase, a_remainder_of_a_few_bytes_is_put_aside);
    tcase_add_test(tcase, a_file_that_is_no_database_is_put_aside);
    tcase_add_test(tcase, what_cannot_be_put_aside_is_refused_and_kept);
    tcase_add_test(tcase,
                   a_database_deleted_while_it_is_open_is_written_anew_with_all_that_stood_in_it);
    tcase_add_test(tcase, a_database_replaced_while_it_is_open_is_not_written_to);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
