/* One session of a console. */
#include "qvm-worker/console/session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/err.h"
#include "proto/console.h"
#include "qvm-worker/console/console.h"
#include "qvm-worker/fd_stat.h"

#define NOTICE_SIZE 96u   /* a line of ours */
#define PIECE_SIZE  4096u /* of the ring, or of what was typed, at a time */

/* A descriptor, in one or both directions. */
struct end {
    uv_poll_t poll; /* first: uv_handle_t * and struct end * are the same */
    struct console_session *session;
    int fd;
    int old_flags;    /* -1: left alone */
    bool is_socket;   /* others: a terminal, a pipe, a file */
    bool is_pollable; /* a file is not: always ready */
    int events;       /* that are watched */
};

struct console_session {
    const struct console_session_owner *owner;
    struct end ends[2];
    int end_count;
    int open_handles;
    struct end *in, *out; /* NULL: no such direction, or it is over */
    unsigned flags;
    bool is_over;
    bool is_blocked; /* the peer takes no more for now */
    size_t limit;    /* typed bytes that may be read */
    uint64_t offset; /* of the next byte from the ring */
    uint64_t lost;
    char notice[NOTICE_SIZE];                 /* a line of ours that comes next; empty: none */
    bool is_quiet;                            /* was told that it only reads */
    size_t out_at, out_end;                   /* what of `buffer` is still to be given */
    uint8_t buffer[NOTICE_SIZE + PIECE_SIZE]; /* a notice goes directly before the ring's bytes */
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct console_session *session)
{
    for (int i = 0; i < session->end_count; i++) {
        struct end *end = &session->ends[i];
        int events = 0;

        if (!end->is_pollable || session->is_over) {
            continue;
        }
        if (end == session->in && session->limit > 0) {
            events |= UV_READABLE;
        }
        if (end == session->out && session->is_blocked) {
            events |= UV_WRITABLE;
        }
        if (events == end->events) {
            continue;
        }
        end->events = events;
        if (events != 0) {
            (void)uv_poll_start(&end->poll, events, on_poll); /* fails on closed handles alone */
        } else {
            (void)uv_poll_stop(&end->poll);
        }
    }
}

static int end_init(struct console_session *session, uv_loop_t *loop, int fd, struct end **end,
                    struct err *err)
{
    struct end *new = &session->ends[session->end_count];
    struct stat st;
    int r;

    *end = NULL;
    if (fd < 0) {
        return 0;
    }
    if (fd_stat(fd, &st) != 0) {
        return err_sys(err, -errno, "a console session's descriptor is of no use");
    }
    *new = (struct end){.session = session, .fd = fd, .old_flags = -1};
    new->is_socket = S_ISSOCK(st.st_mode);
    if (!new->is_socket && !S_ISREG(st.st_mode)) {
        new->old_flags = fcntl(fd, F_GETFL);
    }
    r = uv_poll_init(loop, &new->poll, fd); /* makes it non-blocking */
    if (r != 0 && r != UV_EPERM) {
        return err_set(err, r, "cannot watch a console session's descriptor: %s", uv_strerror(r));
    }
    new->is_pollable = r == 0;
    session->open_handles += new->is_pollable ? 1 : 0;
    session->end_count++;
    *end = new;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct console_session *session = ((struct end *)(void *)handle)->session;

    session->open_handles--;
    if (session->open_handles == 0) {
        free(session);
    }
}

/* Close the handles; the descriptors stay as they are. */
static void release(struct console_session *session)
{
    int end_count = session->end_count;

    session->is_over = true;
    if (session->open_handles == 0) {
        free(session);
        return;
    }
    for (int i = 0; i < end_count; i++) {
        if (session->ends[i].is_pollable) {
            uv_close((uv_handle_t *)&session->ends[i].poll, on_closed);
        }
    }
}

/* The flags of the last end first: both may be one terminal, whose old flags the first end saw. */
static void restore_flags(const struct console_session *session)
{
    for (int i = session->end_count - 1; i >= 0; i--) {
        if (session->ends[i].old_flags >= 0) {
            (void)fcntl(session->ends[i].fd, F_SETFL, session->ends[i].old_flags); /* a courtesy */
        }
    }
}

int console_session_create(struct uv_loop_s *loop, const struct console_session_owner *owner,
                           int in_fd, int out_fd, unsigned flags, uint64_t from,
                           struct console_session **session, struct err *err)
{
    struct console_session *new = malloc(sizeof(*new));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "no memory for a console session");
    }
    memset(new, 0, offsetof(struct console_session, buffer));
    new->owner = owner;
    new->flags = flags;
    new->offset = from;
    if (from == CONSOLE_FROM_NOW) {
        new->offset = console_ring_end(owner->ring);
    } else if (from == CONSOLE_FROM_OLDEST) {
        new->offset = console_ring_oldest(owner->ring);
    }
    r = end_init(new, loop, in_fd, &new->in, err);
    if (r == 0 && out_fd == in_fd) {
        new->out = new->in;
    } else if (r == 0) {
        r = end_init(new, loop, out_fd, &new->out, err);
    }
    if (r != 0) {
        restore_flags(new);
        release(new);
        return r;
    }
    *session = new;
    return 0;
}

void console_session_destroy(struct console_session *session)
{
    int fds[2] = {-1, -1};

    restore_flags(session);
    for (int i = 0; i < session->end_count; i++) {
        fds[i] = session->ends[i].fd;
    }
    release(session);
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]); /* nothing of ours depends on it */
        }
    }
}

static void end_session(struct console_session *session)
{
    session->owner->ended(session->owner->context, session);
    console_session_destroy(session);
}

void console_session_notice(struct console_session *session, const char *text)
{
    if ((session->flags & CONSOLE_PLAIN) == 0) {
        (void)snprintf(session->notice, sizeof(session->notice), CONSOLE_LINE("%.64s"), text);
    }
}

bool console_session_is_quiet(const struct console_session *session)
{
    return session->is_quiet;
}

void console_session_set_quiet(struct console_session *session, bool is_quiet)
{
    session->is_quiet = is_quiet;
}

static bool take_notice(struct console_session *session)
{
    size_t size = strlen(session->notice);

    memcpy(session->buffer, session->notice, size);
    session->notice[0] = '\0';
    session->out_at = 0;
    session->out_end = size;
    return size > 0;
}

/* Get the next piece into the buffer; false: there is none. */
static bool refill(struct console_session *session)
{
    uint64_t lost = 0;
    size_t n = console_ring_read(session->owner->ring, &session->offset,
                                 session->buffer + NOTICE_SIZE, PIECE_SIZE, &lost);

    session->out_at = NOTICE_SIZE;
    session->out_end = NOTICE_SIZE + n;
    session->lost += lost;
    if (lost > 0 && (session->flags & CONSOLE_PLAIN) == 0) {
        char text[NOTICE_SIZE];
        size_t size =
            (size_t)snprintf(text, sizeof(text), CONSOLE_LINE("%" PRIu64 " bytes lost"), lost);

        session->out_at -= size;
        memcpy(session->buffer + session->out_at, text, size);
    }
    return session->out_at < session->out_end;
}

static ssize_t end_write(const struct end *end, const void *data, size_t size)
{
    return end->is_socket ? send(end->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                          : write(end->fd, data, size);
}

void console_session_pump(struct console_session *session)
{
    uint64_t end = console_ring_end(session->owner->ring);

    session->is_blocked = false;
    while (session->out != NULL && (session->out_at < session->out_end || take_notice(session) ||
                                    (session->offset < end && refill(session)))) {
        ssize_t n = end_write(session->out, session->buffer + session->out_at,
                              session->out_end - session->out_at);

        if (n >= 0) {
            session->out_at += (size_t)n;
        } else if (errno == EAGAIN) {
            session->is_blocked = true;
            break;
        } else if (errno != EINTR) {
            /* It hears no more; what it typed before that is still the guest's. */
            session->out = NULL;
        }
    }
    if (session->out == NULL && session->in == NULL) {
        end_session(session);
        return;
    }
    watch(session);
}

enum heard { HEARD_SOMETHING, HEARD_NOTHING, HEARD_THE_END };

/* Read once. HEARD_THE_END: the session is over and gone. */
static enum heard listen_once(struct console_session *session)
{
    uint8_t data[PIECE_SIZE];
    size_t size = session->limit < sizeof(data) ? session->limit : sizeof(data);
    ssize_t n = session->in->is_socket ? recv(session->in->fd, data, size, MSG_DONTWAIT)
                                       : read(session->in->fd, data, size);

    if (n > 0) {
        session->owner->typed(session->owner->context, session, data, (size_t)n);
        return HEARD_SOMETHING;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return HEARD_NOTHING;
    }
    if (n < 0 || session->out == NULL || console_session_is_gone(session)) {
        end_session(session);
        return HEARD_THE_END;
    }
    session->in = NULL; /* typed all that it will; it still reads */
    watch(session);
    session->owner->silent(session->owner->context, session);
    return HEARD_NOTHING;
}

void console_session_finish(struct console_session *session)
{
    enum heard heard = HEARD_SOMETHING;

    while (heard == HEARD_SOMETHING && session->in != NULL && session->limit > 0) {
        heard = listen_once(session);
    }
    if (heard != HEARD_THE_END) {
        end_session(session);
    }
}

void console_session_listen(struct console_session *session, size_t limit)
{
    bool is_file = session->in != NULL && !session->in->is_pollable;

    if (is_file && session->limit == 0 && limit > 0) {
        session->limit = limit;
        /* `typed` calls back with a new limit, which may be 0. */
        while (session->in != NULL && session->limit > 0) {
            if (listen_once(session) == HEARD_THE_END) {
                return;
            }
        }
        return;
    }
    session->limit = limit;
    watch(session);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct console_session *session = ((struct end *)(void *)poll)->session;

    if (status < 0) { /* it hung up on what it was told; what it typed is still the guest's */
        console_session_finish(session);
        return;
    }
    if ((events & UV_READABLE) != 0 && session->in != NULL && session->limit > 0 &&
        listen_once(session) == HEARD_THE_END) {
        return;
    }
    if ((events & UV_WRITABLE) != 0) {
        console_session_pump(session);
    }
}

bool console_session_is_typing(const struct console_session *session)
{
    return session->in != NULL;
}

bool console_session_is_gone(const struct console_session *session)
{
    for (int i = 0; i < session->end_count; i++) {
        struct pollfd pfd = {.fd = session->ends[i].fd};

        if (session->ends[i].is_socket && poll(&pfd, 1, 0) == 1 &&
            (pfd.revents & (POLLHUP | POLLERR)) != 0) {
            return true;
        }
    }
    return false;
}

int console_session_blocked_fd(const struct console_session *session)
{
    return session->is_blocked && session->out != NULL ? session->out->fd : -1;
}

unsigned console_session_flags(const struct console_session *session)
{
    return session->flags;
}

uint64_t console_session_lost(const struct console_session *session)
{
    return session->lost;
}

void console_refuse(int fd, const char *why)
{
    char line[160];
    int n = snprintf(line, sizeof(line), CONSOLE_LINE("%.140s"), why);

    (void)send(fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL); /* nobody else could be told */
}
