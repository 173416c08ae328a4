/* Sockets of a qvm alone. What it has closed its door behind cannot remove a path, so a process of
 * its own does that. */
#include "qvm-worker/control/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/listener.h"

#define FIRST_FD 3 /* what it keeps is here, and behind it */

/* A process that is gone has closed all it had. */
static _Noreturn void remove_after(int process, int directory, const char *name)
{
    struct pollfd gone = {.fd = FIRST_FD, .events = POLLIN};
    int moved = fcntl(directory, F_DUPFD_CLOEXEC, FIRST_FD + 2);

    if (moved < 0 || dup2(process, FIRST_FD) < 0 || dup2(moved, FIRST_FD + 1) < 0) {
        _exit(EXIT_FAILURE);
    }
    (void)close_range(0, FIRST_FD - 1, 0); /* a VM, and who reads what it says, live as long */
    (void)close_range(FIRST_FD + 2, ~0u, 0);
    (void)prctl(PR_SET_NAME, "listen");
    (void)signal(SIGINT, SIG_IGN); /* of the terminal: the qvm's */
    (void)signal(SIGQUIT, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    while (poll(&gone, 1, -1) < 0 && errno == EINTR) {
    }
    listener_remove(FIRST_FD + 1, name);
    _exit(EXIT_SUCCESS);
}

static int open_directory(const char *path, const char **name, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char directory[PATH_MAX];
    int fd;

    if (slash == NULL || (size_t)(slash - path) + 2 > sizeof(directory)) {
        return err_set(err, -EINVAL, "'%s' is no path of a socket", path);
    }
    (void)snprintf(directory, sizeof(directory), "%.*s/", (int)(slash - path), path);
    fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *name = slash + 1;
    return fd >= 0 ? fd : err_sys(err, -errno, "cannot make the socket '%s'", path);
}

int listen_open(const char *path, int *fd, struct err *err)
{
    const char *name = NULL;
    auto_close int directory = open_directory(path, &name, err);
    auto_close int process = -1;
    auto_close int new = -1;
    pid_t pid;
    int r = directory < 0 ? directory : listener_open(directory, name, path, &new, err);

    if (r != 0) {
        return r;
    }
    process = (int)syscall(SYS_pidfd_open, getpid(), 0);
    pid = process >= 0 ? fork() : -1;
    if (pid == 0) {
        remove_after(process, directory, name);
    }
    if (pid < 0) {
        r = -errno;
        cleanup_close(&new);
        listener_remove(directory, name);
        return err_sys(err, r, "cannot make the process that removes '%s'", path);
    }
    *fd = take_fd(&new);
    return 0;
}
