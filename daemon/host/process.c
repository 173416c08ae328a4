/* Which process is meant: pid + start time + boot id. */
#include "daemon/host/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/host/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define STAT_SIZE   1024
#define START_FIELD 22 /* proc(5): starttime */

int process_boot_id(char boot_id[PROCESS_BOOT_ID_SIZE], struct err *err)
{
    int r = text_read("/proc/sys/kernel/random/boot_id", boot_id, PROCESS_BOOT_ID_SIZE, err);

    if (r == 0 && strlen(boot_id) != PROCESS_BOOT_ID_SIZE - 1) {
        r = err_set(err, -EIO, "the kernel's boot id '%s' is too short", boot_id);
    }
    return r;
}

int64_t process_began_ms(uint64_t start_ticks)
{
    uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK); /* 100 wherever Linux runs */

    return (int64_t)(start_ticks / hz * 1000 + start_ticks % hz * 1000 / hz);
}

/* Field 2 is the program's name in parentheses, which may hold anything: count from the last. */
static int parse_start(const char *text, uint64_t *start_ticks)
{
    const char *rest = strrchr(text, ')');
    char *end;

    for (int field = 2; rest != NULL && field < START_FIELD; field++) {
        rest = strchr(rest + 1, ' ');
    }
    if (rest == NULL) {
        return -EINVAL;
    }
    errno = 0;
    *start_ticks = strtoumax(rest + 1, &end, 10);
    return errno == 0 && end != rest + 1 ? 0 : -EINVAL;
}

static int read_start(pid_t pid, uint64_t *start_ticks, struct err *err)
{
    char path[48];
    char text[STAT_SIZE];
    int r;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    r = text_read(path, text, sizeof(text), err);
    if (r == -ENOENT || r == -ESRCH) {
        return err_set(err, -ESRCH, "there is no process %d", (int)pid);
    }
    if (r == 0 && parse_start(text, start_ticks) != 0) {
        r = err_set(err, -EIO, "'%s' cannot be understood", path);
    }
    return r;
}

int process_identify(pid_t pid, struct process_id *id, struct err *err)
{
    struct process_id found = {.pid = pid};
    int r = process_boot_id(found.boot_id, err);

    if (r == 0) {
        r = read_start(pid, &found.start_ticks, err);
    }
    if (r == 0) {
        *id = found;
    }
    return r;
}

int process_open(const struct process_id *id, int *pidfd, struct err *err)
{
    auto_close int fd = -1;
    struct process_id now;
    int r;

    if (id->pid <= 0) {
        return err_set(err, -ESRCH, "%d is no process", (int)id->pid);
    }
    fd = (int)syscall(SYS_pidfd_open, id->pid, 0); /* always close-on-exec */
    if (fd < 0) {
        return errno == ESRCH ? err_set(err, -ESRCH, "there is no process %d", (int)id->pid)
                              : err_sys(err, -errno, "cannot open process %d", (int)id->pid);
    }
    /* The descriptor holds on to one process; what /proc says of the pid now, it says of that one,
     * or of a later one, whose start time differs. */
    r = process_identify(id->pid, &now, err);
    if (r != 0) {
        return r;
    }
    if (now.start_ticks != id->start_ticks || strcmp(now.boot_id, id->boot_id) != 0) {
        return err_set(err, -ESRCH, "process %d is another one by now", (int)id->pid);
    }
    *pidfd = take_fd(&fd);
    return 0;
}

int process_signal(int pidfd, int signal, struct err *err)
{
    if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) != 0) {
        return err_sys(err, -errno, "cannot send signal %d", signal);
    }
    return 0;
}

static int set_session_nice(pid_t pid, int nice)
{
    char path[48], text[16];
    auto_close int fd = -1;
    int size = snprintf(text, sizeof(text), "%d", nice);

    (void)snprintf(path, sizeof(path), "/proc/%d/autogroup", (int)pid);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? 0 : -errno; /* the kernel has no such thing */
    }
    return write(fd, text, (size_t)size) < 0 ? -errno : 0;
}

int process_set_nice(pid_t pid, int nice, struct err *err)
{
    int r = set_session_nice(pid, nice);

    if (setpriority(PRIO_PGRP, (id_t)pid, nice) < 0) {
        r = -errno;
    }
    return r < 0 ? err_sys(err, r, "cannot set the nice value of process %d", (int)pid) : 0;
}

int process_hurry(pid_t pid, struct err *err)
{
    const struct sched_param lowest = {.sched_priority = 1};
    const struct dirent *entry;
    char path[32];
    DIR *tasks;
    int r = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    if (tasks == NULL) {
        return err_sys(err, -errno, "cannot see the threads of process %d", (int)pid);
    }
    while (r == 0 && (entry = readdir(tasks)) != NULL) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10); /* 0: not a thread's */

        if (tid > 0 && sched_setscheduler(tid, SCHED_RR | SCHED_RESET_ON_FORK, &lowest) != 0 &&
            errno != ESRCH) {
            r = err_sys(err, -errno, "cannot hurry thread %d", (int)tid);
        }
    }
    (void)closedir(tasks); /* it was only read */
    return r;
}
