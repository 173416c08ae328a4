/* What a process uses. */
#include "daemon/host/usage.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/host/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define PATH_SIZE   64
#define STAT_SIZE   1024
#define STATUS_SIZE 4096
#define NS_A_SECOND INT64_C(1000000000)

/* "PID (NAME) STATE ..."; the name may hold blanks and brackets. utime, stime and starttime are
 * fields 14, 15 and 22. */
int usage_parse_stat(const char *line, struct usage_stat *stat)
{
    const char *open = strchr(line, '('), *close = strrchr(line, ')');
    struct usage_stat read = {0};
    uint64_t user = 0, system = 0;
    size_t length;

    if (open == NULL || close == NULL || close < open ||
        sscanf(close + 1,
               " %1s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64
               " %*s %*s %*s %*s %*s %*s %" SCNu64,
               read.state, &user, &system, &read.start_ticks) != 4) {
        return -EINVAL;
    }
    length = (size_t)(close - open - 1);
    length = length < USAGE_NAME_SIZE ? length : USAGE_NAME_SIZE - 1;
    memcpy(read.name, open + 1, length);
    for (size_t i = 0; i < length; i++) {
        if (read.name[i] < ' ' || read.name[i] > '~') {
            read.name[i] = '?';
        }
    }
    read.ticks = user + system;
    *stat = read;
    return 0;
}

/* Bytes of one `NAME: N kB` line of a status file. */
static int64_t status_bytes(const char *status, const char *name)
{
    const char *line = strstr(status, name);
    int64_t kib = line != NULL ? strtoll(line + strlen(name), NULL, 10) : 0;

    return kib > 0 && kib < INT64_MAX / 1024 ? kib * 1024 : 0;
}

static int read_memory(pid_t pid, struct usage *usage)
{
    char path[PATH_SIZE], text[STATUS_SIZE];

    (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
    if (text_read(path, text, sizeof(text), NULL) < 0) {
        return -ESRCH;
    }
    usage->shared = status_bytes(text, "\nRssShmem:");
    usage->own = status_bytes(text, "\nRssAnon:") + status_bytes(text, "\nRssFile:");
    usage->swapped = status_bytes(text, "\nVmSwap:");
    return 0;
}

static int64_t ticks_to_ns(uint64_t ticks)
{
    long a_second = sysconf(_SC_CLK_TCK); /* 100 on every Linux of ours */

    return a_second > 0 ? (int64_t)ticks * (NS_A_SECOND / a_second) : 0;
}

/* 0, or -ESRCH: the thread has ended. The scheduler's figure is exact where the kernel keeps it;
 * ticks are a hundredth of a second. */
static int read_thread(pid_t pid, pid_t tid, struct usage_thread *thread, uint64_t *start_ticks)
{
    char path[PATH_SIZE], text[STAT_SIZE];
    struct usage_stat stat;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
    if (text_read(path, text, sizeof(text), NULL) < 0 || usage_parse_stat(text, &stat) < 0) {
        return -ESRCH;
    }
    *thread = (struct usage_thread){.tid = tid, .cpu_ns = ticks_to_ns(stat.ticks)};
    memcpy(thread->name, stat.name, sizeof(thread->name));
    memcpy(thread->state, stat.state, sizeof(thread->state));
    *start_ticks = stat.start_ticks;
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, tid);
    if (text_read(path, text, sizeof(text), NULL) == 0) {
        int64_t ns = strtoll(text, NULL, 10);

        thread->cpu_ns = ns > 0 ? ns : thread->cpu_ns;
    }
    return 0;
}

static int add_thread(struct usage *usage, size_t *room, const struct usage_thread *thread)
{
    if (usage->thread_count == *room) {
        size_t more = *room == 0 ? 8 : 2 * *room;
        struct usage_thread *grown = reallocarray(usage->threads, more, sizeof(*grown));

        if (grown == NULL) {
            return -ENOMEM;
        }
        usage->threads = grown;
        *room = more;
    }
    usage->threads[usage->thread_count++] = *thread;
    usage->cpu_ns += thread->cpu_ns;
    return 0;
}

static void close_dir(DIR **dir)
{
    if (*dir != NULL) {
        (void)closedir(*dir); /* only read from */
    }
}

/* `*start_ticks` is the process's: that of the thread with its own number. */
static int read_threads(pid_t pid, struct usage *usage, uint64_t *start_ticks)
{
    char path[PATH_SIZE];
    __attribute__((cleanup(close_dir))) DIR *dir = NULL;
    const struct dirent *entry;
    size_t room = 0;
    int r = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
    dir = opendir(path);
    if (dir == NULL) {
        return -ESRCH;
    }
    while (r == 0 && usage->thread_count < USAGE_THREADS_MAX && (entry = readdir(dir)) != NULL) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        struct usage_thread thread;
        uint64_t began = 0;

        if (tid > 0 && read_thread(pid, tid, &thread, &began) == 0) {
            r = add_thread(usage, &room, &thread);
            *start_ticks = tid == pid ? began : *start_ticks;
        }
    }
    return r;
}

int usage_read(pid_t pid, uint64_t start_ticks, struct usage *usage, struct err *err)
{
    struct usage read = {0};
    uint64_t began = 0;
    int r = read_memory(pid, &read);

    if (r == 0) {
        r = read_threads(pid, &read, &began);
    }
    if (r == 0 && began != start_ticks) {
        r = -ESRCH; /* all of it was read of a stranger */
    }
    if (r < 0) {
        usage_fini(&read);
        return r == -ESRCH ? err_set(err, r, "process %d is gone", pid)
                           : err_set(err, r, "out of memory");
    }
    *usage = read;
    return 0;
}

void usage_fini(struct usage *usage)
{
    free(usage->threads);
    *usage = (struct usage){0};
}
