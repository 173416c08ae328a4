#include "daemon/server/client.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"

#define READ_STEP      65536u          /* bytes read at once */
#define READ_STEPS_MAX 4               /* then the others have their turn */
#define KEEP_CAPACITY  (2 * READ_STEP) /* a bigger buffer is given back when it is empty */

struct chunk {
    TAILQ_ENTRY(chunk) link;
    char *data;
    size_t size, sent;
    int fd; /* goes with the first byte; -1: none */
};

struct client {
    uv_poll_t poll;
    uv_timer_t timer;
    int open_handles;
    int fd;
    struct peer peer;
    const struct client_hooks *hooks;
    void *context;

    char *in;
    size_t in_size, in_capacity;
    size_t scanned;       /* bytes of `in` in which there is no newline */
    uint64_t message_due; /* loop time by which the begun message must end; 0: none began */

    TAILQ_HEAD(, chunk) out;
    size_t out_size;
    uint64_t out_due; /* loop time by which some of `out` must be taken; 0: nothing waits */

    bool is_closing;
    bool is_ending; /* reads no more, closes when all was sent */
    bool is_at_end; /* the peer sends no more; stays while something is owed to it */
    size_t owed;    /* answers and subscriptions: client_owe() */
};

static void on_ready(uv_poll_t *poll, int status, int events);
static void on_time(uv_timer_t *timer);

static void chunk_free(struct chunk *chunk)
{
    free(chunk->data);
    cleanup_close(&chunk->fd);
    free(chunk);
}

/* Whether a further message would be read now. */
static bool is_reading(const struct client *client)
{
    return !client->is_ending && !client->is_at_end && client->out_size < CLIENT_OUT_PAUSE;
}

static void watch(struct client *client)
{
    uint64_t now = uv_now(client->poll.loop);
    uint64_t due = client->message_due;
    /* While nothing is read, the end of the whole connection must still wake us, and the end of
     * one direction must not do so again and again: epoll tells a hang-up always, and libuv passes
     * it on as whatever else is watched. Out-of-band data is nothing that anybody sends here. */
    int events = is_reading(client) ? UV_READABLE : UV_PRIORITIZED;

    if (client->is_closing) {
        return;
    }
    if (!TAILQ_EMPTY(&client->out)) {
        events |= UV_WRITABLE;
    }
    if (client->out_due != 0 && (due == 0 || client->out_due < due)) {
        due = client->out_due;
    }
    (void)uv_poll_start(&client->poll, events, on_ready); /* fails only for closing handles */
    if (due == 0) {
        (void)uv_timer_stop(&client->timer);
    } else {
        (void)uv_timer_start(&client->timer, on_time, due > now ? due - now : 0, 0);
    }
}

int client_create(struct uv_loop_s *loop, int fd, const struct peer *peer,
                  const struct client_hooks *hooks, void *context, struct client **result)
{
    struct client *client = calloc(1, sizeof(*client));

    if (client == NULL) {
        return -ENOMEM;
    }
    if (uv_poll_init(loop, &client->poll, fd) != 0) {
        free(client);
        return -EIO;
    }
    (void)uv_timer_init(loop, &client->timer); /* cannot fail */
    client->poll.data = client;
    client->timer.data = client;
    client->open_handles = 2;
    client->fd = fd;
    client->peer = *peer;
    client->hooks = hooks;
    client->context = context;
    TAILQ_INIT(&client->out);
    watch(client);
    *result = client;
    return 0;
}

const struct peer *client_peer(const struct client *client)
{
    return &client->peer;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;

    client->open_handles--;
    if (client->open_handles == 0) {
        free(client->in);
        free(client);
    }
}

void client_close(struct client *client)
{
    struct chunk *chunk;

    if (client->is_closing) {
        return;
    }
    client->is_closing = true;
    (void)uv_poll_stop(&client->poll);
    uv_close((uv_handle_t *)&client->poll, on_handle_closed);
    uv_close((uv_handle_t *)&client->timer, on_handle_closed);
    cleanup_close(&client->fd);
    while ((chunk = TAILQ_FIRST(&client->out)) != NULL) {
        TAILQ_REMOVE(&client->out, chunk, link);
        chunk_free(chunk);
    }
    client->hooks->on_close(client->context, client);
}

/* Close if nothing more can come in either direction. */
static void close_if_over(struct client *client)
{
    bool is_over = client->is_ending || (client->is_at_end && client->owed == 0);

    if (is_over && TAILQ_EMPTY(&client->out)) {
        client_close(client);
    } else {
        watch(client);
    }
}

void client_close_when_sent(struct client *client)
{
    client->is_ending = true;
    client->message_due = 0;
    close_if_over(client);
}

void client_owe(struct client *client)
{
    client->owed++;
}

void client_pay(struct client *client)
{
    client->owed--;
    close_if_over(client);
}

size_t client_owed(const struct client *client)
{
    return client->owed;
}

/* Send bytes with descriptors: bytes sent, 0 if the peer's buffer is full, or -errno. */
static ssize_t send_with(int fd, char *data, size_t size, const int *fds, size_t count)
{
    struct iovec piece = {.iov_base = data, .iov_len = size};
    union {
        char bytes[CMSG_SPACE(CLIENT_LENT_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    ssize_t n;

    if (count > 0) {
        struct cmsghdr *header;

        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* The same of what is left of a chunk. */
static ssize_t send_chunk(int fd, struct chunk *chunk)
{
    ssize_t n = send_with(fd, chunk->data + chunk->sent, chunk->size - chunk->sent, &chunk->fd,
                          chunk->fd >= 0 ? 1 : 0);

    if (n > 0) {
        cleanup_close(&chunk->fd);
    }
    return n;
}

static void flush(struct client *client)
{
    struct chunk *chunk;

    while (!client->is_closing && (chunk = TAILQ_FIRST(&client->out)) != NULL) {
        ssize_t n = send_chunk(client->fd, chunk);

        if (n < 0) {
            client_close(client);
            return;
        }
        if (n == 0) {
            break;
        }
        client->out_due = uv_now(client->poll.loop) + CLIENT_STALL_MS;
        client->out_size -= (size_t)n;
        chunk->sent += (size_t)n;
        if (chunk->sent == chunk->size) {
            TAILQ_REMOVE(&client->out, chunk, link);
            chunk_free(chunk);
        }
    }
    if (TAILQ_EMPTY(&client->out)) {
        client->out_due = 0;
    }
}

/* The first `sent` bytes of the line have gone. */
static void queue(struct client *client, char *line, size_t sent, int passed_fd)
{
    struct chunk *chunk = calloc(1, sizeof(*chunk));
    size_t size = line != NULL ? strlen(line) : 0;

    if (client->is_closing || chunk == NULL || line == NULL ||
        size > CLIENT_OUT_MAX - client->out_size) {
        free(chunk);
        free(line);
        cleanup_close(&passed_fd);
        client_close(client);
        return;
    }
    *chunk = (struct chunk){.data = line, .size = size, .sent = sent, .fd = passed_fd};
    if (TAILQ_EMPTY(&client->out)) {
        client->out_due = uv_now(client->poll.loop) + CLIENT_STALL_MS;
    }
    TAILQ_INSERT_TAIL(&client->out, chunk, link);
    client->out_size += size - sent;
    flush(client);
    close_if_over(client);
}

void client_send(struct client *client, char *line, int passed_fd)
{
    queue(client, line, 0, passed_fd);
}

void client_send_lent(struct client *client, char *line, const int *fds, size_t count)
{
    size_t size = line != NULL ? strlen(line) : 0;
    bool is_next = !client->is_closing && TAILQ_EMPTY(&client->out) && count <= CLIENT_LENT_MAX;
    ssize_t n = is_next && size > 0 ? send_with(client->fd, line, size, fds, count) : 0;

    if (n <= 0 || (size_t)n == size) {
        free(line);
    } else {
        queue(client, line, (size_t)n, -1);
    }
    if (n <= 0) {
        client_close(client);
    }
}

static void refuse_and_end(struct client *client, int code, const char *why)
{
    struct err err = {0};

    (void)err_set(&err, code, "%s", why);
    client->is_ending = true;
    client->message_due = 0;
    client->in_size = client->scanned = 0;
    client_send(client, msg_error_format(NULL, &err), -1);
}

/* Hand over each whole line of the buffer, and keep the rest. */
static void take_lines(struct client *client)
{
    size_t longest =
        client->peer.role == PEER_STRANGER ? CLIENT_STRANGER_MAX : (size_t)MSG_LINE_MAX;
    size_t begin = 0;

    while (is_reading(client) && !client->is_closing) {
        char *newline =
            memchr(client->in + client->scanned, '\n', client->in_size - client->scanned);
        size_t end = newline != NULL ? (size_t)(newline - client->in) : client->in_size;

        client->scanned = end;
        if (end - begin > longest) {
            refuse_and_end(client, -EMSGSIZE, "the message is too long");
            return;
        }
        if (newline == NULL) {
            break;
        }
        client->message_due = 0;
        client->scanned = end + 1;
        client->hooks->on_line(client->context, client, client->in + begin, end - begin);
        begin = end + 1;
    }
    if (client->is_closing || begin == 0) {
        return;
    }
    memmove(client->in, client->in + begin, client->in_size - begin);
    client->in_size -= begin;
    client->scanned -= begin;
    if (client->in_size == 0 && client->in_capacity > KEEP_CAPACITY) {
        free(client->in);
        client->in = NULL;
        client->in_capacity = 0;
    }
}

/* Read once: whether there may be more. */
static bool read_some(struct client *client)
{
    ssize_t n;

    if (client->in_capacity - client->in_size < READ_STEP) {
        size_t capacity = client->in_capacity * 2 + READ_STEP;
        char *in = realloc(client->in, capacity);

        if (in == NULL) {
            client_close(client);
            return false;
        }
        client->in = in;
        client->in_capacity = capacity;
    }
    n = recv(client->fd, client->in + client->in_size, READ_STEP, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n < 0) {
        client_close(client);
        return false;
    }
    if (n == 0) {
        client->is_at_end = true;
        return false;
    }
    client->in_size += (size_t)n;
    take_lines(client);
    return n == READ_STEP;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct client *client = poll->data;

    if (status < 0) {
        client_close(client);
        return;
    }
    if (events & UV_WRITABLE) {
        flush(client);
        if (!client->is_closing && client->in_size > 0) {
            take_lines(client); /* that waited because of the answers */
        }
    }
    if (events & UV_PRIORITIZED) {
        client_close(client);
    }
    if (!client->is_closing && (events & UV_READABLE)) {
        for (int i = 0; i < READ_STEPS_MAX && !client->is_closing && is_reading(client); i++) {
            if (!read_some(client)) {
                break;
            }
        }
    }
    if (client->is_closing) {
        return;
    }
    if (client->in_size == 0 || !is_reading(client)) {
        client->message_due = 0;
    } else if (client->message_due == 0) {
        client->message_due = uv_now(poll->loop) + CLIENT_MESSAGE_MS;
    }
    close_if_over(client);
}

static void on_time(uv_timer_t *timer)
{
    struct client *client = timer->data;
    uint64_t now = uv_now(timer->loop);

    if (client->out_due != 0 && now >= client->out_due) {
        client_close(client);
    } else if (client->message_due != 0 && now >= client->message_due) {
        refuse_and_end(client, -ETIMEDOUT, "the message was not finished in time");
    } else {
        watch(client);
    }
}
