/* The first process of L1 once its root is complete: run one command, send what it writes and
 * how it ends to the runner outside, and bury the orphans meanwhile.
 *
 * A frame on the port lab.run is a type, the payload's size as 4 bytes (highest first), and the
 * payload: 'o' standard output, 'e' standard error, 'x' the exit status in decimal (128 + signal
 * if one ended it), the last frame. As the frames share one stream, none overtakes another. */
#include "tests/lab/inside/port.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    FRAME_HEADER_SIZE = 5,
    FRAME_PAYLOAD_MAX = 32768,
    DRAIN_FRAMES_MAX = 16, /* a full pipe, several times over */
    STATUS_CANNOT_EXECUTE = 127,
};

struct run {
    int port;
    pid_t command;
    int out[2], err[2]; /* pipes: [0] we read, [1] the command writes */
};

static void fail(const char *what)
{
    perror(what);
    exit(1); /* the end of the first process is a panic, which ends L1 and shows on its console */
}

static void send_frame(int port, char type, char *frame, size_t payload_size)
{
    frame[0] = type;
    frame[1] = (char)(payload_size >> 24);
    frame[2] = (char)(payload_size >> 16);
    frame[3] = (char)(payload_size >> 8);
    frame[4] = (char)payload_size;
    if (port_write(port, frame, FRAME_HEADER_SIZE + payload_size) != 0) {
        fail("lab.run");
    }
}

/* Forward what the pipe holds now, one frame at most. Returns false if it held nothing. */
static bool forward(int port, char type, int pipe_fd)
{
    static char frame[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX];
    ssize_t n = read(pipe_fd, frame + FRAME_HEADER_SIZE, FRAME_PAYLOAD_MAX);

    if (n <= 0) {
        return false;
    }
    send_frame(port, type, frame, (size_t)n);
    return true;
}

static void start_command(struct run *run, char **argv)
{
    sigset_t none;

    run->command = fork();
    if (run->command < 0) {
        fail("fork");
    }
    if (run->command > 0) {
        (void)close(run->out[1]);
        (void)close(run->err[1]);
        return;
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setsid();
    if (dup2(open("/dev/null", O_RDONLY), 0) < 0 || dup2(run->out[1], 1) < 0 ||
        dup2(run->err[1], 2) < 0) {
        _exit(STATUS_CANNOT_EXECUTE);
    }
    execvp(argv[0], argv);
    perror(argv[0]);
    _exit(STATUS_CANNOT_EXECUTE);
}

/* Reap whoever is dead. Returns the exit status of the command, or -1 while it lives. */
static int reap(pid_t command)
{
    int status = 0;
    int result = -1;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == command) {
            result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
    }
    return result;
}

/* Forward until the command ends; its children may keep the pipes, they are not waited for. */
static int run_until_end(struct run *run, int signals)
{
    struct pollfd fds[] = {
        {.fd = run->out[0], .events = POLLIN},
        {.fd = run->err[0], .events = POLLIN},
        {.fd = signals, .events = POLLIN},
    };
    struct signalfd_siginfo info;
    int status = -1;

    while (status < 0) {
        if (poll(fds, 3, -1) < 0 && errno != EINTR) {
            fail("poll");
        }
        for (int i = 0; i < 2; i++) {
            if (fds[i].revents != 0 && !forward(run->port, "oe"[i], fds[i].fd) &&
                (fds[i].revents & POLLHUP) != 0) {
                fds[i].fd = -1; /* closed by all who had it */
            }
        }
        if (fds[2].revents != 0 && read(signals, &info, sizeof(info)) > 0) {
            status = reap(run->command);
        }
    }
    for (int i = 0; i < DRAIN_FRAMES_MAX; i++) { /* a child that never stops must not hold us */
        (void)(forward(run->port, 'o', run->out[0]) | forward(run->port, 'e', run->err[0]));
    }
    return status;
}

/* A signalfd for the death of children, which the poll above needs. */
static int watch_children(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
        fail("sigprocmask");
    }
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int argc, char **argv)
{
    struct run run = {.port = port_open("lab.run")};
    char frame[FRAME_HEADER_SIZE + 12];
    int signals = watch_children();
    int status;

    if (argc < 2 || run.port < 0 || signals < 0 || pipe2(run.out, O_CLOEXEC) < 0 ||
        pipe2(run.err, O_CLOEXEC) < 0) {
        fail("run_script");
    }
    (void)fcntl(run.out[0], F_SETFL, O_NONBLOCK); /* cannot fail for a pipe */
    (void)fcntl(run.err[0], F_SETFL, O_NONBLOCK);
    start_command(&run, argv + 1);
    status = run_until_end(&run, signals);
    status = snprintf(frame + FRAME_HEADER_SIZE, 12, "%d", status);
    send_frame(run.port, 'x', frame, (size_t)status);
    for (;;) {
        (void)pause(); /* the runner ends the machine */
        (void)reap(0);
    }
}
