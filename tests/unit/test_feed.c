/* The feed of a guest's logs, at the hands of a qvm that hands over sockets of its own choice. */
#include "daemon/worker/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/worker/log_file.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/console.h"
#include "tests/unit/rights_unit.h"
#include "tests/unit/unit.h"

static char directory[] = "/tmp/test_feed-XXXXXX";
static int dir_fd = -1;
static struct log_file log_file;
static struct feed *feed;
static uv_loop_t loop;
static unsigned console_count; /* how often the feed saw something new in the ring */

static void on_something(void *context)
{
    (void)context;
}

static void on_console(void *context)
{
    (void)context;
    console_count++;
}

static void on_position(void *context, uint64_t offset, uint64_t end)
{
    (void)context;
    (void)offset;
    (void)end;
}

static int left = -1; /* what the feed must not close itself */

static void on_left(void *context, int fd)
{
    (void)context;
    left = fd;
}

static void set_up(int log_fd)
{
    static const struct feed_hooks hooks = {on_something, on_console, on_position, on_left};
    const struct log_bounds bounds = {.size = LOG_FILE_SIZE_MIN, .older = 1};
    struct err err = {0};

    ck_assert_ptr_nonnull(mkdtemp(directory));
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    log_file_init(&log_file, dir_fd, "log", &bounds);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_msg(feed_create(&loop, log_fd, &log_file, NULL, &hooks, NULL, &feed, &err) == 0, "%s",
                  err.msg);
}

static void tear_down(void)
{
    feed_destroy(feed);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    log_file_remove(dir_fd, "log");
    (void)close(dir_fd);
    ck_assert_int_eq(rmdir(directory), 0);
}

static void turn(void)
{
    for (int i = 0; i < 8; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
}

START_TEST(a_socket_that_can_never_be_read_is_not_watched_for_ever)
{
    set_up(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ck_assert_int_ne(uv_loop_alive(&loop), 0);
    turn();
    ck_assert_int_eq(uv_loop_alive(&loop), 0);
    tear_down();
}
END_TEST

START_TEST(what_was_said_before_a_reset_is_taken)
{
    int pair[2];
    auto_free char *text = NULL;
    size_t size = 0;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    set_up(pair[1]);
    ck_assert_int_eq(send(pair[0], "last words\n", 11, 0), 11);
    ck_assert_int_eq(send(pair[1], "nobody reads it", 15, 0), 15);
    ck_assert_int_eq(close(pair[0]), 0);
    turn();
    feed_finish(feed);
    ck_assert_int_eq(log_file_tail(&log_file, 4096, &text, &size, NULL), 0);
    ck_assert_ptr_nonnull(strstr(text, " last words\n"));
    tear_down();
}
END_TEST

/* Dropping it would close it. */
START_TEST(who_is_wary_neither_takes_nor_drops_a_descriptor_that_comes_with_the_log)
{
    auto_free char *text = NULL;
    size_t size = 0;
    int pair[2], pipe_fds[2];
    struct pollfd reader;

    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    reader = (struct pollfd){.fd = pipe_fds[0]};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    set_up(pair[1]);
    feed_be_wary(feed);
    ck_assert_int_eq(send(pair[0], "before\n", 7, 0), 7);
    send_with(pair[0], "with one\n", pipe_fds[1]);
    ck_assert_int_eq(send(pair[0], "after\n", 6, 0), 6);
    ck_assert_int_eq(close(pair[0]) + close(pipe_fds[1]), 0);
    turn();
    feed_finish(feed);
    ck_assert_int_eq(log_file_tail(&log_file, 4096, &text, &size, NULL), 0);
    ck_assert_ptr_nonnull(strstr(text, " before\n"));
    ck_assert_ptr_nonnull(strstr(text, "its log is read no more\n"));
    ck_assert_ptr_null(strstr(text, "with one"));
    ck_assert_int_eq(poll(&reader, 1, 0), 0);
    tear_down();
    ck_assert_int_eq(poll(&reader, 1, 0), 0); /* nor does its end */
    ck_assert_int_eq(left, pair[1]);
    ck_assert_int_eq(close(left), 0);
    ck_assert_int_eq(poll(&reader, 1, 0), 1);
    (void)close(pipe_fds[0]);
}
END_TEST

static int late_socket = -1, late_fd = -1; /* to be sent after a look that found nothing */

/* The one that the feed looks with: what happens between two of its calls is a matter of luck else.
 */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t n = syscall(SYS_recvmsg, fd, message, flags);
    const int error = errno;

    if (n < 0 && late_fd >= 0) {
        send_with(late_socket, "late\n", late_fd);
        ck_assert_int_eq(close(take_fd(&late_fd)), 0);
    }
    errno = error;
    return n;
}

START_TEST(a_descriptor_that_comes_between_the_look_and_the_receiving_is_not_dropped)
{
    int pair[2], pipe_fds[2];
    struct pollfd reader;

    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    reader = (struct pollfd){.fd = pipe_fds[0]};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    set_up(pair[1]);
    feed_be_wary(feed);
    late_socket = pair[0];
    late_fd = pipe_fds[1];
    feed_finish(feed);
    ck_assert_int_eq(late_fd, -1);
    ck_assert_int_eq(poll(&reader, 1, 0), 0);
    tear_down();
    ck_assert_int_eq(poll(&reader, 1, 0), 0);
    ck_assert_int_eq(close(left) + close(pair[0]), 0);
    ck_assert_int_eq(poll(&reader, 1, 0), 1);
    (void)close(pipe_fds[0]);
}
END_TEST

/* The bell is a packet like others: a socket full of lines has no room for it. */
START_TEST(a_line_is_as_good_as_a_bell_that_found_no_room)
{
    struct console_ring *ring = NULL;
    auto_close int ring_fd = -1;
    struct err err = {0};
    int pair[2];

    ck_assert_int_eq(console_ring_create(&ring_fd, &ring, &err), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    set_up(pair[1]);
    feed_set_ring(feed, ring, 0);
    console_ring_write(ring, "> ", 2);
    turn();
    ck_assert_uint_eq(console_count, 0); /* nobody told it */
    ck_assert_int_eq(send(pair[0], "one of many\n", 12, 0), 12);
    turn();
    ck_assert_uint_eq(console_count, 1);
    tear_down();
    console_ring_unmap(ring);
    ck_assert_int_eq(close(pair[0]), 0);
}
END_TEST

UNIT_MAIN("feed", who_is_wary_neither_takes_nor_drops_a_descriptor_that_comes_with_the_log,
          a_descriptor_that_comes_between_the_look_and_the_receiving_is_not_dropped,
          a_socket_that_can_never_be_read_is_not_watched_for_ever,
          what_was_said_before_a_reset_is_taken, a_line_is_as_good_as_a_bell_that_found_no_room)
