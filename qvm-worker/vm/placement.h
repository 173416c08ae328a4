/* Where on the host a vCPU's thread runs, and how it is scheduled there.
 *
 * Linux's real-time scheduling goes before everything else on a CPU, so it must be permitted:
 * CAP_SYS_NICE, or for SCHED_RR and SCHED_FIFO a RLIMIT_RTPRIO that is high enough. SCHED_DEADLINE
 * wants the thread to be free on all CPUs of the host (sched(7)). */
#ifndef QVM_WORKER_VM_PLACEMENT_H
#define QVM_WORKER_VM_PLACEMENT_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define PLACEMENT_CPUS_MAX     1024u /* of the host: as many as a cpu_set_t holds */
#define PLACEMENT_PRIORITY_MAX 99u   /* of SCHED_RR and SCHED_FIFO */

/* What the kernel takes for SCHED_DEADLINE, unless somebody changed its limits. */
#define PLACEMENT_BUDGET_MIN_NS 1024ull
#define PLACEMENT_PERIOD_MIN_NS 100000ull
#define PLACEMENT_PERIOD_MAX_NS 4194304000ull

enum placement_policy {
    PLACEMENT_NORMAL, /* SCHED_OTHER: as any thread */
    PLACEMENT_ROUND_ROBIN,
    PLACEMENT_FIFO,
    PLACEMENT_DEADLINE,
};

struct placement {
    bool has_cpus; /* otherwise all that the process has */
    cpu_set_t cpus;
    const char *cpus_where; /* FILE:LINE of `runmask` or `cluster` */
    enum placement_policy policy;
    uint32_t priority;             /* ROUND_ROBIN, FIFO: 1 to PLACEMENT_PRIORITY_MAX */
    uint64_t period_ns, budget_ns; /* DEADLINE */
    const char *sched_where;       /* FILE:LINE of `sched`; NULL: it was not given */
};

/* "0-3,7" into `text`, cut to `size`. */
#define PLACEMENT_NAMES_SIZE 256
void placement_name_cpus(const cpu_set_t *set, char *text, size_t size);

/* Whether the host's CPUs that `placement` names may be had by this process. -EINVAL: `err` has
 * the sentence, with FILE:LINE. */
int placement_check(const struct placement *placement, struct err *err);

/* Bind and schedule the calling thread. -EPERM: it may not. Children of the thread are ordinary
 * threads. */
int placement_apply(const struct placement *placement, struct err *err);

#endif
