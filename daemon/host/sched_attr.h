/* sched_setattr(2), which the C library has not. */
#ifndef QVM_DAEMON_HOST_SCHED_ATTR_H
#define QVM_DAEMON_HOST_SCHED_ATTR_H

#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define SCHED_ATTR_DEADLINE      6 /* SCHED_DEADLINE of linux/sched.h, which clashes with sched.h */
#define SCHED_ATTR_RESET_ON_FORK 0x01u

/* The first version. */
struct sched_attr_1 {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

/* Of a thread, 0: this one. -1: errno says why not. */
static inline int sched_attr_set(pid_t tid, const struct sched_attr_1 *attr)
{
    return (int)syscall(SYS_sched_setattr, tid, attr, 0);
}

#endif
