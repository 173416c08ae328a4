/* What a process uses, and what KVM says of a vCPU. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/host/kvm_stats.h"
#include "daemon/host/process.h"
#include "daemon/host/usage.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

START_TEST(a_stat_line_is_read_whatever_the_name_is)
{
    static const char line[] =
        "17 (a) R 9) (\x1b b) S 1 17 17 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 3 0 98765 1 2 3\n";
    struct usage_stat stat;

    ck_assert_int_eq(usage_parse_stat(line, &stat), 0);
    ck_assert_str_eq(stat.name, "a) R 9) (? b");
    ck_assert_str_eq(stat.state, "S");
    ck_assert_uint_eq(stat.ticks, 300);
    ck_assert_uint_eq(stat.start_ticks, 98765);
}
END_TEST

START_TEST(what_is_no_stat_line_is_refused)
{
    static const char *const lines[] = {"",
                                        "17",
                                        "17 (a",
                                        "17 a)",
                                        "17 )a(",
                                        "17 (a) S 1 2 3",
                                        "17 (a) S 1 17 17 0 -1 1 1 2 3 4 x y 0 0 20 0 3 0 1 1"};
    struct usage_stat stat;

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        ck_assert_int_eq(usage_parse_stat(lines[i], &stat), -EINVAL);
    }
}
END_TEST

static void *wait_in_thread(void *pipe_fd)
{
    char byte;

    (void)prctl(PR_SET_NAME, "vcpu0");
    return read(*(int *)pipe_fd, &byte, 1) == 0 ? NULL : pipe_fd;
}

static uint64_t own_start(void)
{
    struct process_id id;

    ck_assert_int_eq(process_identify(getpid(), &id, NULL), 0);
    return id.start_ticks;
}

START_TEST(threads_have_names_and_time)
{
    int ends[2];
    pthread_t thread;
    struct usage usage;
    bool is_found = false;

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_in_thread, &ends[0]), 0);
    while (!is_found) { /* until it has named itself */
        ck_assert_int_eq(usage_read(getpid(), own_start(), &usage, NULL), 0);
        ck_assert_uint_ge(usage.thread_count, 2); /* a sanitizer may have one of its own */
        for (size_t i = 0; i < usage.thread_count; i++) {
            is_found = is_found || strcmp(usage.threads[i].name, "vcpu0") == 0;
        }
        ck_assert_int_gt(usage.cpu_ns, 0);
        ck_assert_int_gt(usage.own, 0);
        usage_fini(&usage);
    }
    (void)close(ends[1]);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

START_TEST(a_stranger_with_the_same_pid_is_not_read)
{
    struct usage usage;
    struct err err = {0};

    ck_assert_int_eq(usage_read(getpid(), own_start() + 1, &usage, &err), -ESRCH);
    ck_assert_int_eq(usage_read(0x3fffff, 1, &usage, &err), -ESRCH);
}
END_TEST

START_TEST(a_descriptor_that_is_no_statistics_is_not_read)
{
    int ends[2];
    struct kvm_stats stats;
    struct err err = {0};

    ck_assert_int_eq(pipe(ends), 0); /* reading it would wait for ever */
    ck_assert_int_eq(kvm_stats_open(ends[0], &stats, &err), -EPROTO);
    ck_assert_int_eq(kvm_stats_open(-1, &stats, &err), -EPROTO);
}
END_TEST

UNIT_MAIN("usage", a_stat_line_is_read_whatever_the_name_is, what_is_no_stat_line_is_refused,
          threads_have_names_and_time, a_stranger_with_the_same_pid_is_not_read,
          a_descriptor_that_is_no_statistics_is_not_read)
