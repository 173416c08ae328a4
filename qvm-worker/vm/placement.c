/* Where on the host a vCPU's thread runs. */
#include "qvm-worker/vm/placement.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/base/cpu_list.h"
#include "proto/base/err.h"

#define POLICY_DEADLINE    6 /* SCHED_DEADLINE of linux/sched.h, which clashes with sched.h */
#define FLAG_RESET_ON_FORK 0x01u

/* struct sched_attr of sched_setattr(2), first version: the C library has none. */
struct attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

void placement_name_cpus(const cpu_set_t *set, char *text, size_t size)
{
    (void)cpu_list_print(set, text, size); /* which is `text` */
}

int placement_check(const struct placement *placement, struct err *err)
{
    cpu_set_t there;
    char text[PLACEMENT_NAMES_SIZE];

    if (!placement->has_cpus) {
        return 0;
    }
    if (sched_getaffinity(0, sizeof(there), &there) != 0) {
        return err_sys(err, -errno, "%s: cannot tell the host's CPUs", placement->cpus_where);
    }
    for (unsigned i = 0; i < PLACEMENT_CPUS_MAX; i++) {
        if (CPU_ISSET(i, &placement->cpus) && !CPU_ISSET(i, &there)) {
            placement_name_cpus(&there, text, sizeof(text));
            return err_set(err, -EINVAL,
                           "%s: there is no CPU %u of the host for this VM; it has %s",
                           placement->cpus_where, i, text);
        }
    }
    return 0;
}

static int bind_to_cpus(const struct placement *placement, struct err *err)
{
    if (placement->has_cpus &&
        sched_setaffinity(0, sizeof(placement->cpus), &placement->cpus) != 0) {
        return err_sys(err, -errno, "%s: the host refuses these CPUs", placement->cpus_where);
    }
    return 0;
}

static int schedule(const struct placement *placement, struct err *err)
{
    static const uint32_t policies[] = {
        [PLACEMENT_NORMAL] = SCHED_OTHER,
        [PLACEMENT_ROUND_ROBIN] = SCHED_RR,
        [PLACEMENT_FIFO] = SCHED_FIFO,
        [PLACEMENT_DEADLINE] = POLICY_DEADLINE,
    };
    struct attributes attributes = {
        .size = sizeof(attributes),
        .policy = policies[placement->policy],
        .flags = FLAG_RESET_ON_FORK,
        .priority = placement->priority,
        .runtime_ns = placement->budget_ns,
        .deadline_ns = placement->period_ns,
        .period_ns = placement->period_ns,
    };

    if (placement->policy == PLACEMENT_NORMAL ||
        syscall(SYS_sched_setattr, 0, &attributes, 0u) == 0) {
        return 0;
    }
    if (errno == EPERM && placement->policy == PLACEMENT_DEADLINE) {
        return err_set(err, -EPERM,
                       "%s: the host refuses a sporadic vCPU: that wants the right CAP_SYS_NICE, "
                       "and a vCPU that is free on all CPUs (no 'runmask' or 'cluster')",
                       placement->sched_where);
    }
    if (errno == EPERM) {
        return err_set(err, -EPERM,
                       "%s: real-time priority %u is not permitted: that wants the right "
                       "CAP_SYS_NICE, or a higher RLIMIT_RTPRIO ('ulimit -r')",
                       placement->sched_where, placement->priority);
    }
    if (errno == EBUSY) {
        return err_set(err, -EBUSY, "%s: the host's CPUs have no time left for this budget",
                       placement->sched_where);
    }
    return err_sys(err, -errno, "%s: the host refuses this scheduling", placement->sched_where);
}

int placement_apply(const struct placement *placement, struct err *err)
{
    int r = bind_to_cpus(placement, err);

    return r == 0 ? schedule(placement, err) : r;
}
