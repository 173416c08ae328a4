/* What a process uses: threads with their CPU time, memory. Read from /proc, without its help. */
#ifndef QVM_DAEMON_HOST_USAGE_H
#define QVM_DAEMON_HOST_USAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

#define USAGE_THREADS_MAX 1024 /* more are not looked at */
#define USAGE_NAME_SIZE   16   /* of a thread, with its NUL */

struct usage_thread {
    pid_t tid;
    char name[USAGE_NAME_SIZE]; /* "?" stands for what is not printable ASCII */
    char state[2];              /* R S D T ... */
    int64_t cpu_ns;
};

/* Bytes. */
struct usage {
    int64_t shared;  /* resident, shared: guest RAM and other memory that has a descriptor */
    int64_t own;     /* resident, private or of files */
    int64_t swapped; /* of both */
    int64_t cpu_ns;  /* of all living threads */
    struct usage_thread *threads;
    size_t thread_count;
};

/* Look at the process that began at `start_ticks` (see process.h). -ESRCH: it is gone, or the pid
 * is another process by now. Ends with usage_fini(). */
int usage_read(pid_t pid, uint64_t start_ticks, struct usage *usage, struct err *err);
void usage_fini(struct usage *usage);

/* One `stat` line of proc(5): name, state, CPU time in ticks, start time. -EINVAL: it is none. */
struct usage_stat {
    char name[USAGE_NAME_SIZE];
    char state[2];
    uint64_t ticks, start_ticks;
};
int usage_parse_stat(const char *line, struct usage_stat *stat);

#endif
