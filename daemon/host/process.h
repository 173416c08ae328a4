/* Which process is meant: pid + start time + boot id. A bare pid may be a stranger's by now. */
#ifndef QVM_DAEMON_HOST_PROCESS_H
#define QVM_DAEMON_HOST_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

struct err;

#define PROCESS_BOOT_ID_SIZE 37 /* 36 characters and NUL */

struct process_id {
    pid_t pid;
    uint64_t start_ticks; /* field 22 of /proc/PID/stat: clock ticks since boot */
    char boot_id[PROCESS_BOOT_ID_SIZE];
};

/* The id of this boot: /proc/sys/kernel/random/boot_id. */
int process_boot_id(char boot_id[PROCESS_BOOT_ID_SIZE], struct err *err);

/* `start_ticks` as milliseconds since boot. */
int64_t process_began_ms(uint64_t start_ticks);

/* Identify a process that cannot go away meanwhile (an unreaped child, or oneself).
 * -ESRCH: no such process. */
int process_identify(pid_t pid, struct process_id *id, struct err *err);

/* A pidfd (O_CLOEXEC, the caller's) of exactly that process, living or a zombie: it is opened
 * first and verified then. -ESRCH: it is gone, or the pid is another process by now. */
int process_open(const struct process_id *id, int *pidfd, struct err *err);

/* Signal through a pidfd of process_open() (or of clone3). -ESRCH: it is gone. */
int process_signal(int pidfd, int signal, struct err *err);

/* Give all threads of the process group `pid` this nice value (0 to 19), and its session as well,
 * where the kernel shares CPU time out among sessions before it does among their threads (sched(7),
 * "autogroup"). `pid` leads both and has not been reaped. */
int process_set_nice(pid_t pid, int nice, struct err *err);

/* Let a process end soon that was sent SIGKILL and has not been reaped: its threads get the lowest
 * real-time priority, so that none waits for the turns of those that spin. All that is left of them
 * is the kernel's work. -EPERM: no right to priorities. */
int process_hurry(pid_t pid, struct err *err);

#endif
