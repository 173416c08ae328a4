/* The terminal as the guest's console, when a qvm runs alone. */
#include "qvm-worker/console/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define KEYS_MAX 4096

struct terminal {
    uv_poll_t poll;
    struct termios old;
    int guard_fd; /* its end wakes the guard */
    int done_fd;  /* its end says that the guard has restored */
    struct terminal_events events;
    void *context;
};

bool terminal_is_there(void)
{
    return isatty(STDIN_FILENO) == 1 && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct terminal *terminal = poll->data;
    uint8_t keys[KEYS_MAX];
    const uint8_t *escape;
    ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

    (void)events;
    if (status != 0 || n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
        (void)uv_poll_stop(poll); /* the terminal is gone: SIGHUP tells */
        return;
    }
    if (n <= 0) {
        return;
    }
    escape = memchr(keys, TERMINAL_ESCAPE, (size_t)n);
    n = escape != NULL ? escape - keys : n;
    if (n > 0) {
        terminal->events.on_keys(terminal->context, keys, (size_t)n);
    }
    if (escape != NULL) {
        terminal->events.on_escape(terminal->context);
    }
}

enum guard_fd { GUARD_WAIT = 3, GUARD_DONE = 4, GUARD_FD_COUNT };

/* The guard: lives until its pipe ends, then restores. It ignores what a terminal sends; the end
 * of its other pipe says that it is done. */
static void guard(int wait_fd, int done_fd, const struct termios *old)
{
    sigset_t all;
    char byte;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, NULL);
    (void)prctl(PR_SET_NAME, "qvm-terminal");
    wait_fd = fcntl(wait_fd, F_DUPFD, GUARD_FD_COUNT);
    done_fd = fcntl(done_fd, F_DUPFD, GUARD_FD_COUNT);
    (void)dup2(wait_fd, GUARD_WAIT);
    (void)dup2(done_fd, GUARD_DONE);
    (void)close_range(GUARD_FD_COUNT, UINT_MAX, 0);
    while (read(GUARD_WAIT, &byte, 1) < 0 && errno == EINTR) {
    }
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, old); /* nobody is left to be told */
    _exit(0);
}

static int start_guard(struct terminal *terminal, struct err *err)
{
    int wait_ends[2], done_ends[2];
    pid_t pid;

    if (pipe2(wait_ends, O_CLOEXEC) != 0) {
        return err_sys(err, -errno, "cannot make a pipe");
    }
    terminal->guard_fd = wait_ends[1];
    if (pipe2(done_ends, O_CLOEXEC) != 0) {
        (void)close(wait_ends[0]);
        return err_sys(err, -errno, "cannot make a pipe");
    }
    terminal->done_fd = done_ends[0];
    pid = fork();
    if (pid == 0) {
        (void)close(wait_ends[1]);
        (void)close(done_ends[0]);
        guard(wait_ends[0], done_ends[1], &terminal->old);
    }
    (void)close(wait_ends[0]);
    (void)close(done_ends[1]);
    return pid > 0 ? 0 : err_sys(err, -errno, "cannot fork");
}

static int make_raw(const struct termios *old, struct err *err)
{
    struct termios raw = *old;

    cfmakeraw(&raw);
    raw.c_oflag = old->c_oflag;
    return tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0
               ? 0
               : err_sys(err, -errno, "cannot make the terminal raw");
}

static void restore(struct terminal *terminal)
{
    char byte;

    cleanup_close(&terminal->guard_fd);
    while (terminal->done_fd >= 0 && read(terminal->done_fd, &byte, 1) < 0 && errno == EINTR) {
    }
    cleanup_close(&terminal->done_fd);
}

int terminal_create(struct uv_loop_s *loop, const struct terminal_events *events, void *context,
                    struct terminal **terminal, struct err *err)
{
    struct terminal *new = calloc(1, sizeof(*new));
    int r = 0;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "no memory left");
    }
    new->events = *events;
    new->context = context;
    new->guard_fd = -1;
    new->done_fd = -1;
    if (tcgetattr(STDIN_FILENO, &new->old) != 0) {
        r = err_sys(err, -errno, "cannot read the terminal's settings");
    }
    r = r == 0 ? start_guard(new, err) : r;
    r = r == 0 ? make_raw(&new->old, err) : r;
    if (r == 0 && uv_poll_init(loop, &new->poll, STDIN_FILENO) != 0) {
        r = err_set(err, -EIO, "cannot watch the terminal");
    }
    if (r != 0) {
        restore(new);
        free(new);
        return r;
    }
    new->poll.data = new;
    (void)uv_poll_start(&new->poll, UV_READABLE, on_readable); /* fails for closed handles alone */
    *terminal = new;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void terminal_destroy(struct terminal *terminal)
{
    if (terminal != NULL) {
        restore(terminal);
        uv_close((uv_handle_t *)&terminal->poll, on_closed);
    }
}
