/* The process that waits for a host's end. What is called in it is safe after a fork beside
 * threads.
 */
#include "qvm-worker/control/delayed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

#define TRY_MS     250 /* nobody tells when a path is there */
#define PIECE_SIZE 4096u

/* Bytes on their way from one end to the other. */
struct way {
    int from, to;
    bool is_over;
    size_t at, end;
    uint8_t bytes[PIECE_SIZE];
};

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until the host's end is open, or it is too late for that, or the qvm is gone: then -1. */
static int wait_for_end(const struct delayed *delayed, int qvm)
{
    int64_t limit_ms = (int64_t)delayed->seconds * 1000, begin_ms = now_ms();
    bool has_begun = !delayed->can_write; /* otherwise the guest begins it */

    for (;;) {
        struct pollfd look = {.fd = qvm, .events = has_begun ? 0 : POLLIN};
        bool is_last =
            has_begun && delayed->seconds != DELAYED_FOREVER && now_ms() - begin_ms >= limit_ms;
        struct err err = {0};
        int fd = delayed->open(delayed->context, &err);

        if (fd >= 0) {
            return fd;
        }
        if (is_last) {
            log_warn("%s; it is given up after %u s", err.msg, delayed->seconds);
            return -1;
        }
        (void)poll(&look, 1, TRY_MS); /* a signal only hurries it */
        if ((look.revents & (POLLHUP | POLLERR)) != 0 && (look.revents & POLLIN) == 0) {
            return -1;
        }
        if (!has_begun && (look.revents & POLLIN) != 0) {
            has_begun = true;
            begin_ms = now_ms();
        }
    }
}

static bool can_wait(ssize_t n)
{
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void go_on(struct way *way)
{
    ssize_t n;

    if (way->at == way->end) {
        n = read(way->from, way->bytes, PIECE_SIZE);
        way->is_over = n <= 0 && !can_wait(n);
        way->at = 0;
        way->end = n > 0 ? (size_t)n : 0;
    }
    if (way->at < way->end) {
        n = write(way->to, way->bytes + way->at, way->end - way->at);
        way->is_over = n < 0 && !can_wait(n);
        way->at += n > 0 ? (size_t)n : 0;
    }
}

/* Until the qvm is gone and has been heard to its end, or nothing can come any more. */
static void carry(const struct delayed *delayed, int qvm, int end)
{
    struct way ways[2] = {{.from = qvm, .to = end, .is_over = !delayed->can_write},
                          {.from = end, .to = qvm, .is_over = !delayed->can_read}};

    while (!ways[0].is_over || !ways[1].is_over) {
        struct pollfd looks[3] = {{.fd = -1}, {.fd = -1}, {.fd = qvm}};

        for (int i = 0; i < 2; i++) {
            const struct way *way = &ways[i];

            looks[i].fd = way->is_over ? -1 : way->at < way->end ? way->to : way->from;
            looks[i].events = way->at < way->end ? POLLOUT : POLLIN;
        }
        (void)poll(looks, 3, -1);
        if (ways[0].is_over && (looks[2].revents & (POLLHUP | POLLERR)) != 0) {
            return;
        }
        for (int i = 0; i < 2; i++) {
            if (looks[i].fd >= 0 && looks[i].revents != 0) {
                go_on(&ways[i]);
            }
        }
        if (ways[0].is_over && delayed->can_write) {
            return; /* nobody says anything, or nobody hears it */
        }
        if (ways[1].is_over && delayed->can_read) {
            (void)shutdown(qvm, SHUT_WR);
        }
    }
}

static void process_main(const struct delayed *delayed, int qvm)
{
    int end;

    (void)setpgid(0, 0); /* keys that end the qvm do not end it: it hears of that by the socket */
    (void)prctl(PR_SET_NAME, "delayed");
    (void)signal(SIGPIPE, SIG_IGN);
    if (qvm > STDERR_FILENO + 1) {
        (void)close_range(STDERR_FILENO + 1, (unsigned)qvm - 1, 0);
    }
    (void)close_range((unsigned)qvm + 1, ~0u, 0);
    (void)close(STDIN_FILENO); /* nothing of ours depends on them */
    (void)close(STDOUT_FILENO);
    end = wait_for_end(delayed, qvm);
    if (end >= 0) {
        carry(delayed, qvm, end);
    }
    _exit(EXIT_SUCCESS);
}

/* A child of a child that has ended belongs to init, which takes its status. */
static int start(const struct delayed *delayed, int theirs)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        pid = fork();
        if (pid == 0) {
            process_main(delayed, theirs);
        }
        _exit(pid > 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    if (pid < 0) {
        return -errno;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        continue;
    }
    return status == 0 ? 0 : -EAGAIN; /* ignored SIGCHLD: nobody tells, 0 */
}

int delayed_start(const struct delayed *delayed, int *fd)
{
    int pair[2];
    int r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return -errno;
    }
    r = start(delayed, pair[1]);
    (void)close(pair[1]);
    if (r == 0) {
        *fd = pair[0];
    } else {
        (void)close(pair[0]);
    }
    return r;
}
