#include "daemon/worker/control_link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"

#define PACKETS_AT_ONCE 16   /* then the others have their turn */
#define PACKETS_AT_END  1024 /* more than a socket's buffer holds */
#define WHY_SIZE        160
#define LOADED_MAX                                                                                 \
    10 /* packets with descriptors of a connection: `hello`, `running`, eight of `shmem-held` */

struct packet {
    TAILQ_ENTRY(packet) link;
    char *text;
    int fds[MSG_PACKET_FDS];
    size_t fd_count;
};

struct control_link {
    uv_poll_t poll;
    int fd;
    const struct control_link_hooks *hooks;
    void *context;
    TAILQ_HEAD(, packet) queue;
    size_t queued;
    bool is_lost, is_destroyed;
    bool is_wary;
    char *loaded; /* the text of a packet that somebody else receives; NULL: none */
    unsigned loaded_count;
};

static char receive_buffer[MSG_PACKET_MAX + 1]; /* of the one loop thread; empty between packets */

union control_space {
    char bytes[CMSG_SPACE(MSG_PACKET_FDS * sizeof(int))];
    struct cmsghdr align;
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(struct control_link *link)
{
    int events =
        (link->loaded != NULL ? 0 : UV_READABLE) | (TAILQ_EMPTY(&link->queue) ? 0 : UV_WRITABLE);

    if (events == 0) {
        (void)uv_poll_stop(&link->poll);
    } else {
        (void)uv_poll_start(&link->poll, events, on_ready); /* fails only for closing handles */
    }
}

static void lose(struct control_link *link, const char *why)
{
    if (link->is_lost || link->is_destroyed) {
        return;
    }
    link->is_lost = true;
    (void)uv_poll_stop(&link->poll);
    link->hooks->on_lost(link->context, why);
}

static void packet_free(struct packet *packet)
{
    for (size_t i = 0; i < packet->fd_count; i++) {
        cleanup_close(&packet->fds[i]);
    }
    free(packet->text);
    free(packet);
}

/* ---- out ---- */

static int send_now(int fd, const char *text, const int *fds, size_t fd_count)
{
    struct iovec piece = {.iov_base = lend(text), .iov_len = strlen(text)};
    union control_space space = {0};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    if (fd_count > 0) {
        struct cmsghdr *header;

        message.msg_control = space.bytes;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
    }
    if (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        return errno == EINTR ? -EAGAIN : -errno;
    }
    return 0;
}

static int enqueue(struct control_link *link, char **text, const int *fds, size_t fd_count)
{
    struct packet *packet = calloc(1, sizeof(*packet));

    if (packet == NULL) {
        return -ENOMEM;
    }
    packet->text = take_ptr(*text);
    for (size_t i = 0; i < fd_count; i++) {
        packet->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (packet->fds[i] < 0) {
            int r = -errno;

            packet->fd_count = i;
            packet_free(packet);
            return r;
        }
    }
    packet->fd_count = fd_count;
    TAILQ_INSERT_TAIL(&link->queue, packet, link);
    link->queued++;
    watch(link);
    return 0;
}

int control_link_send(struct control_link *link, enum msg_control control, const void *body,
                      const int *fds, size_t fd_count, struct err *err)
{
    auto_free char *text = msg_control_format(control, body);
    int r = -EAGAIN;

    if (link->is_lost) {
        return err_set(err, -ENOTCONN, "the connection to the qvm is lost");
    }
    if (text == NULL) {
        return err_set(err, -EIO, "the packet '%s' cannot be encoded", msg_controls[control].name);
    }
    if (strlen(text) > MSG_PACKET_MAX || fd_count > MSG_PACKET_FDS) {
        return err_set(err, -EMSGSIZE, "the packet '%s' is too big", msg_controls[control].name);
    }
    if (link->queued == 0) {
        r = send_now(link->fd, text, fds, fd_count);
    }
    if (r == -EAGAIN && link->queued >= CONTROL_LINK_QUEUE_MAX) {
        return err_set(err, r, "the qvm does not read its control connection");
    }
    if (r == -EAGAIN) {
        r = enqueue(link, &text, fds, fd_count);
    }
    return r < 0 ? err_sys(err, r, "cannot send '%s' to the qvm", msg_controls[control].name) : 0;
}

int control_link_lend(struct control_link *link, enum msg_control control, const void *body,
                      char **text, int *socket, struct err *err)
{
    if (link->is_lost) {
        return err_set(err, -ENOTCONN, "the connection to the qvm is lost");
    }
    if (link->queued > 0) {
        return err_set(err, -EAGAIN, "the qvm does not read its control connection");
    }
    *text = msg_control_format(control, body);
    if (*text == NULL) {
        return err_set(err, -EIO, "the packet '%s' cannot be encoded", msg_controls[control].name);
    }
    *socket = link->fd;
    return 0;
}

static void flush(struct control_link *link)
{
    struct packet *packet;

    while ((packet = TAILQ_FIRST(&link->queue)) != NULL) {
        int r = send_now(link->fd, packet->text, packet->fds, packet->fd_count);

        if (r == -EAGAIN) {
            break;
        }
        TAILQ_REMOVE(&link->queue, packet, link);
        link->queued--;
        packet_free(packet);
        if (r < 0) {
            lose(link, "the connection broke while sending");
            return;
        }
    }
    watch(link);
}

/* ---- in ---- */

/* The descriptors that came with a packet. */
static size_t take_fds(struct msghdr *message, int fds[MSG_PACKET_FDS])
{
    size_t count = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
            size_t size = header->cmsg_len - CMSG_LEN(0);

            memcpy(fds + count, CMSG_DATA(header), size);
            count += size / sizeof(int);
        }
    }
    return count;
}

static void handle(struct control_link *link, const char *text, size_t size, int *fds,
                   size_t fd_count)
{
    enum msg_control control;
    void *body = NULL;
    struct err err = {0};
    char why[WHY_SIZE];

    if (msg_control_parse(text, size, false, &control, &body, &err) < 0) {
        (void)snprintf(why, sizeof(why), "the qvm sent what is no packet: %.100s", err.msg);
        lose(link, why);
        return;
    }
    link->hooks->on_packet(link->context, control, body, fds, fd_count);
    msg_free(msg_controls[control].type, body);
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cleanup_close(&fds[i]);
    }
}

/* Nobody wants these; what they were is not known. */
static void leave_all(const struct control_link *link, const int *fds, size_t count)
{
    int left[MSG_PACKET_FDS];
    size_t left_count = 0;

    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            left[left_count++] = fds[i];
        }
    }
    if (left_count > 0) {
        link->hooks->on_left(link->context, left, left_count);
    }
}

/* A packet could not be received. What was sent before a reset is still there: whether to go on. */
static bool survive(struct control_link *link, int error)
{
    if (error != EAGAIN && error != EINTR && error != ECONNRESET) {
        lose(link, "the connection broke");
    }
    return error == ECONNRESET;
}

/* A packet with descriptors, whose text stands in the buffer. */
static void announce(struct control_link *link, size_t size, bool is_cut)
{
    link->loaded_count++;
    if (link->loaded_count > LOADED_MAX || is_cut) {
        lose(link, "the qvm sent descriptors that nobody wants");
        return;
    }
    link->loaded = strndup(receive_buffer, size);
    if (link->loaded == NULL) {
        lose(link, "out of memory");
        return;
    }
    watch(link);
    link->hooks->on_loaded(link->context, link->fd);
}

/* Look at the next packet, which takes no descriptors. Whether it is one to be received: what comes
 * only after a look that found nothing is for the next one. `is_more`: look again. */
static bool is_plain(struct control_link *link, bool *is_more)
{
    struct iovec piece = {.iov_base = receive_buffer, .iov_len = MSG_PACKET_MAX};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    ssize_t n = recvmsg(link->fd, &message, MSG_DONTWAIT | MSG_PEEK);

    *is_more = n < 0 && survive(link, errno);
    if (n >= 0 && (message.msg_flags & MSG_CTRUNC) != 0) {
        announce(link, (size_t)n, (message.msg_flags & MSG_TRUNC) != 0);
        return false;
    }
    return n >= 0;
}

void control_link_be_wary(struct control_link *link)
{
    link->is_wary = true;
}

void control_link_go_on(struct control_link *link, int *fds, size_t fd_count)
{
    auto_free char *text = take_ptr(link->loaded);

    if (text != NULL && !link->is_lost && !link->is_destroyed) {
        watch(link);
        handle(link, text, strlen(text), fds, fd_count);
    }
    leave_all(link, fds, fd_count);
}

/* One packet: whether there may be another. */
static bool receive(struct control_link *link)
{
    struct iovec piece = {.iov_base = receive_buffer, .iov_len = MSG_PACKET_MAX};
    union control_space space = {0};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = space.bytes,
                             .msg_controllen = link->is_wary ? 0 : sizeof(space.bytes)};
    int fds[MSG_PACKET_FDS];
    size_t fd_count;
    bool is_more = false;
    ssize_t n;

    if (link->loaded != NULL || (link->is_wary && !is_plain(link, &is_more))) {
        return is_more;
    }
    n = recvmsg(link->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) {
        return survive(link, errno);
    }
    fd_count = take_fds(&message, fds);
    if (n == 0) {
        lose(link, "the qvm closed the connection");
    } else if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        lose(link, "the qvm sent a packet that is too big");
    } else {
        handle(link, receive_buffer, (size_t)n, fds, fd_count);
    }
    close_all(fds, fd_count);
    return !link->is_lost && !link->is_destroyed;
}

void control_link_drain(struct control_link *link)
{
    for (int i = 0; i < PACKETS_AT_END && !link->is_lost && receive(link); i++) {
    }
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct control_link *link = poll->data;

    if (status < 0) {
        lose(link, "the connection broke");
        return;
    }
    if (events & UV_READABLE) {
        for (int i = 0; i < PACKETS_AT_ONCE && receive(link); i++) {
        }
    }
    if ((events & UV_WRITABLE) && !link->is_lost && !link->is_destroyed) {
        flush(link);
    }
}

/* ---- its life ---- */

int control_link_connect(struct uv_loop_s *loop, int dir_fd, const char *name,
                         const struct control_link_hooks *hooks, void *context,
                         struct control_link **result, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct control_link *link;

    if (fd < 0) {
        return err_sys(err, -errno, "cannot make a socket");
    }
    /* By descriptor: the directory's own path may be longer than an address. */
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%.32s", dir_fd,
                   name);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        return err_sys(err, -errno, "cannot connect to the qvm");
    }
    link = calloc(1, sizeof(*link));
    if (link == NULL || uv_poll_init(loop, &link->poll, fd) != 0) {
        free(link);
        return err_set(err, -ENOMEM, "cannot watch the connection to the qvm");
    }
    link->fd = take_fd(&fd);
    link->hooks = hooks;
    link->context = context;
    link->poll.data = link;
    TAILQ_INIT(&link->queue);
    watch(link);
    *result = link;
    return 0;
}

int control_link_peer(const struct control_link *link, pid_t *pid)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(link->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        return -errno;
    }
    *pid = peer.pid;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void control_link_destroy(struct control_link *link)
{
    struct packet *packet;

    if (link == NULL || link->is_destroyed) {
        return;
    }
    link->is_destroyed = true;
    while ((packet = TAILQ_FIRST(&link->queue)) != NULL) {
        TAILQ_REMOVE(&link->queue, packet, link);
        packet_free(packet);
    }
    free(take_ptr(link->loaded));
    (void)uv_poll_stop(&link->poll);
    uv_close((uv_handle_t *)&link->poll, on_closed);
    if (link->is_wary) {
        leave_all(link, &link->fd, 1); /* with what lies in it unread */
    } else {
        cleanup_close(&link->fd);
    }
}
