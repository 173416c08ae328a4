/* The audit log: what stands in it, how much of it, and the pace of refusals. */
#include "daemon/server/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/msg.h"
#include "tests/unit/unit.h"

static char directory[] = "/tmp/test_audit-XXXXXX";
static int dir_fd = -1;
static struct audit *audit;

static void set_up(void)
{
    struct err err = {0};

    log_to(-1, 0, false);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_msg(audit_open(dir_fd, &audit, &err) == 0, "%s", err.msg);
}

static void tear_down(void)
{
    audit_close(audit);
    (void)unlinkat(dir_fd, AUDIT_FILE, 0);
    (void)unlinkat(dir_fd, AUDIT_FILE_OLDER, 0);
    (void)close(dir_fd);
    ck_assert_int_eq(rmdir(directory), 0);
}

static void tell(uid_t uid, const char *guest, int code, const char *why)
{
    const struct peer peer = {.pid = 12, .uid = uid, .role = PEER_OPERATOR};
    struct err err = {0};

    if (code != 0) {
        (void)err_set(&err, code, "%s", why);
    }
    audit_tell(audit, &(struct audit_entry){.peer = &peer,
                                            .method = "guest.start",
                                            .guest = guest,
                                            .refusal = code != 0 ? &err : NULL});
}

static struct msg_audit_list read_last(size_t limit)
{
    struct msg_audit_list list = {0};

    ck_assert_int_eq(audit_read(audit, limit, &list, NULL), 0);
    return list;
}

START_TEST(changes_and_refusals_are_read_back_in_their_order)
{
    struct msg_audit_list list;

    set_up();
    tell(7, "web", 0, NULL);
    tell(8, "db", -EPERM, "not \"yours\"\nat all");
    list = read_last(0);
    ck_assert_uint_eq(list.records_count, 2);
    ck_assert_int_eq(list.records[0].uid, 7);
    ck_assert_str_eq(list.records[0].guest, "web");
    ck_assert_str_eq(list.records[0].result, "ok");
    ck_assert_str_eq(list.records[0].role, "operator");
    ck_assert_str_eq(list.records[1].result, "not-permitted");
    ck_assert_str_eq(list.records[1].message, "not \"yours\"\nat all");
    msg_fini(MSG_audit_list, &list);
    list = read_last(1);
    ck_assert_uint_eq(list.records_count, 1);
    ck_assert_int_eq(list.records[0].uid, 8);
    msg_fini(MSG_audit_list, &list);
    tear_down();
}
END_TEST

START_TEST(the_file_is_for_the_daemon_alone_and_is_written_on_after_a_restart)
{
    struct msg_audit_list list;
    struct stat status;

    set_up();
    tell(7, "web", 0, NULL);
    audit_close(audit);
    ck_assert_int_eq(audit_open(dir_fd, &audit, NULL), 0);
    tell(7, "web", 0, NULL);
    list = read_last(0);
    ck_assert_uint_eq(list.records_count, 2);
    msg_fini(MSG_audit_list, &list);
    ck_assert_int_eq(fstatat(dir_fd, AUDIT_FILE, &status, 0), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    tear_down();
}
END_TEST

START_TEST(two_files_at_most_of_a_known_size_and_the_newest_records_stay)
{
    static char guest[64];
    struct msg_audit_list list;
    struct stat now, older;

    set_up();
    for (int i = 0; i < 70000; i++) { /* some 9 MiB */
        (void)snprintf(guest, sizeof(guest), "g%d", i);
        tell(7, guest, 0, NULL);
    }
    ck_assert_int_eq(fstatat(dir_fd, AUDIT_FILE, &now, 0), 0);
    ck_assert_int_eq(fstatat(dir_fd, AUDIT_FILE_OLDER, &older, 0), 0);
    ck_assert_int_le(now.st_size, AUDIT_FILE_MAX);
    ck_assert_int_le(older.st_size, AUDIT_FILE_MAX);
    ck_assert_int_gt(older.st_size, AUDIT_FILE_MAX - 1024);
    list = read_last(0);
    ck_assert_uint_eq(list.records_count, AUDIT_LIST_MAX);
    ck_assert_str_eq(list.records[AUDIT_LIST_MAX - 1].guest, "g69999");
    ck_assert_str_eq(list.records[0].guest, "g69000");
    msg_fini(MSG_audit_list, &list);
    tear_down();
}
END_TEST

START_TEST(lines_that_are_no_records_are_passed_over)
{
    struct msg_audit_list list;
    auto_close int fd = -1;

    set_up();
    tell(7, "a", 0, NULL);
    fd = openat(dir_fd, AUDIT_FILE, O_WRONLY | O_APPEND | O_CLOEXEC);
    ck_assert_int_eq(write(fd, "half a li\n\n{}\n", 14), 14);
    tell(7, "b", 0, NULL);
    list = read_last(0);
    ck_assert_uint_eq(list.records_count, 2);
    ck_assert_str_eq(list.records[1].guest, "b");
    msg_fini(MSG_audit_list, &list);
    tear_down();
}
END_TEST

START_TEST(what_a_host_that_went_down_left_hides_no_other_records)
{
    struct msg_audit_list list;
    auto_close int fd = -1;

    set_up();
    tell(7, "a", 0, NULL);
    audit_close(audit);
    fd = openat(dir_fd, AUDIT_FILE, O_WRONLY | O_APPEND | O_CLOEXEC);
    ck_assert_int_eq(write(fd, "{\"time\":\0\0\0\0", 12), 12);
    ck_assert_int_eq(audit_open(dir_fd, &audit, NULL), 0);
    tell(7, "b", 0, NULL);
    list = read_last(0);
    ck_assert_uint_eq(list.records_count, 2);
    ck_assert_str_eq(list.records[0].guest, "a");
    ck_assert_str_eq(list.records[1].guest, "b");
    msg_fini(MSG_audit_list, &list);
    tear_down();
}
END_TEST

START_TEST(one_user_s_refusals_are_bounded_and_what_was_left_out_is_counted)
{
    struct audit_pace pace = {0};
    int64_t left_out = -1;

    for (int i = 0; i < AUDIT_BURST; i++) {
        ck_assert(audit_pace_allows(&pace, 7, 1000, &left_out));
        ck_assert_int_eq(left_out, 0);
    }
    ck_assert(!audit_pace_allows(&pace, 7, 1000, &left_out));
    ck_assert(!audit_pace_allows(&pace, 7, 1099, &left_out));
    ck_assert(audit_pace_allows(&pace, 8, 1099, &left_out)); /* somebody else is not */
    ck_assert(audit_pace_allows(&pace, 7, 1100, &left_out)); /* a tenth of a second: one line */
    ck_assert_int_eq(left_out, 2);
    ck_assert(!audit_pace_allows(&pace, 7, 1100, &left_out));
    ck_assert(audit_pace_allows(&pace, 7, INT64_MAX, &left_out)); /* a long time: no overflow */
    ck_assert_int_eq(left_out, 1);
}
END_TEST

START_TEST(more_users_than_are_known_forget_the_one_who_was_silent_for_longest)
{
    struct audit_pace pace = {0};
    int64_t left_out = 0;

    for (uid_t uid = 0; uid < AUDIT_USERS_MAX; uid++) {
        for (int i = 0; i < AUDIT_BURST; i++) {
            ck_assert(audit_pace_allows(&pace, uid, 1 + (int64_t)uid, &left_out));
        }
    }
    ck_assert(!audit_pace_allows(&pace, 0, 99, &left_out)); /* 1 is the most silent one now */
    ck_assert(audit_pace_allows(&pace, AUDIT_USERS_MAX, 99, &left_out));
    ck_assert(!audit_pace_allows(&pace, 0, 99, &left_out));
    ck_assert(audit_pace_allows(&pace, 1, 99, &left_out));
}
END_TEST

UNIT_MAIN("audit", changes_and_refusals_are_read_back_in_their_order,
          the_file_is_for_the_daemon_alone_and_is_written_on_after_a_restart,
          two_files_at_most_of_a_known_size_and_the_newest_records_stay,
          lines_that_are_no_records_are_passed_over,
          what_a_host_that_went_down_left_hides_no_other_records,
          one_user_s_refusals_are_bounded_and_what_was_left_out_is_counted,
          more_users_than_are_known_forget_the_one_who_was_silent_for_longest)
