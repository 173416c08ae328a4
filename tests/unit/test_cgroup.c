/* Control groups without a kernel that has them: what their files say, and what is refused. */
#include "daemon/cgroup/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

static char directory[64];
static int directory_fd = -1;

static void make_directory(void)
{
    (void)strcpy(directory, "/tmp/qvm-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(directory_fd, 0);
}

static void remove_directory(void)
{
    static const char *const names[] = {"memory.events", "memory.current", "memory.peak",
                                        "cpu.stat"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)unlinkat(directory_fd, names[i], 0);
    }
    cleanup_close(&directory_fd);
    ck_assert_int_eq(rmdir(directory), 0);
}

/* A file of the group, as the kernel would show it. */
static void show(const char *name, const char *text)
{
    auto_close int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

START_TEST(usage_is_read_from_the_files_of_the_group)
{
    struct cgroup_usage usage;

    make_directory();
    show("cpu.stat", "usage_usec 2500\nuser_usec 1500\nsystem_usec 1000\nnr_periods 0\n");
    show("memory.current", "17408000\n");
    show("memory.peak", "18000000\n");
    ck_assert_int_eq(cgroup_read_usage(directory_fd, &usage), 0);
    ck_assert_int_eq(usage.memory, 17408000);
    ck_assert_int_eq(usage.memory_peak, 18000000);
    ck_assert_int_eq(usage.cpu_ns, 2500000);
    ck_assert_int_eq(usage.cpu_user_ns, 1500000);
    ck_assert_int_eq(usage.cpu_sys_ns, 1000000);
    remove_directory();
}
END_TEST

START_TEST(what_the_kernel_does_not_tell_is_unknown_and_not_zero)
{
    struct cgroup_usage usage;

    make_directory();
    show("cpu.stat", "usage_usec 7\n");
    ck_assert_int_eq(cgroup_read_usage(directory_fd, &usage), 0);
    ck_assert_int_eq(usage.cpu_ns, 7000);
    ck_assert_int_eq(usage.cpu_user_ns, -1);
    ck_assert_int_eq(usage.memory, -1);
    ck_assert_int_eq(usage.memory_peak, -1);
    remove_directory();
}
END_TEST

START_TEST(without_a_group_there_is_no_usage)
{
    struct cgroup_usage usage;

    make_directory();
    ck_assert_int_eq(cgroup_read_usage(-1, &usage), -ENODEV);
    ck_assert_int_eq(cgroup_read_usage(directory_fd, &usage), -ENODEV);
    remove_directory();
}
END_TEST

START_TEST(a_kill_for_want_of_memory_is_told_by_limit_or_host)
{
    bool by_limit = true;

    make_directory();
    ck_assert(!cgroup_was_oom(-1, &by_limit));
    ck_assert(!cgroup_was_oom(directory_fd, &by_limit));
    show("memory.events", "low 0\nhigh 0\nmax 9\noom 0\noom_kill 0\noom_group_kill 0\n");
    ck_assert(!cgroup_was_oom(directory_fd, &by_limit));
    show("memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 3\noom_group_kill 1\n");
    ck_assert(cgroup_was_oom(directory_fd, &by_limit));
    ck_assert(by_limit);
    show("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\noom_group_kill 1\n");
    ck_assert(cgroup_was_oom(directory_fd, &by_limit));
    ck_assert(!by_limit);
    remove_directory();
}
END_TEST

START_TEST(a_limit_leaves_room_for_what_a_vm_needs_beside_its_ram)
{
    const int64_t mib = INT64_C(1) << 20;

    ck_assert_int_eq(cgroup_memory_max(0, 0), 32 * mib);
    ck_assert_int_eq(cgroup_memory_max(64 * mib, 2), (64 + 1 + 32 + 2) * mib);
}
END_TEST

START_TEST(without_a_holder_instances_have_no_group_and_all_that_is_said)
{
    struct cgroups *cgroups = NULL;
    char lacks[8][CGROUP_LACK_SIZE];
    int fd = 0;

    ck_assert_int_eq(cgroups_create(CGROUP_NONE, &cgroups, NULL), 0);
    ck_assert_int_eq(cgroup_make(cgroups, "web.1", &fd, NULL), 0);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(cgroup_open(cgroups, "web.1"), -1);
    ck_assert_int_eq(cgroup_limit(cgroups, -1, &(struct cgroup_limits){.ram = 1, .vcpus = 1}, NULL),
                     0);
    ck_assert_int_eq(cgroup_remove(cgroups, "web.1", NULL), 0);
    ck_assert_int_eq(cgroups_lacks(cgroups, false, lacks, 8), 4);
    ck_assert_str_eq(lacks[0], "the memory limit of each instance: no control groups, the option "
                               "'cgroup' is 'none'");
    ck_assert_int_eq(cgroups_lacks(cgroups, false, lacks, 1), 1);
    cgroups_destroy(cgroups);
}
END_TEST

START_TEST(a_directory_that_is_no_group_is_refused_and_left_as_it_was)
{
    struct cgroups *cgroups = NULL;
    char path[96], expected[160];
    struct err err = {0};
    struct stat status;

    make_directory();
    ck_assert_int_eq(cgroups_create(directory, &cgroups, &err), -EINVAL);
    (void)snprintf(expected, sizeof(expected), "'%s' is no control group of version 2", directory);
    ck_assert_str_eq(err.msg, expected);
    (void)snprintf(path, sizeof(path), "%s/new", directory);
    ck_assert_int_eq(cgroups_create(path, &cgroups, &err), -EINVAL);
    ck_assert_int_eq(stat(path, &status), -1);
    (void)snprintf(path, sizeof(path), "%s/no/where", directory);
    ck_assert_int_eq(cgroups_create(path, &cgroups, &err), -ENOENT);
    ck_assert_ptr_null(cgroups);
    remove_directory();
}
END_TEST

UNIT_MAIN("cgroup", usage_is_read_from_the_files_of_the_group,
          what_the_kernel_does_not_tell_is_unknown_and_not_zero, without_a_group_there_is_no_usage,
          a_kill_for_want_of_memory_is_told_by_limit_or_host,
          a_limit_leaves_room_for_what_a_vm_needs_beside_its_ram,
          without_a_holder_instances_have_no_group_and_all_that_is_said,
          a_directory_that_is_no_group_is_refused_and_left_as_it_was)
