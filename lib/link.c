#include "lib/link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_SIZE 256

void link_init(struct link *link)
{
    link->fd = -1;
    link->taken = link->used = link->fd_count = 0;
    for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
        link->fds[i] = -1;
    }
}

void link_close(struct link *link)
{
    for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
        if (link->fds[i] >= 0) {
            (void)close(link->fds[i]); /* nothing was written */
        }
    }
    if (link->fd >= 0) {
        (void)close(link->fd); /* nothing is lost by it */
    }
    link_init(link);
}

int link_open(struct link *link, const struct sockaddr_un *address)
{
    int r;

    link_close(link);
    link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (link->fd < 0) {
        return -errno;
    }
    if (connect(link->fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
        r = -errno;
        link_close(link);
        return r;
    }
    return 0;
}

int link_ask(struct link *link, const struct link_wish *wish)
{
    char request[REQUEST_SIZE];
    int size =
        snprintf(request, sizeof(request),
                 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"shmem.join\",\"params\":"
                 "{\"region\":\"%s\",\"size\":%" PRIu64 ",\"memory\":%" PRIu64 ",\"client\":%u}}\n",
                 wish->region, wish->size, (uint64_t)wish->memory, wish->client);

    /* the first bytes of a connection: there is room for them */
    return send(link->fd, request, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT) == size ? 0
                                                                                      : -ENOTCONN;
}

static void take_descriptor(struct link *link, int fd)
{
    if (link->fd_count < SHMEM_FD_COUNT) {
        link->fds[link->fd_count] = fd;
    } else {
        (void)close(fd); /* nobody asked for it */
    }
    link->fd_count++;
}

static void take_descriptors(struct link *link, struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (size_t i = 0;
             part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS && i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
            take_descriptor(link, fd);
        }
    }
}

/* Bytes that came: more than 0; 0: none so far. */
static int receive(struct link *link)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE((SHMEM_FD_COUNT + 1) * sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = link->in + link->used,
                          .iov_len = sizeof(link->in) - link->used};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t size;

    if (piece.iov_len == 0) {
        return -EPROTO;
    }
    size = recvmsg(link->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (size <= 0) {
        return -ENOTCONN;
    }
    take_descriptors(link, &message);
    link->used += (size_t)size;
    return (int)size;
}

int link_read(struct link *link, struct reply_value *line)
{
    link->used -= link->taken;
    memmove(link->in, link->in + link->taken, link->used);
    link->taken = 0;
    for (;;) {
        char *end = memchr(link->in, '\n', link->used);
        int r;

        if (end != NULL) {
            *line = (struct reply_value){link->in, end};
            link->taken = (size_t)(end + 1 - link->in);
            return 1;
        }
        r = receive(link);
        if (r <= 0) {
            return r;
        }
    }
}
