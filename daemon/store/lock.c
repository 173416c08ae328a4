/* Two daemons on one store are impossible: a lock file is taken before the database is opened. */
#include "daemon/store/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define PID_TEXT_SIZE 16
#define CHILDREN_S    5 /* how long children of a dead qvmd may keep its lock */

/* Where nothing can be written, the lock file may be missing: the database itself stands in. */
static int open_lock_file(const char *lock_path, const char *path)
{
    int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 && (errno == EROFS || errno == EACCES || errno == ENOSPC)) {
        fd = open(lock_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) {
            fd = open(path, O_RDONLY | O_CLOEXEC);
        }
    }
    return fd < 0 ? -errno : fd;
}

static long read_pid(int fd)
{
    char text[PID_TEXT_SIZE] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

    return n > 0 ? strtol(text, NULL, 10) : 0;
}

static void on_alarm(int number)
{
    (void)number; /* it ends a flock() that waits: nothing else is to be done */
}

/* A child that a killed qvmd had just made holds our lock until it runs its program, some
 * milliseconds later: that is worth waiting for. Another qvmd is not. */
static int take_after_children(int fd)
{
    const struct sigaction wake = {.sa_handler = on_alarm}; /* without SA_RESTART */
    struct sigaction before;
    long pid = read_pid(fd);
    int r;

    if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH) {
        return -EWOULDBLOCK;
    }
    (void)sigaction(SIGALRM, &wake, &before); /* cannot fail for this one */
    (void)alarm(CHILDREN_S);
    r = flock(fd, LOCK_EX) == 0 ? 0 : -EWOULDBLOCK;
    (void)alarm(0);
    (void)sigaction(SIGALRM, &before, NULL);
    return r;
}

static int refuse(int fd, const char *path, struct err *err)
{
    long pid = read_pid(fd);

    if (pid <= 0) {
        return err_set(err, -EBUSY, "the store '%s' is held by another qvmd", path);
    }
    return err_set(err, -EBUSY, "the store '%s' is held by another qvmd (pid %ld)", path, pid);
}

/* Only for the sentence of refuse(); a disk that is full does not keep us from running. */
static void write_pid(int fd)
{
    char text[PID_TEXT_SIZE];
    int size = snprintf(text, sizeof(text), "%d\n", (int)getpid());

    if (ftruncate(fd, 0) == 0) {
        (void)!pwrite(fd, text, (size_t)size, 0);
    }
}

int store_lock_take(const char *path, int *fd, struct err *err)
{
    auto_free char *lock_path = NULL;
    auto_close int lock = -1;

    if (asprintf(&lock_path, "%s-lock", path) < 0) {
        lock_path = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    lock = open_lock_file(lock_path, path);
    if (lock < 0) {
        return err_sys(err, lock, "cannot open '%s'", lock_path);
    }
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) {
            return err_sys(err, -errno, "cannot lock '%s'", lock_path);
        }
        if (take_after_children(lock) < 0) {
            return refuse(lock, path, err);
        }
    }
    if ((fcntl(lock, F_GETFL) & O_ACCMODE) == O_RDWR) {
        write_pid(lock);
    }
    *fd = take_fd(&lock);
    return 0;
}
