/* The front end of vhost-user. */
#include "qvm-worker/vhost/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/vhost/wire.h"

#define NS_PER_MS 1000000ull

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
}

static int lose(struct vhost *vhost, int r)
{
    vhost->is_lost = true;
    (void)shutdown(vhost->fd, SHUT_RDWR); /* it may be gone already */
    return r;
}

/* Until the socket is ready for `events`, or the time is over. */
static int wait_for(const struct vhost *vhost, short events, uint64_t deadline_ms)
{
    for (;;) {
        struct pollfd ready = {.fd = vhost->fd, .events = events};
        uint64_t now = now_ms();
        int r = now < deadline_ms ? poll(&ready, 1, (int)(deadline_ms - now)) : 0;

        if (r > 0) {
            return 0;
        }
        if (r == 0 || errno != EINTR) {
            return r == 0 ? -ETIMEDOUT : -errno;
        }
    }
}

static int receive(const struct vhost *vhost, void *to, size_t size, uint64_t deadline_ms)
{
    uint8_t *at = to;
    int r = 0;

    while (r == 0 && size > 0) {
        ssize_t n = read(vhost->fd, at, size); /* descriptors that come are closed by the kernel */

        if (n > 0) {
            at += n;
            size -= (size_t)n;
        } else if (n == 0) {
            r = -ECONNRESET;
        } else if (errno == EAGAIN) {
            r = wait_for(vhost, POLLIN, deadline_ms);
        } else if (errno != EINTR) {
            r = -errno;
        }
    }
    return r;
}

/* The answer to `request`, with between `least` and `most` bytes: how many, or -errno. */
static int take_answer(const struct vhost *vhost, uint32_t request, void *payload, uint32_t least,
                       uint32_t most)
{
    uint64_t deadline_ms = now_ms() + VHOST_WAIT_MS;
    struct wire_header header;
    int r = receive(vhost, &header, sizeof(header), deadline_ms);

    if (r == 0 && !wire_is_answer(&header, request, least, most)) {
        r = -EPROTO;
    }
    r = r == 0 ? receive(vhost, payload, header.size, deadline_ms) : r;
    return r == 0 ? (int)header.size : r;
}

/* A message is far shorter than a socket's buffer: it goes as a whole. */
static int send_message(const struct vhost *vhost, struct wire_message *message, const int *fds,
                        uint32_t fd_count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * VHOST_REGIONS_MAX)];
    } control = {.space = {0}};
    size_t size = sizeof(message->header) + message->header.size;
    struct iovec bytes = {message, size};
    struct msghdr packet = {.msg_iov = &bytes, .msg_iovlen = 1};
    uint64_t deadline_ms = now_ms() + VHOST_WAIT_MS;
    int r = 0;

    if (fd_count > 0) {
        packet.msg_control = control.space;
        packet.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        control.header.cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * fd_count);
    }
    while (r == 0) {
        ssize_t n = sendmsg(vhost->fd, &packet, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n >= 0) {
            return (size_t)n == size ? 0 : -EPROTO;
        }
        if (errno == EAGAIN) {
            r = wait_for(vhost, POLLOUT, deadline_ms);
        } else if (errno != EINTR) {
            r = -errno;
        }
    }
    return r;
}

/* Send what has an answer of its own, and take that: its size, or -errno. */
static int ask(struct vhost *vhost, struct wire_message *message, uint32_t least, uint32_t most)
{
    uint32_t request = message->header.request;
    int r;

    if (vhost->is_lost) {
        return -ENOTCONN;
    }
    r = send_message(vhost, message, NULL, 0);
    r = r == 0 ? take_answer(vhost, request, &message->payload, least, most) : r;
    return r < 0 ? lose(vhost, r) : r;
}

/* Send what has none, but that it was done, where the back end says that. */
static int tell(struct vhost *vhost, struct wire_message *message, const int *fds,
                uint32_t fd_count)
{
    bool is_told = (vhost->protocol & WIRE_BIT(WIRE_P_REPLY_ACK)) != 0;
    uint32_t request = message->header.request;
    uint64_t status = 0;
    int r;

    if (vhost->is_lost) {
        return -ENOTCONN;
    }
    message->header.flags |= is_told ? WIRE_NEED_REPLY : 0;
    r = send_message(vhost, message, fds, fd_count);
    if (r == 0 && is_told) {
        r = take_answer(vhost, request, &status, sizeof(status), sizeof(status));
        r = r > 0 && status != 0 ? -EREMOTEIO : r;
    }
    return r < 0 ? lose(vhost, r) : 0;
}

static int ask_number(struct vhost *vhost, uint32_t request, uint64_t *value)
{
    struct wire_message message = wire_message(request, 0);
    int r = ask(vhost, &message, sizeof(*value), sizeof(*value));

    *value = r > 0 ? message.payload.number : 0;
    return r > 0 ? 0 : r;
}

static int tell_number(struct vhost *vhost, uint32_t request, uint64_t value, const int *fd)
{
    struct wire_message message = wire_message(request, sizeof(value));

    message.payload.number = value;
    return tell(vhost, &message, fd, fd != NULL);
}

static int tell_state(struct vhost *vhost, uint32_t request, uint32_t index, uint32_t number)
{
    struct wire_message message = wire_message(request, sizeof(struct wire_state));

    message.payload.state = (struct wire_state){index, number};
    return tell(vhost, &message, NULL, 0);
}

static int greet(struct vhost *vhost)
{
    uint64_t protocol = 0, count = 0;
    int r = ask_number(vhost, WIRE_GET_FEATURES, &vhost->features);

    if (r == 0 && (vhost->features & WIRE_BIT(WIRE_F_PROTOCOL_FEATURES)) == 0) {
        return -ENOTSUP;
    }
    r = r == 0 ? ask_number(vhost, WIRE_GET_PROTOCOL_FEATURES, &protocol) : r;
    protocol &= WIRE_P_OURS;
    r = r == 0 ? tell_number(vhost, WIRE_SET_PROTOCOL_FEATURES, protocol, NULL) : r;
    vhost->protocol = protocol;
    if (r == 0) {
        struct wire_message owner = wire_message(WIRE_SET_OWNER, 0);

        r = tell(vhost, &owner, NULL, 0);
    }
    if (r == 0 && (protocol & WIRE_BIT(WIRE_P_MQ)) != 0) {
        r = ask_number(vhost, WIRE_GET_QUEUE_NUM, &count);
        r = r == 0 && (count == 0 || count > VHOST_QUEUES_MAX) ? lose(vhost, -EPROTO) : r;
    }
    vhost->queue_count = (uint32_t)count;
    vhost->features &= ~WIRE_BIT(WIRE_F_PROTOCOL_FEATURES);
    return r;
}

int vhost_init(struct vhost *vhost, int fd, struct err *err)
{
    int flags = fcntl(fd, F_GETFL), r;

    *vhost = (struct vhost){.fd = fd};
    r = flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ? -errno : greet(vhost);
    if (r == 0) {
        return 0;
    }
    vhost_fini(vhost);
    switch (r) {
    case -ETIMEDOUT:
        return err_set(err, r, "the back end does not answer within %u s", VHOST_WAIT_MS / 1000);
    case -EPROTO:
        return err_set(err, r, "what answers is no vhost-user back end");
    case -ENOTSUP:
        return err_set(err, r, "the back end is too old: it has no features of the protocol");
    default:
        return err_sys(err, r, "the back end cannot be talked to");
    }
}

void vhost_fini(struct vhost *vhost)
{
    cleanup_close(&vhost->fd);
    vhost->is_lost = true;
}

int vhost_set_memory(struct vhost *vhost, const struct vhost_region *regions, uint32_t count,
                     int fd)
{
    struct wire_message message = wire_message(WIRE_SET_MEM_TABLE, 0);
    int fds[VHOST_REGIONS_MAX];

    if (count > VHOST_REGIONS_MAX) {
        return -E2BIG;
    }
    message.header.size = (uint32_t)(2 * sizeof(uint32_t) + count * sizeof(struct wire_region));
    message.payload.memory.count = count;
    for (uint32_t i = 0; i < count; i++) {
        message.payload.memory.regions[i] = (struct wire_region){
            regions[i].start, regions[i].size, regions[i].start, regions[i].offset};
        fds[i] = fd;
    }
    return tell(vhost, &message, fds, count);
}

static bool has_config(const struct vhost *vhost)
{
    return (vhost->protocol & WIRE_BIT(WIRE_P_CONFIG)) != 0;
}

int vhost_read_config(struct vhost *vhost, void *to, uint32_t size)
{
    struct wire_message message = wire_message(WIRE_GET_CONFIG, WIRE_CONFIG_HEAD + size);
    int r;

    if (!has_config(vhost) || size > VHOST_CONFIG_MAX) {
        return size > VHOST_CONFIG_MAX ? -EINVAL : -ENOTSUP;
    }
    message.payload.config.size = size;
    r = ask(vhost, &message, 0, WIRE_CONFIG_HEAD + size);
    if (r < 0) {
        return r;
    }
    if ((uint32_t)r != WIRE_CONFIG_HEAD + size) { /* an empty answer says that it failed */
        return -EINVAL;
    }
    memcpy(to, message.payload.config.bytes, size);
    return 0;
}

int vhost_write_config(struct vhost *vhost, uint32_t offset, const void *from, uint32_t size)
{
    struct wire_message message = wire_message(WIRE_SET_CONFIG, WIRE_CONFIG_HEAD + size);

    if (!has_config(vhost) || size > VHOST_CONFIG_MAX) {
        return size > VHOST_CONFIG_MAX ? -EINVAL : -ENOTSUP;
    }
    message.payload.config.offset = offset;
    message.payload.config.size = size;
    memcpy(message.payload.config.bytes, from, size);
    return tell(vhost, &message, NULL, 0);
}

int vhost_set_features(struct vhost *vhost, uint64_t features)
{
    return tell_number(vhost, WIRE_SET_FEATURES, features | WIRE_BIT(WIRE_F_PROTOCOL_FEATURES),
                       NULL);
}

int vhost_start(struct vhost *vhost, const struct vhost_queue *queue)
{
    struct wire_message message = wire_message(WIRE_SET_VRING_ADDR, sizeof(struct wire_address));
    int r = tell_state(vhost, WIRE_SET_VRING_NUM, queue->index, queue->size);

    message.payload.address = (struct wire_address){.index = queue->index,
                                                    .descriptors = queue->descriptors,
                                                    .used = queue->device,
                                                    .available = queue->driver};
    r = r == 0 ? tell_state(vhost, WIRE_SET_VRING_BASE, queue->index, queue->base) : r;
    r = r == 0 ? tell(vhost, &message, NULL, 0) : r;
    r = r == 0 ? tell_number(vhost, WIRE_SET_VRING_CALL, queue->index, &queue->call_fd) : r;
    r = r == 0 ? tell_number(vhost, WIRE_SET_VRING_KICK, queue->index, &queue->kick_fd) : r;
    return r == 0 ? tell_state(vhost, WIRE_SET_VRING_ENABLE, queue->index, 1) : r;
}

int vhost_stop(struct vhost *vhost, uint32_t index, uint16_t *base)
{
    struct wire_message message = wire_message(WIRE_GET_VRING_BASE, sizeof(struct wire_state));
    int r;

    message.payload.state.index = index;
    r = ask(vhost, &message, sizeof(struct wire_state), sizeof(struct wire_state));
    if (r > 0 &&
        (message.payload.state.index != index || message.payload.state.number > UINT16_MAX)) {
        r = lose(vhost, -EPROTO);
    }
    *base = r > 0 ? (uint16_t)message.payload.state.number : 0;
    return r > 0 ? 0 : r;
}

void vhost_lose(struct vhost *vhost)
{
    (void)lose(vhost, 0);
}

bool vhost_is_there(struct vhost *vhost)
{
    uint8_t byte;

    if (!vhost->is_lost && (read(vhost->fd, &byte, 1) >= 0 || errno != EAGAIN)) {
        (void)lose(vhost, -ECONNRESET);
    }
    return !vhost->is_lost;
}
