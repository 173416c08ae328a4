/* Following a path name by name: to the same file as the kernel, but not through /proc's links. */
#include "daemon/hand/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "tests/unit/unit.h"

static char directory[64];

static void setup(void)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/test_walk-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
    ck_assert_int_eq(mkdir("a", 0755), 0);
    ck_assert_int_eq(mkdir("a/b", 0755), 0);
    ck_assert_int_eq(close(open("a/b/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644)), 0);
}

static void teardown(void)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    ck_assert_int_eq(system(command), 0);
}

static int walk(const char *below)
{
    char path[5000];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, below);
    return hand_walk(path);
}

static void expect_file(const char *below)
{
    auto_close int fd = walk(below);
    struct stat found;
    struct stat file;

    ck_assert_msg(fd >= 0, "%s: %s", below, strerror(-fd));
    ck_assert_int_eq(fstat(fd, &found), 0);
    ck_assert_int_eq(stat("a/b/file", &file), 0);
    ck_assert_msg(found.st_ino == file.st_ino && found.st_dev == file.st_dev, "%s", below);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_PATH, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

START_TEST(slashes_dots_and_links_lead_where_the_kernel_finds_it)
{
    char absolute[128];

    (void)snprintf(absolute, sizeof(absolute), "%s/a/", directory);
    ck_assert_int_eq(symlink(absolute, "absolute"), 0);
    ck_assert_int_eq(symlink("a/b", "relative"), 0);
    ck_assert_int_eq(symlink("../b/file", "a/b/up"), 0);
    ck_assert_int_eq(symlink("absolute/b/up", "chain"), 0);
    expect_file("a/b/file");
    expect_file("//a///./b/../b//file");
    expect_file("absolute/b/file");
    expect_file("absolute//b/up");
    expect_file("relative/file");
    expect_file("relative/../b/file");
    expect_file("chain");
}
END_TEST

START_TEST(the_root_is_above_itself)
{
    auto_close int fd = hand_walk("/../..//.");
    struct stat found;
    struct stat root;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &found), 0);
    ck_assert_int_eq(stat("/", &root), 0);
    ck_assert_uint_eq(found.st_ino, root.st_ino);
}
END_TEST

START_TEST(what_leads_nowhere_has_the_kernels_error)
{
    char longest[NAME_MAX + 2];
    char path[PATH_MAX + 1];

    ck_assert_int_eq(symlink("nowhere", "dangling"), 0);
    ck_assert_int_eq(symlink("a/b/file/", "directory"), 0);
    ck_assert_int_eq(walk("missing"), -ENOENT);
    ck_assert_int_eq(walk("missing/file"), -ENOENT);
    ck_assert_int_eq(walk("dangling"), -ENOENT);
    ck_assert_int_eq(walk("a/b/file/"), -ENOTDIR);
    ck_assert_int_eq(walk("a/b/file/x"), -ENOTDIR);
    ck_assert_int_eq(walk("directory"), -ENOTDIR);
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    ck_assert_int_eq(walk(longest), -ENAMETOOLONG);
    memset(path, '/', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    ck_assert_int_eq(hand_walk(path), -ENAMETOOLONG);
}
END_TEST

START_TEST(forty_links_are_followed_and_no_more)
{
    char name[16];
    char target[16] = "a/b/file";

    for (int i = 1; i <= 41; i++) {
        (void)snprintf(name, sizeof(name), "link%d", i);
        ck_assert_int_eq(symlink(target, name), 0);
        (void)snprintf(target, sizeof(target), "%s", name);
    }
    expect_file("link40");
    ck_assert_int_eq(walk("link41"), -ELOOP);
    ck_assert_int_eq(symlink("loop/x", "loop"), 0);
    ck_assert_int_eq(walk("loop"), -ELOOP);
}
END_TEST

START_TEST(a_link_and_what_follows_it_fit_a_path)
{
    char target[4000];
    char below[200];

    memset(target, '/', sizeof(target));
    memcpy(target + sizeof(target) - 4, "tmp", 4);
    ck_assert_int_eq(symlink(target, "long"), 0);
    (void)snprintf(below, sizeof(below), "long/%0*d", (int)(PATH_MAX - sizeof(target)) - 1, 0);
    ck_assert_int_eq(walk(below), -ENOENT);
    (void)snprintf(below, sizeof(below), "long/%0*d", (int)(PATH_MAX - sizeof(target)), 0);
    ck_assert_int_eq(walk(below), -ENAMETOOLONG);
}
END_TEST

START_TEST(links_of_proc_are_not_followed)
{
    ck_assert_int_eq(symlink("/proc/self/root/etc", "etc"), 0);
    ck_assert_int_eq(hand_walk("/proc/self/fd/0"), -ELOOP);
    ck_assert_int_eq(hand_walk("/proc/1/root/etc"), -ELOOP);
    ck_assert_int_eq(hand_walk("/proc/self"), -ELOOP);
    ck_assert_int_eq(walk("etc"), -ELOOP);
}
END_TEST

START_TEST(a_strangers_link_in_a_shared_directory_is_not_followed)
{
    if (geteuid() != 0) {
        return; /* nobody else to make one */
    }
    ck_assert_int_eq(chmod(directory, 01777), 0);
    ck_assert_int_eq(symlink("a/b/file", "trap"), 0);
    expect_file("trap");
    ck_assert_int_eq(lchown("trap", 65533, 65533), 0);
    ck_assert_int_eq(walk("trap"), -EACCES);
    ck_assert_int_eq(chmod(directory, 0755), 0);
    expect_file("trap");
}
END_TEST

START_TEST(a_file_is_made_where_the_path_leads_and_never_through_a_link)
{
    char path[128];
    int fd;

    ck_assert_int_eq(symlink("a/b", "relative"), 0);
    ck_assert_int_eq(symlink("nowhere", "dangling"), 0);
    (void)snprintf(path, sizeof(path), "%s/relative/new", directory);
    fd = hand_make_at(path, O_WRONLY, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(access("a/b/new", F_OK), 0);
    ck_assert_int_eq(hand_make_at(path, O_WRONLY, 0600), -EEXIST);
    (void)snprintf(path, sizeof(path), "%s/dangling", directory);
    ck_assert_int_eq(hand_make_at(path, O_WRONLY, 0600), -EEXIST);
    (void)snprintf(path, sizeof(path), "%s/missing/new", directory);
    ck_assert_int_eq(hand_make_at(path, O_WRONLY, 0600), -ENOENT);
    ck_assert_int_eq(hand_make_at("/proc/self/cwd/new", O_WRONLY, 0600), -ELOOP);
}
END_TEST

UNIT_MAIN_WITH("hand_walk", setup, teardown, slashes_dots_and_links_lead_where_the_kernel_finds_it,
               the_root_is_above_itself, what_leads_nowhere_has_the_kernels_error,
               forty_links_are_followed_and_no_more, a_link_and_what_follows_it_fit_a_path,
               links_of_proc_are_not_followed,
               a_strangers_link_in_a_shared_directory_is_not_followed,
               a_file_is_made_where_the_path_leads_and_never_through_a_link)
