/* One connection of the control socket. */
#include "qvm-worker/control/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/msg.h"
#include "qvm-worker/control/control.h"

struct packet {
    char *text;               /* owned */
    int fds[CONTROL_FDS_MAX]; /* borrowed */
    size_t fd_count;
};

struct control_peer {
    uv_poll_t poll;
    int fd; /* -1: cut */
    char *buffer;
    struct control_peer_events events;
    void *context;
    struct packet queue[CONTROL_QUEUE_MAX]; /* a ring */
    size_t queue_first, queue_count;
};

union fds_space {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(MSG_PACKET_FDS * sizeof(int))];
};

static void on_closed(uv_handle_t *handle)
{
    struct control_peer *peer = handle->data;

    for (size_t i = 0; i < peer->queue_count; i++) {
        free(peer->queue[(peer->queue_first + i) % CONTROL_QUEUE_MAX].text);
    }
    free(peer);
}

void control_peer_cut(struct control_peer *peer)
{
    if (peer->fd >= 0) {
        uv_close((uv_handle_t *)&peer->poll, on_closed);
        cleanup_close(&peer->fd);
    }
}

static void end(struct control_peer *peer, const char *why)
{
    if (peer->fd >= 0) {
        control_peer_cut(peer);
        peer->events.on_end(peer->context, peer, why);
    }
}

/* Returns 1 when sent, 0 when the socket is full, or a negative errno. */
static int send_now(struct control_peer *peer, char *text, const int *fds, size_t fd_count)
{
    union fds_space space = {0};
    struct iovec iov = {.iov_base = text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd_count > 0) {
        struct cmsghdr *header = &space.align;

        message.msg_control = space.bytes;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
    }
    if (sendmsg(peer->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        return 1;
    }
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static void on_event(uv_poll_t *poll, int status, int events);

static void watch(struct control_peer *peer)
{
    int events = UV_READABLE | (peer->queue_count > 0 ? UV_WRITABLE : 0);

    (void)uv_poll_start(&peer->poll, events, on_event); /* fails for closed handles alone */
}

static void send_queue(struct control_peer *peer)
{
    while (peer->queue_count > 0) {
        struct packet *packet = &peer->queue[peer->queue_first];
        int r = send_now(peer, packet->text, packet->fds, packet->fd_count);

        if (r < 0) {
            end(peer, "it does not take packets any more");
            return;
        }
        if (r == 0) {
            return;
        }
        free(packet->text);
        peer->queue_first = (peer->queue_first + 1) % CONTROL_QUEUE_MAX;
        peer->queue_count--;
    }
    watch(peer);
}

static void enqueue(struct control_peer *peer, char *text, const int *fds, size_t fd_count)
{
    struct packet *packet;

    if (peer->queue_count == CONTROL_QUEUE_MAX) {
        free(text);
        end(peer, "it does not read its packets");
        return;
    }
    packet = &peer->queue[(peer->queue_first + peer->queue_count) % CONTROL_QUEUE_MAX];
    *packet = (struct packet){.text = text, .fd_count = fd_count};
    for (size_t i = 0; i < fd_count; i++) {
        packet->fds[i] = fds[i]; /* no duplicate: the door lets none be made */
    }
    peer->queue_count++;
    watch(peer);
}

void control_peer_send(struct control_peer *peer, char *text, const int *fds, size_t fd_count)
{
    int r = 0;

    if (peer->fd < 0) {
        free(text);
        return;
    }
    if (peer->queue_count == 0) {
        r = send_now(peer, text, fds, fd_count);
    }
    if (r == 0) {
        enqueue(peer, text, fds, fd_count);
        return;
    }
    free(text);
    if (r < 0) {
        end(peer, "it does not take packets any more");
    }
}

static size_t take_fds(struct msghdr *message, int fds[MSG_PACKET_FDS])
{
    size_t count = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        size_t bytes = header->cmsg_len - CMSG_LEN(0);

        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
            count + bytes / sizeof(int) <= MSG_PACKET_FDS) {
            memcpy(&fds[count], CMSG_DATA(header), bytes);
            count += bytes / sizeof(int);
        }
    }
    return count;
}

/* One packet; false when there is no more to read now. */
static bool receive(struct control_peer *peer)
{
    union fds_space space;
    int fds[MSG_PACKET_FDS];
    struct iovec iov = {.iov_base = peer->buffer, .iov_len = MSG_PACKET_MAX};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = space.bytes,
                             .msg_controllen = sizeof(space.bytes)};
    ssize_t n = recvmsg(peer->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    size_t fd_count;

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n < 0) {
        end(peer, "it is gone"); /* ECONNRESET: it left packets of ours unread */
        return false;
    }
    fd_count = take_fds(&message, fds);
    if (n == 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        end(peer, n == 0 ? "it has closed" : "it sent a packet that is too long");
    } else {
        peer->events.on_packet(peer->context, peer, peer->buffer, (size_t)n, fds, fd_count);
    }
    for (size_t i = 0; i < fd_count; i++) {
        cleanup_close(&fds[i]);
    }
    return peer->fd >= 0;
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct control_peer *peer = poll->data;

    if (status != 0) {
        end(peer, "it is gone");
        return;
    }
    if ((events & UV_WRITABLE) != 0) {
        send_queue(peer);
    }
    if ((events & UV_READABLE) != 0 && peer->fd >= 0) {
        /* A few at a time, so that one peer cannot keep the loop to itself. */
        for (int i = 0; i < 16 && receive(peer); i++) {
        }
    }
}

struct control_peer *control_peer_create(struct uv_loop_s *loop, int fd, char *buffer,
                                         const struct control_peer_events *events, void *context)
{
    struct control_peer *peer = calloc(1, sizeof(*peer));

    if (peer == NULL || uv_poll_init(loop, &peer->poll, fd) != 0) {
        free(peer);
        return NULL;
    }
    peer->poll.data = peer;
    peer->fd = fd;
    peer->buffer = buffer;
    peer->events = *events;
    peer->context = context;
    watch(peer);
    return peer;
}
