/* A control connection on which no descriptor may be received, at the hands of a qvm that picks its
 * moment. */
#include "daemon/worker/control_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/rights_unit.h"
#include "tests/unit/unit.h"

static char directory[] = "/tmp/test_control_link-XXXXXX";
static int dir_fd = -1, listener = -1, qvm = -1;
static uv_loop_t loop;
static struct control_link *link_;
static unsigned packet_count, loaded_count, lost_count;
static int left = -1;
static void (*after_look)(void); /* called once, after a look that found nothing */

/* The one that the link calls: what happens between two of its calls is a matter of luck else. */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t n = syscall(SYS_recvmsg, fd, message, flags);
    const int error = errno;

    if (n < 0 && (flags & MSG_PEEK) != 0 && after_look != NULL) {
        void (*now)(void) = after_look;

        after_look = NULL;
        now();
    }
    errno = error;
    return n;
}

static void on_packet(void *context, enum msg_control control, const void *body, int *fds,
                      size_t fd_count)
{
    (void)context;
    (void)control;
    (void)body;
    (void)fds;
    (void)fd_count;
    packet_count++;
}

static void on_loaded(void *context, int socket)
{
    (void)context;
    (void)socket;
    loaded_count++;
}

static void on_left(void *context, const int *fds, size_t count)
{
    (void)context;
    ck_assert_uint_eq(count, 1);
    left = fds[0];
}

static void on_lost(void *context, const char *why)
{
    (void)context;
    (void)why;
    lost_count++;
}

static void set_up(void)
{
    static const struct control_link_hooks hooks = {on_packet, on_loaded, on_left, on_lost};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct err err = {0};

    ck_assert_ptr_nonnull(mkdtemp(directory));
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", directory);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_msg(control_link_connect(&loop, dir_fd, "control", &hooks, NULL, &link_, &err) == 0,
                  "%s", err.msg);
    qvm = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(qvm, 0);
    control_link_be_wary(link_);
}

static void tear_down(void)
{
    control_link_destroy(link_);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ck_assert_int_eq(close(left), 0);
    (void)close(listener);
    ck_assert_int_eq(unlinkat(dir_fd, "control", 0), 0);
    (void)close(dir_fd);
    ck_assert_int_eq(rmdir(directory), 0);
}

static int pipe_fds[2]; /* the writing end goes away with the last who has it */

static void send_it_away(void)
{
    auto_free char *text = msg_control_format(CONTROL_running, NULL);

    send_with(qvm, text, pipe_fds[1]);
    ck_assert_int_eq(close(pipe_fds[1]), 0);
}

/* Dropping it would close it. */
START_TEST(a_descriptor_that_comes_between_the_look_and_the_receiving_is_not_dropped)
{
    struct pollfd reader;

    set_up();
    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    reader = (struct pollfd){.fd = pipe_fds[0]};
    after_look = send_it_away;
    control_link_drain(link_);
    ck_assert_ptr_null(after_look);
    ck_assert_int_eq(poll(&reader, 1, 0), 0);
    ck_assert_uint_eq(loaded_count + lost_count, 0);
    control_link_drain(link_); /* when it is looked at again */
    ck_assert_uint_eq(loaded_count, 1);
    ck_assert_int_eq(poll(&reader, 1, 0), 0);
    ck_assert_uint_eq(lost_count, 0);
    ck_assert_int_eq(close(qvm), 0);
    tear_down();
    ck_assert_int_eq(poll(&reader, 1, 0), 1);
    (void)close(pipe_fds[0]);
}
END_TEST

START_TEST(what_was_said_before_a_reset_is_heard)
{
    auto_free char *text = msg_control_format(CONTROL_running, NULL);
    struct err err = {0};

    set_up();
    ck_assert_int_eq(control_link_send(link_, CONTROL_power_button, NULL, NULL, 0, &err), 0);
    send_with(qvm, text, -1);
    send_with(qvm, text, -1);
    ck_assert_int_eq(close(qvm), 0); /* with the packet in it that it has not read */
    control_link_drain(link_);
    ck_assert_uint_eq(packet_count, 2);
    ck_assert_uint_eq(lost_count, 1);
    tear_down();
}
END_TEST

UNIT_MAIN("control_link", a_descriptor_that_comes_between_the_look_and_the_receiving_is_not_dropped,
          what_was_said_before_a_reset_is_heard)
