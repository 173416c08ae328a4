/* What this host has, and which process is meant. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/host/clock.h"
#include "daemon/host/cpus.h"
#include "daemon/host/kvm.h"
#include "daemon/host/memory.h"
#include "daemon/host/process.h"
#include "daemon/host/text.h"
#include "daemon/host/users.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

/* ---- processes ---- */

/* A child that waits to be killed. */
static pid_t make_child(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            (void)pause();
        }
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

static void reap(pid_t pid)
{
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(a_process_that_was_identified_is_opened_and_signalled)
{
    auto_close int pidfd = -1;
    pid_t pid = make_child();
    struct process_id id;
    struct pollfd wait = {.events = POLLIN};

    ck_assert_int_eq(process_identify(pid, &id, NULL), 0);
    ck_assert_int_eq(id.pid, pid);
    ck_assert_uint_gt(id.start_ticks, 0);
    ck_assert_int_eq(process_open(&id, &pidfd, NULL), 0);
    ck_assert_int_eq(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(process_signal(pidfd, SIGKILL, NULL), 0);
    wait.fd = pidfd;
    ck_assert_int_eq(poll(&wait, 1, 20000), 1); /* it is dead */
    reap(pid);
    ck_assert_int_eq(process_signal(pidfd, SIGKILL, NULL), -ESRCH);
}
END_TEST

START_TEST(a_stranger_with_the_same_pid_is_not_opened)
{
    pid_t pid = make_child();
    struct process_id id;
    struct err err = {0};
    char expected[64];
    int pidfd = -1;

    ck_assert_int_eq(process_identify(pid, &id, NULL), 0);
    id.start_ticks--;
    ck_assert_int_eq(process_open(&id, &pidfd, &err), -ESRCH);
    (void)snprintf(expected, sizeof(expected), "process %d is another one by now", (int)pid);
    ck_assert_str_eq(err.msg, expected);
    id.start_ticks++;
    id.boot_id[0] = id.boot_id[0] == '0' ? '1' : '0'; /* before another boot */
    ck_assert_int_eq(process_open(&id, &pidfd, &err), -ESRCH);
    ck_assert_int_eq(pidfd, -1);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    reap(pid);
}
END_TEST

START_TEST(a_process_that_is_gone_is_not_opened)
{
    pid_t pid = make_child();
    struct process_id id;
    struct err err = {0};
    char expected[64];
    int pidfd = -1;

    ck_assert_int_eq(process_identify(pid, &id, NULL), 0);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    reap(pid);
    (void)snprintf(expected, sizeof(expected), "there is no process %d", (int)pid);
    ck_assert_int_eq(process_open(&id, &pidfd, &err), -ESRCH);
    ck_assert_str_eq(err.msg, expected);
    ck_assert_int_eq(process_identify(pid, &id, &err), -ESRCH);
    ck_assert_str_eq(err.msg, expected);
    for (pid_t none = -1; none <= 0; none++) {
        id.pid = none;
        ck_assert_int_eq(process_open(&id, &pidfd, &err), -ESRCH);
    }
}
END_TEST

/* What is written in /proc/PID/autogroup; -1: this kernel has none. */
static int session_nice(pid_t pid)
{
    char path[48], text[64];
    int nice = -1;

    (void)snprintf(path, sizeof(path), "/proc/%d/autogroup", (int)pid);
    if (text_read(path, text, sizeof(text), NULL) == 0) {
        const char *at = strstr(text, " nice ");

        nice = at != NULL ? (int)strtol(at + strlen(" nice "), NULL, 10) : -1;
    }
    return nice;
}

START_TEST(a_process_stands_back_with_its_session)
{
    int ready[2], r, nice;
    pid_t pid;
    char byte;

    ck_assert_int_eq(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (setsid() == getpid() && write(ready[1], "", 1) == 1) {
            (void)pause();
        }
        _exit(1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    r = process_set_nice(pid, 7, NULL);
    ck_assert_msg(r == 0 || (r == -EAGAIN && geteuid() != 0), "%d", r); /* ten sessions a second */
    ck_assert_int_eq(getpriority(PRIO_PROCESS, (id_t)pid), 7);
    nice = session_nice(pid);
    ck_assert_msg(nice == 7 || nice == -1 || r != 0, "%d", nice);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    reap(pid);
    ck_assert_int_eq(process_set_nice(pid, 7, NULL), -ESRCH);
}
END_TEST

START_TEST(a_process_that_dies_is_hurried_with_all_its_threads)
{
    int ready[2], r;
    pid_t pid;
    char byte;

    ck_assert_int_eq(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (write(ready[1], "", 1) == 1) {
            (void)pause();
        }
        _exit(1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    r = process_hurry(pid, NULL); /* alive: what it got can be seen */
    ck_assert_msg(r == 0 || r == -EPERM, "%d", r);
    ck_assert_int_eq(sched_getscheduler(pid),
                     r == 0 ? SCHED_RR | SCHED_RESET_ON_FORK : SCHED_OTHER);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    reap(pid);
    ck_assert_int_eq(process_hurry(pid, NULL), -ENOENT);
}
END_TEST

START_TEST(the_name_of_a_program_does_not_confuse)
{
    struct process_id before;
    struct process_id after;

    ck_assert_int_eq(process_identify(getpid(), &before, NULL), 0);
    ck_assert_int_eq(prctl(PR_SET_NAME, ") 1 2 (3 4) "), 0);
    ck_assert_int_eq(process_identify(getpid(), &after, NULL), 0);
    ck_assert_uint_eq(before.start_ticks, after.start_ticks);
}
END_TEST

/* ---- memory, CPUs, KVM ---- */

static void write_text(char *path, const char *text)
{
    auto_close int fd = mkstemp(path);

    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

START_TEST(memory_is_read_in_bytes)
{
    char path[] = "/tmp/test_host-XXXXXX";
    int64_t bytes = 0;

    write_text(path, "MemTotal:       16314112 kB\nMemFree:         1 kB\n");
    ck_assert_int_eq(memory_total_of(path, &bytes, NULL), 0);
    ck_assert_int_eq(bytes, INT64_C(16314112) * 1024);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(memory_total(&bytes, NULL), 0);
    ck_assert_int_gt(bytes, 1 << 20);
}
END_TEST

START_TEST(what_is_no_meminfo_is_refused)
{
    static const char *const texts[] = {"",
                                        "MemFree: 1 kB\n",
                                        "MemTotal: many kB\n",
                                        "MemTotal: 5 MB\n",
                                        "MemTotal: 99999999999999999999 kB\n",
                                        "MemTotal: 9223372036854775807 kB\n",
                                        "MemTotal: 0 kB\n"};
    int64_t bytes = -7;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char path[] = "/tmp/test_host-XXXXXX";

        write_text(path, texts[i]);
        ck_assert_int_eq(memory_total_of(path, &bytes, NULL), -EINVAL);
        ck_assert_int_eq(unlink(path), 0);
    }
    ck_assert_int_eq(bytes, -7);
    ck_assert_int_eq(memory_total_of("/nowhere", &bytes, NULL), -ENOENT);
}
END_TEST

START_TEST(lists_of_cpus_are_counted)
{
    static const struct {
        const char *list;
        int count;
    } good[] = {{"0\n", 1}, {"0-3", 4}, {"0-3,8,10-11\n", 7}, {"5,6", 2}};
    static const char *const bad[] = {"",
                                      "\n",
                                      "a",
                                      "0-",
                                      "-3",
                                      "3-1",
                                      "0,,1",
                                      "0,1,",
                                      "0 1",
                                      "1,1",
                                      "0-3,2",
                                      "0-65536",
                                      "99999999999999999999"};
    int count = 0;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_int_eq(cpus_count_list(good[i].list, &count, NULL), 0);
        ck_assert_int_eq(count, good[i].count);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(cpus_count_list(bad[i], &count, NULL) == -EINVAL, "'%s'", bad[i]);
    }
    ck_assert_int_eq(cpus_online(&count, NULL), 0);
    ck_assert_int_eq(count, sysconf(_SC_NPROCESSORS_ONLN));
}
END_TEST

START_TEST(what_is_wrong_with_the_kvm_device_is_said_in_words)
{
    struct err err = {0};
    int fd = -1;

    ck_assert_int_eq(kvm_open("/nowhere/kvm", &fd, &err), -EOPNOTSUPP);
    ck_assert_ptr_nonnull(strstr(err.msg, "'/nowhere/kvm' is missing: load the module"));
    ck_assert_int_eq(kvm_open("/dev/null", &fd, &err), -EOPNOTSUPP);
    ck_assert_str_eq(err.msg, "'/dev/null' is not KVM: another device has its name "
                              "('ls -l /dev/null'; KVM's is 10, 232)");
    ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(a_kvm_device_without_permission_says_what_to_do)
{
    char path[] = "/tmp/test_host-XXXXXX";
    struct err err = {0};
    int fd = -1;

    write_text(path, "");
    ck_assert_int_eq(chmod(path, 0), 0);
    if (geteuid() == 0) {
        ck_assert_int_eq(seteuid(65534), 0);
    }
    ck_assert_int_eq(kvm_open(path, &fd, &err), -EACCES);
    (void)!seteuid(getuid());
    ck_assert_ptr_nonnull(strstr(err.msg, "run qvmd as root, or as a member of its group"));
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* ---- clock, text ---- */

START_TEST(times_are_written_and_read_back)
{
    static const struct {
        int64_t ns;
        const char *text;
    } times[] = {{0, "1970-01-01T00:00:00.000Z"},
                 {INT64_C(1780218487654000000), "2026-05-31T09:08:07.654Z"},
                 {INT64_C(951782400001000000), "2000-02-29T00:00:00.001Z"}};
    char text[CLOCK_TEXT_SIZE];
    int64_t ns = 0;

    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        ck_assert_str_eq(clock_text(times[i].ns, text), times[i].text);
        ck_assert_int_eq(clock_parse(text, &ns), 0);
        ck_assert_int_eq(ns, times[i].ns);
    }
    ck_assert_str_eq(clock_text(-1, text), "1969-12-31T23:59:59.999Z");
    ck_assert_int_eq(clock_parse(clock_now_text(text), &ns), 0);
}
END_TEST

START_TEST(what_is_no_time_is_refused)
{
    static const char *const bad[] = {"",
                                      "now",
                                      "2026-06-31T09:08:07.654Z",
                                      "2026-05-31T09:08:07.654",
                                      "2026-05-31T09:08:07.654Zx",
                                      "2026-05-31T09:08:07Z",
                                      "2026-5-31T09:08:07.654Z",
                                      "2026-05-31T24:00:00.000Z",
                                      "9999-05-31T09:08:07.654Z"};
    int64_t ns = -7;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(clock_parse(bad[i], &ns) == -EINVAL, "'%s'", bad[i]);
    }
    ck_assert_int_eq(ns, -7);
}
END_TEST

START_TEST(a_text_that_is_too_long_is_cut)
{
    char path[] = "/tmp/test_host-XXXXXX";
    char text[4];

    write_text(path, "12345");
    ck_assert_int_eq(text_read(path, text, sizeof(text), NULL), 0);
    ck_assert_str_eq(text, "123");
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(a_user_has_a_name_or_at_least_a_number)
{
    char name[USERS_NAME_SIZE];
    uid_t uid = 7;

    users_name(0, name);
    ck_assert_str_eq(name, "root");
    users_name(3999999999u, name);
    ck_assert_str_eq(name, "3999999999");
    ck_assert_int_eq(users_find("root", &uid), 0);
    ck_assert_uint_eq(uid, 0);
    ck_assert_int_eq(users_find("3999999999", &uid), 0);
    ck_assert_uint_eq(uid, 3999999999u);
}
END_TEST

START_TEST(who_is_nobody_is_not_found)
{
    static const char *const bad[] = {"",   "no such user", "-1",
                                      "1x", "4294967295",   "99999999999999999999"};
    gid_t gid = 7;
    uid_t uid = 7;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(users_find(bad[i], &uid) == -ENOENT, "'%s'", bad[i]);
    }
    ck_assert_int_eq(users_find_group("no such group", &gid), -ENOENT);
    ck_assert_int_eq(users_find_group("root", &gid), 0);
    ck_assert_uint_eq(gid, 0);
}
END_TEST

UNIT_MAIN("host", a_process_that_was_identified_is_opened_and_signalled,
          a_stranger_with_the_same_pid_is_not_opened, a_process_that_is_gone_is_not_opened,
          a_process_stands_back_with_its_session,
          a_process_that_dies_is_hurried_with_all_its_threads,
          the_name_of_a_program_does_not_confuse, memory_is_read_in_bytes,
          what_is_no_meminfo_is_refused, lists_of_cpus_are_counted,
          what_is_wrong_with_the_kvm_device_is_said_in_words,
          a_kvm_device_without_permission_says_what_to_do, times_are_written_and_read_back,
          what_is_no_time_is_refused, a_text_that_is_too_long_is_cut,
          a_user_has_a_name_or_at_least_a_number, who_is_nobody_is_not_found)
