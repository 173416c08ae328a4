/* Where the threads of an instance run. */
#include "daemon/guest/place.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/host/sched_attr.h"
#include "daemon/host/usage.h"
#include "daemon/partition.h"
#include "daemon/store/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"

#define VCPUS_MAX 4096

static const char *const policy_names[] = {[PLACE_NORMAL] = "",
                                           [PLACE_ROUND_ROBIN] = "round-robin",
                                           [PLACE_FIFO] = "fifo",
                                           [PLACE_DEADLINE] = "deadline"};

int place_read(const struct msg_resource *item, struct place_wish *wish, struct err *err)
{
    *wish = (struct place_wish){.first = (uint32_t)item->first,
                                .count = (uint32_t)item->amount,
                                .priority = (uint32_t)item->priority,
                                .period_ns = (uint64_t)item->period_ns,
                                .budget_ns = (uint64_t)item->budget_ns};
    if (item->amount < 1 || item->amount > VCPUS_MAX) {
        return err_set(err, -EINVAL, "%" PRId64 " is no amount of vCPUs", item->amount);
    }
    if (item->cpus != NULL) {
        wish->has_cpus = true;
        if (cpu_list_parse(item->cpus, &wish->cpus) != 0 || CPU_COUNT(&wish->cpus) == 0) {
            return err_set(err, -EINVAL, "its qvm asks for the CPUs '%.64s'", item->cpus);
        }
    }
    while (item->sched != NULL && wish->policy < ARRAY_LEN(policy_names) &&
           strcmp(policy_names[wish->policy], item->sched) != 0) {
        wish->policy++;
    }
    if (wish->policy == ARRAY_LEN(policy_names)) {
        return err_set(err, -EINVAL, "its qvm asks for the scheduling '%.15s'", item->sched);
    }
    return 0;
}

/* ---- what a partition allows ---- */

static int refuse_cpu(const struct partitions *partitions, const struct partition *partition,
                      int cpu, const cpu_set_t *has, struct err *err)
{
    const struct partition *other = partition_of_cpu(partitions, cpu);
    char text[CPU_LIST_TEXT_SIZE];

    if (other != NULL && other != partition) {
        return err_set(err, -EINVAL, "CPU %d belongs to partition '%s' (qvmd.conf:%u)", cpu,
                       other->name, other->line);
    }
    return err_set(err, -EINVAL, "there is no CPU %d for partition '%s', which has %s", cpu,
                   partition->name, cpu_list_print(has, text, sizeof(text)));
}

static int check_sched(const struct partitions *partitions, const struct partition *partition,
                       const struct place_wish *wish, struct err *err)
{
    if (wish->policy == PLACE_DEADLINE && !partition->has_deadline) {
        return err_set(err, -EPERM,
                       "no budgets of CPU time are given in partition '%s': qvmd.conf says so with "
                       "'deadline yes'",
                       partition->name);
    }
    if (wish->policy == PLACE_DEADLINE && (wish->has_cpus || partitions->divides_cpus)) {
        return err_set(err, -EPERM, "a vCPU with a budget must be free on all CPUs of the host, %s",
                       wish->has_cpus ? "and it has a 'runmask' or 'cluster'"
                                      : "and qvmd.conf divides them");
    }
    if ((wish->policy == PLACE_ROUND_ROBIN || wish->policy == PLACE_FIFO) &&
        wish->priority > partition->rt_priority) {
        return err_set(err, -EPERM,
                       "real-time priority %" PRIu32 " is too high for partition '%s': its "
                       "'rt-priority' in qvmd.conf is %" PRIu64,
                       wish->priority, partition->name, partition->rt_priority);
    }
    return 0;
}

int place_check(const struct partitions *partitions, const struct partition *partition,
                const struct place_wish *wish, struct err *err)
{
    cpu_set_t has, lacking = wish->cpus;

    if (!wish->has_cpus && CPU_COUNT(&partition->shared) == 0) {
        return err_set(err, -EINVAL,
                       "partition '%s' has no CPUs that are shared: each vCPU wants a 'runmask' or "
                       "'cluster'",
                       partition->name);
    }
    CPU_OR(&has, &partition->shared, &partition->exclusive);
    cpu_list_remove(&lacking, &has);
    if (wish->has_cpus && CPU_COUNT(&lacking) > 0) {
        return refuse_cpu(partitions, partition, cpu_list_common(&lacking, &lacking), &has, err);
    }
    return check_sched(partitions, partition, wish, err);
}

cpu_set_t place_exclusive(const struct partition *partition, const struct place_wish *wish)
{
    cpu_set_t own;

    CPU_ZERO(&own);
    if (wish->has_cpus) {
        CPU_AND(&own, &wish->cpus, &partition->exclusive);
    }
    return own;
}

/* ---- the threads ---- */

bool place_matters(const struct place *place)
{
    bool matters = place->divides_cpus;

    for (size_t i = 0; i < place->count; i++) {
        matters = matters || place->wishes[i].has_cpus || place->wishes[i].policy != PLACE_NORMAL;
    }
    return matters;
}

cpu_set_t place_all(const struct place *place)
{
    cpu_set_t all = place->housekeeping;

    for (size_t i = 0; i < place->count; i++) {
        CPU_OR(&all, &all, place->wishes[i].has_cpus ? &place->wishes[i].cpus : &place->shared);
    }
    return all;
}

/* A thread may be bound by its user as well as by CAP_SYS_NICE (sched_setaffinity(2)): for the one
 * call qvmd stands as that user, who gains nothing by it, since real and saved uid stay root's. */
static int bind_as(uid_t uid, pid_t tid, const cpu_set_t *cpus)
{
    int is_dumpable = prctl(PR_GET_DUMPABLE);
    int r;

    if (syscall(SYS_setresuid, -1, uid, -1) != 0) { /* this thread's alone */
        return -errno;
    }
    r = sched_setaffinity(tid, sizeof(*cpus), cpus) == 0 ? 0 : -errno;
    if (syscall(SYS_setresuid, -1, 0, -1) != 0) {
        abort(); /* cannot be: the saved uid is root's */
    }
    (void)prctl(PR_SET_DUMPABLE, is_dumpable); /* another uid took it away */
    return r;
}

static int bind_thread(pid_t tid, uid_t uid, const cpu_set_t *cpus, struct err *err)
{
    char text[CPU_LIST_TEXT_SIZE];
    int r = sched_setaffinity(tid, sizeof(*cpus), cpus) == 0 ? 0 : -errno;

    if (r == -EPERM && geteuid() == 0 && uid != 0) {
        r = bind_as(uid, tid, cpus);
    }
    if (r == 0) {
        return 0;
    }
    return err_sys(err, r, "the host refuses to run it on CPU %s",
                   cpu_list_print(cpus, text, sizeof(text)));
}

static int schedule(pid_t tid, const struct place_wish *wish, struct err *err)
{
    static const uint32_t policies[] = {[PLACE_NORMAL] = SCHED_OTHER,
                                        [PLACE_ROUND_ROBIN] = SCHED_RR,
                                        [PLACE_FIFO] = SCHED_FIFO,
                                        [PLACE_DEADLINE] = SCHED_ATTR_DEADLINE};
    struct sched_attr_1 attributes = {.size = sizeof(attributes),
                                      .policy = policies[wish->policy],
                                      .flags = SCHED_ATTR_RESET_ON_FORK,
                                      .priority = wish->priority,
                                      .runtime_ns = wish->budget_ns,
                                      .deadline_ns = wish->period_ns,
                                      .period_ns = wish->period_ns};

    if (wish->policy == PLACE_NORMAL || sched_attr_set(tid, &attributes) == 0) {
        return 0;
    }
    if (errno == EBUSY) {
        return err_set(err, -EBUSY, "the host's CPUs have no time left for this budget");
    }
    if (errno == EPERM) {
        return err_set(err, -EPERM,
                       "the host refuses real-time scheduling: qvmd lacks the right CAP_SYS_NICE, "
                       "or its control group has no real-time budget");
    }
    return err_sys(err, -errno, "the host refuses this scheduling");
}

/* The number in "vcpuN", or -1. */
static int64_t vcpu_of(const char *name)
{
    unsigned vcpu = 0;
    int end = 0;

    return sscanf(name, "vcpu%4u%n", &vcpu, &end) == 1 && name[end] == '\0' ? (int64_t)vcpu : -1;
}

static const struct place_wish *wish_of(const struct place *place, int64_t vcpu)
{
    for (size_t i = 0; vcpu >= 0 && i < place->count; i++) {
        const struct place_wish *wish = &place->wishes[i];

        if (vcpu >= wish->first && vcpu < (int64_t)wish->first + wish->count) {
            return wish;
        }
    }
    return NULL;
}

static int apply_thread(const struct place *place, const struct usage_thread *thread, uid_t uid,
                        uint32_t *found, struct err *err)
{
    const struct place_wish *wish = wish_of(place, vcpu_of(thread->name));
    int r = 0;

    if (wish == NULL) {
        return place->divides_cpus ? bind_thread(thread->tid, uid, &place->housekeeping, err) : 0;
    }
    (*found)++;
    if (wish->has_cpus || place->divides_cpus) {
        r = bind_thread(thread->tid, uid, wish->has_cpus ? &wish->cpus : &place->shared, err);
    }
    return r == 0 ? schedule(thread->tid, wish, err) : r;
}

int place_apply(const struct place *place, const struct store_instance *instance, struct err *err)
{
    struct usage usage = {0};
    uint32_t found = 0, wanted = 0;
    int r = usage_read(instance->pid, instance->start_ticks, &usage, err);

    for (size_t i = 0; r == 0 && i < usage.thread_count; i++) {
        r = apply_thread(place, &usage.threads[i], instance->uid, &found, err);
    }
    for (size_t i = 0; i < place->count; i++) {
        wanted += place->wishes[i].count;
    }
    if (r == 0 && found != wanted) {
        r = err_set(err, -ESRCH, "its qvm has %" PRIu32 " threads of vCPUs, and wants %" PRIu32,
                    found, wanted);
    }
    usage_fini(&usage);
    return r;
}
