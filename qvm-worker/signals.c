/* Signals of people and scripts as events of the control thread. */
#include "qvm-worker/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

struct signals {
    uv_poll_t poll;
    int fd;
    signals_fn on_signal;
    void *context;
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct signals *signals = poll->data;
    struct signalfd_siginfo info;

    (void)status; /* a signalfd has no errors */
    (void)events;
    while (read(signals->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        signals->on_signal(signals->context, (int)info.ssi_signo);
    }
}

int signals_create(struct uv_loop_s *loop, signals_fn on_signal, void *context,
                   struct signals **signals, struct err *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCONT, SIGUSR1, SIGUSR2};
    struct signals *new = calloc(1, sizeof(*new));
    sigset_t set;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "no memory left");
    }
    (void)sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        (void)sigaddset(&set, numbers[i]);
    }
    new->on_signal = on_signal;
    new->context = context;
    new->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (new->fd < 0 || uv_poll_init(loop, &new->poll, new->fd) != 0) {
        int code = -errno;

        cleanup_close(&new->fd);
        free(new);
        return err_sys(err, code, "cannot watch signals");
    }
    new->poll.data = new;
    (void)uv_poll_start(&new->poll, UV_READABLE, on_readable); /* fails for closed handles alone */
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);              /* fails for a wrong HOW alone */
    (void)signal(SIGPIPE, SIG_IGN);
    *signals = new;
    return 0;
}

void signals_end_if_asked(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    sigset_t pending;

    (void)sigpending(&pending); /* fails for wrong addresses alone */
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (sigismember(&pending, numbers[i]) == 1) {
            sigset_t one;

            (void)sigemptyset(&one);
            (void)sigaddset(&one, numbers[i]);
            (void)pthread_sigmask(SIG_UNBLOCK, &one, NULL); /* the default action follows */
        }
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void signals_destroy(struct signals *signals)
{
    if (signals != NULL) {
        uv_close((uv_handle_t *)&signals->poll, on_closed);
        cleanup_close(&signals->fd);
    }
}
