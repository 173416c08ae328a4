/* The store in its file: lock, modes, migrations, full and read-only disks, kill -9. */
#include "tests/unit/store_file_unit.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static size_t open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    ck_assert_int_eq(closedir(dir), 0);
    return count;
}

/* All guests are defined anew: some forty pages. */
static void define_many(struct store *store, char filler)
{
    enum { GUESTS = 200, SIZE = 800 };
    char text[SIZE];
    struct store_guest guest = {.owner = 7, .definition = text, .desired = STATE_stopped};

    memset(text, filler, sizeof(text));
    text[0] = text[sizeof(text) - 2] = '"';
    text[sizeof(text) - 1] = '\0';
    for (int i = 0; i < GUESTS; i++) {
        (void)snprintf(guest.name, sizeof(guest.name), "g%d", i);
        ck_assert_int_eq(store_guest_put(store, &guest, NULL, NULL), 0);
    }
}

START_TEST(a_large_step_of_a_transaction_leaves_no_file_open)
{
    auto_store struct store *store = test_store(path);
    size_t before;
    struct store_tx outer, inner;

    define_many(store, 'a');
    before = open_descriptors();
    ck_assert_int_eq(store_begin(store, &outer, NULL), 0);
    ck_assert_int_eq(store_begin(store, &inner, NULL), 0);
    define_many(store, 'b');
    ck_assert_int_eq(store_commit(&inner, NULL), 0);
    ck_assert_int_eq(store_commit(&outer, NULL), 0);
    ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(all_files_are_private_whatever_the_umask)
{
    mode_t saved = umask(0);
    auto_store struct store *store = test_store(path);

    test_define(store, "web");
    expect_mode("");
    expect_mode("-wal");
    expect_mode("-lock");
    ck_assert_int_eq(chmod(path, 0644), 0);
    store_close(take_ptr(store));
    store = test_store(path);
    expect_mode("");
    (void)umask(saved);
}
END_TEST

START_TEST(what_was_written_is_there_after_closing)
{
    auto_store struct store *store = test_store(path);
    struct store_guest guest;

    test_define(store, "web");
    store_close(take_ptr(store));
    store = test_store(path);
    ck_assert_int_eq(store_guest_get(store, "web", &guest, NULL), 0);
    store_guest_fini(&guest);
}
END_TEST

START_TEST(a_second_daemon_is_refused_with_the_pid_of_the_first_before_it_opens_anything)
{
    auto_store struct store *first = test_store(path);
    struct store *second = NULL;
    struct err err = {0};
    char expected[256];

    ck_assert_int_eq(store_open(path, &second, &err), -EBUSY);
    (void)snprintf(expected, sizeof(expected), "the store '%s' is held by another qvmd (pid %d)",
                   path, (int)getpid());
    ck_assert_str_eq(err.msg, expected);
    ck_assert_ptr_null(second);
    store_close(take_ptr(first));
    first = test_store(path);
}
END_TEST

/* ---- migrations ---- */

START_TEST(an_older_database_is_copied_and_migrated)
{
    static const char *const steps[] = {"CREATE TABLE pet(name TEXT)",
                                        "ALTER TABLE pet ADD COLUMN legs INTEGER DEFAULT 4"};
    struct store *store = NULL;
    struct err err = {0};
    char copy[128];
    int64_t legs = 0;

    ck_assert_int_eq(store_open_with(path, steps, 1, &store, &err), 0);
    ck_assert_int_eq(store_write_one(store, "INSERT INTO pet VALUES('rex')", BIND_NONE, &err), 0);
    store_close(store);
    ck_assert_msg(store_open_with(path, steps, 2, &store, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(store_run_int(store, "SELECT legs FROM pet", BIND_NONE, &legs, &err), 0);
    ck_assert_int_eq(legs, 4);
    store_close(store);
    (void)snprintf(copy, sizeof(copy), "%s.version-1", path);
    expect_mode(".version-1");
    ck_assert_msg(store_open_with(copy, steps, 1, &store, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(store_run_int(store, "SELECT legs FROM pet", BIND_NONE, &legs, &err), -EIO);
    store_close(store);
}
END_TEST

START_TEST(a_migration_that_fails_changes_nothing)
{
    static const char *const good[] = {"CREATE TABLE pet(name TEXT)",
                                       "CREATE TABLE house(name TEXT)"};
    static const char *const bad[] = {"CREATE TABLE pet(name TEXT)",
                                      "CREATE TABLE house(name TEXT); CREATE TABLE pet(x)"};
    struct store *store = NULL;
    struct err err = {0};

    ck_assert_int_eq(store_open_with(path, good, 1, &store, &err), 0);
    store_close(store);
    ck_assert_int_eq(store_open_with(path, bad, 2, &store, &err), -EIO);
    ck_assert_msg(store_open_with(path, good, 2, &store, &err) == 0, "%s", err.msg);
    store_close(store);
}
END_TEST

START_TEST(a_newer_database_is_refused_in_words)
{
    static const char *const steps[] = {"CREATE TABLE a(x)", "CREATE TABLE b(x)"};
    struct store *store = NULL;
    struct err err = {0};
    char expected[256];

    ck_assert_int_eq(store_open_with(path, steps, 2, &store, &err), 0);
    store_close(take_ptr(store));
    ck_assert_int_eq(store_open_with(path, steps, 1, &store, &err), -EOPNOTSUPP);
    (void)snprintf(expected, sizeof(expected),
                   "the store '%s' was written by a newer qvmd (its version is 2, this qvmd knows "
                   "up to 1)",
                   path);
    ck_assert_str_eq(err.msg, expected);
    ck_assert_ptr_null(store);
}
END_TEST

START_TEST(the_database_of_another_program_is_refused_and_kept)
{
    static const char *const steps[] = {"CREATE TABLE music(title)"};
    struct store *store = NULL;

    ck_assert_int_eq(store_open_with(path, steps, 1, &store, NULL), 0);
    ck_assert_int_eq(store_run(store, "PRAGMA application_id=7", BIND_NONE, NULL, NULL, NULL), 0);
    store_close(take_ptr(store));
    expect_refused("is the database of another program");
}
END_TEST

/* ---- disks ---- */

/* No file may grow beyond `size` bytes: writing fails as on a broken disk. */
static void limit_files(rlim_t size)
{
    struct rlimit limit;

    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

START_TEST(a_disk_that_fails_changes_nothing_and_is_found_sound_again)
{
    auto_store struct store *store = test_store(path);
    struct store_guest guest;
    struct err err = {0};

    test_define(store, "web");
    limit_files(0);
    ck_assert_int_eq(store_guest_set_desired(store, "web", STATE_running, &err), -EROFS);
    ck_assert_str_eq(err.msg, store_degraded(store));
    ck_assert_ptr_nonnull(strstr(err.msg, "cannot be written"));
    ck_assert_int_eq(test_event(store, "kept"), 1);
    ck_assert_int_eq(store_retry(store, NULL), -EROFS);
    ck_assert_int_eq(store_guest_get(store, "web", &guest, NULL), 0);
    ck_assert_int_eq(guest.desired, STATE_stopped);
    store_guest_fini(&guest);

    limit_files(RLIM_INFINITY);
    ck_assert_int_eq(store_retry(store, NULL), 0);
    ck_assert_ptr_null(store_degraded(store));
    ck_assert_int_eq(store_guest_set_desired(store, "web", STATE_running, NULL), 0);
    store_close(take_ptr(store));
    store = test_store(path);
    ck_assert_int_eq(store_event_last(store), 1);
}
END_TEST

/* A child that leaves a log behind: it commits guest `web` and event 1, begins more, and dies. */
static void leave_log(void)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct store *store = test_store(path);
        struct store_tx tx = {0};

        test_define(store, "web");
        test_event(store, "committed");
        ck_assert_int_eq(store_begin(store, &tx, NULL), 0);
        test_define(store, "ghost");
        test_event(store, "not committed");
        (void)kill(getpid(), SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
}

START_TEST(after_kill_9_what_was_committed_is_there_and_nothing_else)
{
    auto_store struct store *store = NULL;
    struct store_guest guest;

    leave_log();
    store = test_store(path);
    ck_assert_int_eq(store_guest_get(store, "ghost", &guest, NULL), -ENOENT);
    ck_assert_int_eq(store_guest_get(store, "web", &guest, NULL), 0);
    store_guest_fini(&guest);
    ck_assert_int_eq(test_event(store, "next"), 2);
}
END_TEST

START_TEST(a_read_only_database_is_read_with_its_log_and_degraded_until_it_can_be_written)
{
    auto_store struct store *store = NULL;
    struct store_guest guest;
    struct err err = {0};
    char log[128];

    leave_log();
    (void)snprintf(log, sizeof(log), "%s-wal", path);
    ck_assert_int_eq(chmod(path, 0400), 0);
    ck_assert_int_eq(chmod(log, 0400), 0);
    ck_assert_int_eq(chmod(directory, 0500), 0);
    store = test_store(path);
    ck_assert_msg(strstr(store_degraded(store), "cannot be written: Permission denied") != NULL,
                  "%s", store_degraded(store));
    ck_assert_int_eq(store_guest_get(store, "web", &guest, NULL), 0);
    store_guest_fini(&guest);
    ck_assert_int_eq(store_guest_set_desired(store, "web", STATE_running, &err), -EROFS);
    ck_assert_int_eq(test_event(store, "kept"), 2);
    ck_assert_int_eq(store_retry(store, NULL), -EROFS);

    ck_assert_int_eq(chmod(directory, 0700), 0);
    ck_assert_int_eq(chmod(path, 0600), 0);
    ck_assert_int_eq(chmod(log, 0600), 0);
    ck_assert_int_eq(store_retry(store, &err), 0);
    ck_assert_ptr_null(store_degraded(store));
    store_close(take_ptr(store));
    store = test_store(path);
    ck_assert_int_eq(store_event_last(store), 2);
}
END_TEST

/* The walk of one instance, in steps as qvmd takes them. */
static void live_a_life(void)
{
    struct store *store = test_store(path);
    struct store_tx tx = {0};
    int64_t id;

    ck_assert_int_eq(store_begin(store, &tx, NULL), 0);
    id = test_instance(store, "web", 4711);
    test_event(store, "starting");
    ck_assert_int_eq(store_commit(&tx, NULL), 0);
    ck_assert_int_eq(store_begin(store, &tx, NULL), 0);
    ck_assert_int_eq(store_instance_set_state(store, id, STATE_running, NULL), 0);
    test_event(store, "running");
    ck_assert_int_eq(store_commit(&tx, NULL), 0);
    ck_assert_int_eq(store_begin(store, &tx, NULL), 0);
    test_end(store, id);
    test_event(store, "stopped");
    ck_assert_int_eq(store_commit(&tx, NULL), 0);
    store_close(store);
}

/* Events and states were written together. */
static void expect_consistent(void)
{
    auto_store struct store *store = test_store(path);
    int64_t last = store_event_last(store);
    struct store_instance instance;
    int r = store_instance_last(store, "web", &instance, NULL);

    ck_assert_int_eq(r, last == 0 ? -ENOENT : 0);
    if (r == 0) {
        ck_assert_int_eq(instance.state, last == 1   ? STATE_starting
                                         : last == 2 ? STATE_running
                                                     : STATE_stopped);
        ck_assert_int_eq(instance.ended[0] == '\0', last < 3);
    }
}

/* daemon/crash_point.h */
static void crash_at(int number)
{
    char name[128];
    FILE *file;

    (void)snprintf(name, sizeof(name), "%s/crash", directory);
    file = fopen(name, "we");
    ck_assert_ptr_nonnull(file);
    (void)fprintf(file, "%d", number);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(setenv("QVM_CRASH_FILE", name, 1), 0);
}

START_TEST(killed_at_any_durable_step_states_and_events_agree)
{
    int crashes = 0;
    int status;

    do {
        pid_t pid;

        crash_at(++crashes);
        (void)unlink(path);
        pid = fork();
        if (pid == 0) {
            live_a_life();
            _exit(0);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(unsetenv("QVM_CRASH_FILE"), 0);
        expect_consistent();
    } while (WIFSIGNALED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    ck_assert_int_eq(crashes, 2 * 3 + 1); /* before and after each commit; then it lived */
}
END_TEST

UNIT_MAIN_WITH("store_file", setup, teardown, all_files_are_private_whatever_the_umask,
               what_was_written_is_there_after_closing,
               a_second_daemon_is_refused_with_the_pid_of_the_first_before_it_opens_anything,
               an_older_database_is_copied_and_migrated, a_migration_that_fails_changes_nothing,
               a_newer_database_is_refused_in_words,
               the_database_of_another_program_is_refused_and_kept,
               a_disk_that_fails_changes_nothing_and_is_found_sound_again,
               after_kill_9_what_was_committed_is_there_and_nothing_else,
               a_read_only_database_is_read_with_its_log_and_degraded_until_it_can_be_written,
               killed_at_any_durable_step_states_and_events_agree,
               a_large_step_of_a_transaction_leaves_no_file_open)
