/* A command at one end of a pipe. */
#include "qvm-worker/control/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/base/cleanup.h"

#define EXIT_NOT_RUN 127 /* as the shell has it */

static void restore_signals(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL); /* fails for SIGKILL, SIGSTOP and the C library's own */
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail: the arguments are right */
}

/* In the command's process: `fd` becomes its input, or its output. */
static void become(const char *command, int fd, bool is_output)
{
    int input = is_output ? open("/dev/null", O_RDONLY | O_CLOEXEC) : fd;

    (void)setpgid(0, 0); /* cannot fail: it has run nothing yet */
    restore_signals();
    if (input < 0 || dup2(input, STDIN_FILENO) < 0 || (is_output && dup2(fd, STDOUT_FILENO) < 0) ||
        close_range(STDERR_FILENO + 1, ~0u, 0) != 0) {
        _exit(EXIT_NOT_RUN);
    }
    (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(EXIT_NOT_RUN);
}

/* A child of a child that has ended belongs to init, which takes its status. */
static int start(const char *command, int fd, bool is_output)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        pid = fork();
        if (pid == 0) {
            become(command, fd, is_output);
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

int command_start(const char *command, bool is_read, int *fd)
{
    int pipe_fds[2];
    auto_close int ours = -1;
    auto_close int theirs = -1;
    int r;

    if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
        return -errno;
    }
    ours = pipe_fds[is_read ? 0 : 1];
    theirs = pipe_fds[is_read ? 1 : 0];
    if (fcntl(ours, F_SETFL, O_NONBLOCK) != 0) {
        return -errno;
    }
    r = start(command, theirs, is_read);
    if (r == 0) {
        *fd = take_fd(&ours);
    }
    return r;
}
