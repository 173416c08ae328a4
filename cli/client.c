/* The connection to qvmd. */
#include "cli/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "cli/cli.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define ROOM_FIRST 65536u

static int64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void client_set_patience(struct client *client, int64_t patience_ms)
{
    client->patience_ms = patience_ms;
    client->deadline_ns =
        patience_ms < 0 ? CLIENT_FOR_EVER : now_ns() + patience_ms * INT64_C(1000000);
}

static int fail_connect(const char *path, int code, struct err *err)
{
    switch (code) {
    case -ENOENT:
    case -ENOTDIR:
        return err_set(err, CLI_UNREACHABLE,
                       "qvmd cannot be reached: there is no socket '%s'; start qvmd, or name its "
                       "socket by --socket or $" CLI_SOCKET_ENV,
                       path);
    case -ECONNREFUSED:
        return err_set(err, CLI_UNREACHABLE,
                       "qvmd cannot be reached: nobody listens at '%s'; start qvmd", path);
    case -EACCES:
    case -EPERM:
        return err_set(err, -EACCES,
                       "qvmd's socket '%s' may not be opened: be root, or a member of a group that "
                       "qvmd.conf names",
                       path);
    case -EAGAIN:
        return err_set(err, -ETIMEDOUT, "qvmd did not take the connection at '%s' in time", path);
    default:
        return err_set(err, CLI_UNREACHABLE, "qvmd cannot be reached at '%s': %s", path,
                       strerrordesc_np(-code));
    }
}

int client_init(struct client *client, const struct cli *cli, int64_t patience_ms, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = patience_ms / 1000, .tv_usec = patience_ms % 1000 * 1000};

    *client = (struct client){.fd = -1, .path = cli->socket, .passed_fd = -1};
    client_set_patience(client, patience_ms);
    if (*cli->socket == '\0') {
        return err_set(err, -EINVAL, "the socket's path is empty");
    }
    if (strlen(cli->socket) >= sizeof(address.sun_path)) {
        return err_set(err, -EINVAL, "the socket's path is longer than %zu bytes",
                       sizeof(address.sun_path) - 1);
    }
    (void)strcpy(address.sun_path, cli->socket); /* fits, see above */
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0) {
        return err_set(err, -EIO, "a socket cannot be made: %s", strerrordesc_np(errno));
    }
    if (patience_ms >= 0) { /* bounds connect() */
        (void)setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    }
    if (connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        return fail_connect(cli->socket, -errno, err);
    }
    return 0;
}

void client_fini(struct client *client)
{
    cleanup_close(&client->fd);
    cleanup_close(&client->passed_fd);
    free(client->buffer);
    client->buffer = NULL;
}

static int fail_timeout(const struct client *client, struct err *err)
{
    return err_set(err, -ETIMEDOUT, "qvmd did not answer within %g s",
                   (double)client->patience_ms / 1000);
}

static int fail_closed(struct err *err)
{
    return err_set(err, CLI_UNREACHABLE,
                   "qvmd ended the connection before it answered; what was "
                   "asked for may have happened: see `qvmctl list`");
}

/* Room for at least one more byte behind what is there. */
static int make_room(struct client *client, struct err *err)
{
    size_t room = client->room == 0 ? ROOM_FIRST : client->room * 2;
    char *buffer;

    if (client->start > 0) {
        client->used -= client->start;
        memmove(client->buffer, client->buffer + client->start, client->used);
        client->start = 0;
    }
    if (client->used < client->room) {
        return 0;
    }
    if (client->used >= CLIENT_REPLY_MAX) {
        return err_set(err, -EMSGSIZE, "qvmd's answer is longer than %u bytes", CLIENT_REPLY_MAX);
    }
    buffer = realloc(client->buffer, room);
    if (buffer == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    client->buffer = buffer;
    client->room = room;
    return 0;
}

/* Wait for one of `events`; `*seen` is what came. */
static int await(struct client *client, short events, short *seen, struct err *err)
{
    struct pollfd pollfd = {.fd = client->fd, .events = events};
    int r;

    do {
        int64_t left = client->deadline_ns == CLIENT_FOR_EVER ? -1 : client->deadline_ns - now_ns();
        struct timespec limit = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};

        if (client->deadline_ns != CLIENT_FOR_EVER && left <= 0) {
            return fail_timeout(client, err);
        }
        r = ppoll(&pollfd, 1, client->deadline_ns == CLIENT_FOR_EVER ? NULL : &limit, NULL);
    } while (r == 0 || (r < 0 && errno == EINTR));
    *seen = pollfd.revents;
    return r > 0 ? 0 : err_set(err, -EIO, "cannot wait for qvmd: %s", strerrordesc_np(errno));
}

/* Keep the last descriptor of a packet, close the others. */
static void take_descriptors(struct client *client, struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            cleanup_close(&client->passed_fd);
            memcpy(&client->passed_fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
        }
    }
}

/* What is there to read; nothing is no error. */
static int read_some(struct client *client, struct err *err)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec piece;
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t size;
    int r = client->used < client->room ? 0 : make_room(client, err);

    if (r != 0) {
        return r;
    }
    piece.iov_base = client->buffer + client->used;
    piece.iov_len = client->room - client->used;
    size = recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (size <= 0) {
        return fail_closed(err);
    }
    take_descriptors(client, &message);
    client->used += (size_t)size;
    return 0;
}

/* While qvmd does not read, it may be because we do not: answers are taken in meanwhile. */
static int send_line(struct client *client, const char *line, struct err *err)
{
    size_t size = strlen(line);
    int r = 0;

    while (r == 0 && size > 0) {
        ssize_t sent = send(client->fd, line, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        short seen = 0;

        if (sent >= 0) {
            line += sent;
            size -= (size_t)sent;
        } else if (errno == EAGAIN) {
            r = await(client, POLLIN | POLLOUT, &seen, err);
            r = r == 0 && (seen & POLLIN) != 0 ? read_some(client, err) : r;
        } else if (errno != EINTR) {
            r = fail_closed(err);
        }
    }
    return r;
}

int client_send(struct client *client, enum msg_method method, const void *params, struct err *err)
{
    auto_free char *line = msg_request_format(++client->last_id, method, params);

    if (line == NULL) {
        return err_set(err, -EINVAL, "what is asked for is not UTF-8 text");
    }
    if (strlen(line) > MSG_LINE_MAX) {
        return err_set(err, -EMSGSIZE, "the request is longer than %u bytes", MSG_LINE_MAX);
    }
    return send_line(client, line, err);
}

int client_receive(struct client *client, struct msg_reply *reply, struct err *err)
{
    size_t looked_at = client->start;

    for (;;) {
        size_t before = client->start;
        char *line = client->buffer + client->start;
        char *end = client->used > looked_at
                        ? memchr(client->buffer + looked_at, '\n', client->used - looked_at)
                        : NULL;
        short seen;
        int r;

        if (end != NULL) {
            client->start = (size_t)(end + 1 - client->buffer);
            r = msg_reply_parse(line, (size_t)(end - line), reply, err);
            return r == 0 ? 0 : err_prefix(err, "qvmd's answer cannot be read: ");
        }
        looked_at = client->used;
        r = await(client, POLLIN, &seen, err);
        r = r == 0 ? read_some(client, err) : r;
        if (r != 0) {
            return r;
        }
        looked_at -= before - client->start; /* what was left was moved to the front */
    }
}

/* A refusal without id is for us too: qvmd could not read so far. */
static bool is_for(const struct msg_reply *reply, int64_t id)
{
    return reply->event == NULL && (reply->id == id || (reply->id == 0 && reply->code != 0));
}

/* Wait for the reply to the last request. */
static int await_reply(struct client *client, struct msg_reply *reply, struct err *err)
{
    int r;

    do {
        msg_reply_fini(reply);
        r = client_receive(client, reply, err);
    } while (r == 0 && !is_for(reply, client->last_id));
    if (r == 0 && reply->result == NULL) {
        (void)err_set(err, reply->code, "%s", reply->message);
        return reply->code != 0 ? reply->code : -EPROTO;
    }
    return r;
}

int client_call_any(struct client *client, enum msg_method method, const void *params,
                    struct msg_reply *reply, struct err *err)
{
    int r;

    *reply = (struct msg_reply){0};
    client_set_patience(client, client->patience_ms);
    r = client_send(client, method, params, err);
    return r == 0 ? await_reply(client, reply, err) : r;
}

int client_ask_any(struct client *client, enum msg_method method, const void *params, void *result,
                   struct err *err)
{
    auto_reply struct msg_reply reply = {0};
    int r = client_call_any(client, method, params, &reply, err);

    return r == 0 ? msg_reply_read(&reply, msg_methods[method].result, result, err) : r;
}

int client_call_json(struct client *client, const char *method, const char *params,
                     struct msg_reply *reply, struct err *err)
{
    auto_free char *line = NULL;
    int r = msg_request_format_json(++client->last_id, method, params, &line, err);

    *reply = (struct msg_reply){0};
    if (r == 0) {
        r = send_line(client, line, err);
    }
    return r == 0 ? await_reply(client, reply, err) : r;
}

void client_print(const struct msg_reply *reply)
{
    auto_free char *text = msg_reply_text(reply);

    (void)puts(text != NULL ? text : "null"); /* main() looks at stdout's errors */
}

int client_take_fd(struct client *client)
{
    return take_fd(&client->passed_fd);
}
