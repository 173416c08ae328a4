/* Packets to a daemon that does not read at once. */
#include "qvm-worker/control/peer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/msg.h"
#include "tests/unit/unit.h"

#define FILLER  1024u /* bytes of a packet that fills the socket */
#define FILLERS 16    /* more than the socket takes, fewer than the queue */

static uv_loop_t loop;
static struct control_peer *peer;
static int daemon_fd;
static char buffer[MSG_PACKET_MAX];

static void on_packet(void *context, struct control_peer *of, const char *packet, size_t size,
                      int *fds, size_t fd_count)
{
    (void)context, (void)of, (void)packet, (void)size, (void)fds, (void)fd_count;
}

static void on_end(void *context, struct control_peer *of, const char *why)
{
    (void)context, (void)of, (void)why;
    ck_abort_msg("the peer ended");
}

static void begin(void)
{
    static const struct control_peer_events events = {on_packet, on_end};
    int pair[2], least = 1;

    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
                     0);
    ck_assert_int_eq(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)), 0);
    daemon_fd = pair[0];
    peer = control_peer_create(&loop, pair[1], buffer, &events, NULL);
    ck_assert_ptr_nonnull(peer);
}

static void end(void)
{
    control_peer_cut(peer);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    cleanup_close(&daemon_fd);
}

/* The lowest number that is free: it tells whether descriptors were made. */
static int lowest_free(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    return fd;
}

static char *make_text(size_t size)
{
    char *text = calloc(1, size + 1);

    ck_assert_ptr_nonnull(text);
    memset(text, 'x', size);
    return text;
}

/* One packet of the daemon's; -1: there is none. *fd is what came with it, or -1. */
static ssize_t take(int *fd)
{
    char text[2 * FILLER];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = text, .iov_len = sizeof(text)};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    ssize_t n = recvmsg(daemon_fd, &message, MSG_CMSG_CLOEXEC);

    *fd = -1;
    if (n >= 0 && CMSG_FIRSTHDR(&message) != NULL) {
        memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(*fd));
    }
    return n;
}

/* Behind the door that is the end of the process. */
START_TEST(a_descriptor_that_waits_is_not_duplicated_and_comes_with_its_packet)
{
    int sent = open("/dev/null", O_RDONLY | O_CLOEXEC), got = -1, before, packets = 0;

    ck_assert_int_ge(sent, 0);
    begin();
    for (int i = 0; i < FILLERS; i++) {
        control_peer_send(peer, make_text(FILLER), NULL, 0);
    }
    before = lowest_free();
    control_peer_send(peer, make_text(1), &sent, 1);
    ck_assert_int_eq(lowest_free(), before);
    while (packets < FILLERS + 1) {
        ssize_t n = take(&got);

        if (n < 0) {
            (void)uv_run(&loop, UV_RUN_ONCE); /* what waits goes out */
            continue;
        }
        packets++;
        ck_assert_int_eq(n, packets <= FILLERS ? FILLER : 1);
        ck_assert_int_eq(got >= 0, packets > FILLERS);
    }
    cleanup_close(&got);
    cleanup_close(&sent);
    end();
}
END_TEST

UNIT_MAIN("control_peer", a_descriptor_that_waits_is_not_duplicated_and_comes_with_its_packet)
