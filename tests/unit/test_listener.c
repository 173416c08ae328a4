/* Unix stream sockets that are made at paths. */
#include "proto/base/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/err.h"
#include "tests/unit/unit.h"

static char place[64];
static int directory;
static struct err err;

static void set_up(void)
{
    (void)snprintf(place, sizeof(place), "/tmp/qvm-listener-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(place));
    directory = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(directory, 0);
    err = (struct err){0};
}

static void tear_down(void)
{
    (void)unlinkat(directory, "s", 0);
    (void)close(directory);
    ck_assert_int_eq(rmdir(place), 0);
}

static int make(int *fd)
{
    return listener_open(directory, "s", "/its/path", fd, &err);
}

static bool is_there(void)
{
    struct stat st;

    return fstatat(directory, "s", &st, AT_SYMLINK_NOFOLLOW) == 0;
}

START_TEST(a_socket_is_its_users_alone_and_never_waits)
{
    struct stat st;
    int fd = -1;
    mode_t before, after;

    set_up();
    before = umask(022);
    ck_assert_int_eq(make(&fd), 0);
    after = umask(before);
    ck_assert_uint_eq(after, 022); /* as it was */
    ck_assert_int_eq(fstatat(directory, "s", &st, 0), 0);
    ck_assert(S_ISSOCK(st.st_mode));
    ck_assert_uint_eq(st.st_mode & 077, 0);
    ck_assert_int_eq(accept(fd, NULL, NULL), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    (void)close(fd);
    tear_down();
}
END_TEST

START_TEST(a_program_finds_it_by_the_path_that_the_directory_has_by_now)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char moved[96];
    int client = socket(AF_UNIX, SOCK_STREAM, 0), fd = -1, taken;

    set_up();
    (void)snprintf(moved, sizeof(moved), "%s-moved", place);
    ck_assert_int_eq(rename(place, moved), 0);
    ck_assert_int_eq(make(&fd), 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", moved);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    taken = accept(fd, NULL, NULL);
    ck_assert_int_ge(taken, 0);
    ck_assert_int_eq(rename(moved, place), 0);
    (void)close(taken);
    (void)close(client);
    (void)close(fd);
    tear_down();
}
END_TEST

START_TEST(one_at_which_somebody_listens_stays_his)
{
    int fd = -1, other = -1;

    set_up();
    ck_assert_int_eq(make(&fd), 0);
    ck_assert_int_eq(make(&other), -EBUSY);
    ck_assert_str_eq(err.msg, "somebody listens at '/its/path' already: give another path");
    ck_assert_int_eq(other, -1);
    listener_remove(directory, "s");
    ck_assert(is_there());
    (void)close(fd);
    tear_down();
}
END_TEST

START_TEST(one_that_was_left_is_replaced_and_removed)
{
    int fd = -1;

    set_up();
    ck_assert_int_eq(make(&fd), 0);
    (void)close(fd);
    ck_assert_int_eq(make(&fd), 0);
    (void)close(fd);
    listener_remove(directory, "s");
    ck_assert(!is_there());
    listener_remove(directory, "s"); /* once more: as good */
    tear_down();
}
END_TEST

START_TEST(what_is_no_socket_is_neither_replaced_nor_removed)
{
    int fd = -1;

    set_up();
    ck_assert_int_eq(symlinkat("nowhere", directory, "s"), 0);
    ck_assert_int_eq(make(&fd), -EEXIST);
    ck_assert_ptr_nonnull(strstr(err.msg, "'/its/path' is there already, and is no socket"));
    listener_remove(directory, "s");
    ck_assert(is_there());
    tear_down();
}
END_TEST

START_TEST(a_name_that_no_address_has_room_for_is_refused)
{
    char name[200];
    int fd = -1;

    set_up();
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    ck_assert_int_eq(listener_open(directory, name, "/its/path", &fd, &err), -ENAMETOOLONG);
    ck_assert_ptr_nonnull(strstr(err.msg, "cannot make the socket '/its/path'"));
    tear_down();
}
END_TEST

UNIT_MAIN("listener", a_socket_is_its_users_alone_and_never_waits,
          a_program_finds_it_by_the_path_that_the_directory_has_by_now,
          one_at_which_somebody_listens_stays_his, one_that_was_left_is_replaced_and_removed,
          what_is_no_socket_is_neither_replaced_nor_removed,
          a_name_that_no_address_has_room_for_is_refused)
