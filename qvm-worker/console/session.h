/* One session of a console: its place in the ring, its descriptors. Used by console.c alone; all
 * of it is the control thread's. */
#ifndef QVM_WORKER_CONSOLE_SESSION_H
#define QVM_WORKER_CONSOLE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct console_ring;
struct console_session;
struct err;
struct uv_loop_s;

/* What a session reports upward. */
struct console_session_owner {
    const struct console_ring *ring;
    void *context;
    /* Bytes were typed; never more than console_session_listen allowed. */
    void (*typed)(void *context, struct console_session *session, const uint8_t *data, size_t size);
    /* It has typed all that it will, and still reads. */
    void (*silent)(void *context, struct console_session *session);
    /* The session is over: forget it. Its memory goes when the loop has closed its handles. */
    void (*ended)(void *context, struct console_session *session);
};

/* `owner` is borrowed and outlives the session; the descriptors (see console_attach_pair) become
 * the session's on success. */
int console_session_create(struct uv_loop_s *loop, const struct console_session_owner *owner,
                           int in_fd, int out_fd, unsigned flags, uint64_t from,
                           struct console_session **session, struct err *err);

/* End it, without a report. Terminals and pipes get their old flags back. */
void console_session_destroy(struct console_session *session);

/* The peer is gone: read what it typed before that, as far as there is room for it, and end.
 * Reports both. */
void console_session_finish(struct console_session *session);

/* Show a line of ours, `-- qvm: text --`, before what comes next from the ring; a later one takes
 * the place of one that was not shown yet. A CONSOLE_PLAIN session is told nothing. */
void console_session_notice(struct console_session *session, const char *text);

/* Give as much as the peer takes now; goes on by itself when the peer has room again. May report
 * `ended`. */
void console_session_pump(struct console_session *session);

/* Read at most `limit` bytes from now on (0: none), until told otherwise. */
void console_session_listen(struct console_session *session, size_t limit);

/* Whether it was told last that it only reads. */
bool console_session_is_quiet(const struct console_session *session);
void console_session_set_quiet(struct console_session *session, bool is_quiet);

/* Whether it may still type something. */
bool console_session_is_typing(const struct console_session *session);

/* Whether the peer has closed both directions, seen or not. */
bool console_session_is_gone(const struct console_session *session);

/* Descriptor on which the session waits to write, or -1 when all was given. */
int console_session_blocked_fd(const struct console_session *session);

unsigned console_session_flags(const struct console_session *session);
uint64_t console_session_lost(const struct console_session *session);

#endif
