/* A back end of vhost-user for tests. */
#include "tests/fake/vhost_back.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_MAX 16u

static bool read_all(int fd, void *to, size_t size)
{
    uint8_t *at = to;

    while (size > 0) {
        ssize_t n = read(fd, at, size);

        if (n <= 0) {
            return false;
        }
        at += n;
        size -= (size_t)n;
    }
    return true;
}

/* The header comes with the descriptors. */
static bool hear(struct vhost_back *back, struct vhost_heard *heard)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    } control;
    struct iovec bytes = {&heard->message.header, sizeof(heard->message.header)};
    struct msghdr packet = {.msg_iov = &bytes,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = sizeof(control.space)};
    const struct cmsghdr *header;
    int fds[FDS_MAX];

    heard->fd = -1;
    heard->fd_count = 0;
    if (recvmsg(back->own_fd, &packet, MSG_WAITALL) != (ssize_t)sizeof(heard->message.header) ||
        heard->message.header.size > sizeof(heard->message.payload) ||
        !read_all(back->own_fd, &heard->message.payload, heard->message.header.size)) {
        return false;
    }
    header = CMSG_FIRSTHDR(&packet);
    if (header != NULL) {
        heard->fd_count = (uint32_t)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(header), heard->fd_count * sizeof(int));
        heard->fd = fds[0];
        for (uint32_t i = 1; i < heard->fd_count; i++) {
            (void)close(fds[i]);
        }
    }
    return true;
}

/* Fill in the answer; false: there is none. */
static bool make_answer(const struct vhost_back *back, const struct wire_message *said,
                        struct wire_message *answer)
{
    uint32_t request = said->header.request;
    bool is_wanted = (said->header.flags & WIRE_NEED_REPLY) != 0;

    *answer = wire_message(request, sizeof(uint64_t));
    answer->header.flags |= WIRE_REPLY;
    switch (request) {
    case WIRE_GET_FEATURES:
        answer->payload.number = back->features;
        return true;
    case WIRE_GET_PROTOCOL_FEATURES:
        answer->payload.number = back->protocol;
        return true;
    case WIRE_GET_QUEUE_NUM:
        answer->payload.number = back->queue_count;
        return true;
    case WIRE_GET_VRING_BASE:
        answer->payload.state = (struct wire_state){said->payload.state.index, back->base};
        return true;
    case WIRE_GET_CONFIG:
        answer->header.size = 0;
        if (said->payload.config.size <= back->config_size) {
            answer->header.size = said->header.size;
            for (uint32_t i = 0; i < said->payload.config.size; i++) {
                answer->payload.config.bytes[i] = (uint8_t)(i + 1);
            }
        }
        return true;
    default:
        answer->payload.number = 0;
        return is_wanted;
    }
}

static void spoil(const struct vhost_back *back, struct wire_message *answer)
{
    switch (back->how) {
    case VHOST_BACK_OTHER_REQUEST:
        answer->header.request++;
        break;
    case VHOST_BACK_OTHER_VERSION:
        answer->header.flags ^= WIRE_VERSION_MASK;
        break;
    case VHOST_BACK_NO_REPLY_FLAG:
        answer->header.flags &= ~WIRE_REPLY;
        break;
    case VHOST_BACK_TOO_LONG:
        answer->header.size++;
        break;
    case VHOST_BACK_TOO_SHORT:
        answer->header.size--;
        break;
    case VHOST_BACK_REFUSES:
        answer->payload.number = UINT64_MAX;
        break;
    case VHOST_BACK_ENDS:
        break;
    }
}

static void *serve(void *context)
{
    struct vhost_back *back = context;
    bool goes_on = true;

    while (goes_on && back->heard_count < VHOST_BACK_HEARD_MAX &&
           hear(back, &back->heard[back->heard_count])) {
        const struct wire_message *said = &back->heard[back->heard_count++].message;
        struct wire_message answer;
        size_t size;

        if (!make_answer(back, said, &answer)) {
            continue;
        }
        if (said->header.request == back->bad_request) {
            spoil(back, &answer);
            goes_on = back->how != VHOST_BACK_ENDS;
        }
        size = goes_on ? sizeof(answer.header) + answer.header.size : sizeof(answer.header) + 3;
        goes_on = send(back->own_fd, &answer, size, MSG_NOSIGNAL) == (ssize_t)size && goes_on;
    }
    (void)shutdown(back->own_fd, SHUT_RDWR);
    return NULL;
}

void vhost_back_start(struct vhost_back *back)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        abort();
    }
    back->fd = fds[0];
    back->own_fd = fds[1];
    if (pthread_create(&back->thread, NULL, serve, back) != 0) {
        abort();
    }
}

void vhost_back_join(struct vhost_back *back)
{
    (void)pthread_join(back->thread, NULL);
}

void vhost_back_fini(struct vhost_back *back)
{
    for (uint32_t i = 0; i < back->heard_count; i++) {
        if (back->heard[i].fd >= 0) {
            (void)close(back->heard[i].fd);
        }
    }
    (void)close(back->own_fd);
}

const struct vhost_heard *vhost_back_heard(const struct vhost_back *back, uint32_t request,
                                           uint32_t nth)
{
    for (uint32_t i = 0; i < back->heard_count; i++) {
        if (back->heard[i].message.header.request == request && nth-- == 0) {
            return &back->heard[i];
        }
    }
    return NULL;
}
