/* qvmd.conf is read again while guests run: may it be so, and what follows. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>

#include "daemon/device_pool.h"
#include "daemon/guest/device.h"
#include "daemon/guest/inside.h"
#include "daemon/host/usage.h"
#include "daemon/partition.h"
#include "proto/base/cleanup.h"

/* What a living guest has, as far as partitions are concerned. */
struct share {
    const struct partition *partition; /* of the new ones */
    cpu_set_t own;
};

static int refuse(const struct guest *guest, struct err *err, const char *why)
{
    return err_set(err, -EBUSY, "guest '%s' (pid %d) %s; stop it first", guest->name,
                   guest->instance.pid, why);
}

/* Its RAM stays where it is, whatever a partition of that name says now. */
static int check_memory(const struct guest *guest, const struct partition *fresh, struct err *err)
{
    const struct partition *now = partition_find(guest->all->env.partitions, fresh->name);
    char why[160];

    if (now == NULL || (now->page_size == fresh->page_size && now->node == fresh->node)) {
        return 0;
    }
    (void)snprintf(why, sizeof(why), "is in partition '%.63s', whose '%s' would be another",
                   fresh->name, now->node != fresh->node ? "node" : "page-size");
    return refuse(guest, err, why);
}

/* The partition that it is in, and its CPUs, are still there. */
static int find_share(const struct guest *guest, const struct partitions *fresh,
                      struct share *share, struct err *err)
{
    struct reserve_held *held = NULL;
    size_t count = 0;
    int r = reserve_list(guest->all->env.store, guest->instance.id, &held, &count, err);
    char why[256];

    CPU_ZERO(&share->own);
    share->partition = NULL;
    for (size_t i = 0; r == 0 && i < count; i++) {
        int cpu = held[i].kind == RESOURCE_hostcpu ? reserve_cpu_of(held[i].id) : -1;

        if (held[i].kind == RESOURCE_memory) {
            share->partition = partition_find(fresh, held[i].id);
            (void)snprintf(why, sizeof(why), "is in partition '%.63s', which would be gone",
                           held[i].id);
            r = share->partition == NULL ? refuse(guest, err, why)
                                         : check_memory(guest, share->partition, err);
        } else if (cpu >= 0) {
            CPU_SET((size_t)cpu, &share->own);
        }
    }
    reserve_held_free(held, count);
    if (r == 0 && share->partition != NULL &&
        !cpu_list_has_all(&share->partition->exclusive, &share->own)) {
        (void)snprintf(why, sizeof(why),
                       "has CPU %.32s for itself, which would not be of partition '%.63s'",
                       guest->own_cpus_text, share->partition->name);
        r = refuse(guest, err, why);
    }
    return r;
}

/* No thread of it runs where it may not run any more. */
static int check_threads(const struct guest *guest, const struct partitions *fresh,
                         const struct share *share, struct err *err)
{
    struct usage usage = {0};
    cpu_set_t allowed = fresh->housekeeping;
    char cpus[CPU_LIST_TEXT_SIZE], why[CPU_LIST_TEXT_SIZE + 64];
    int r = 0;

    CPU_OR(&allowed, &allowed, &share->partition->shared);
    CPU_OR(&allowed, &allowed, &share->own);
    if (usage_read(guest->instance.pid, guest->instance.start_ticks, &usage, NULL) < 0) {
        return 0; /* it is just ending */
    }
    for (size_t i = 0; r == 0 && i < usage.thread_count; i++) {
        cpu_set_t now;

        if (sched_getaffinity(usage.threads[i].tid, sizeof(now), &now) == 0 &&
            !cpu_list_has_all(&allowed, &now)) {
            cpu_list_remove(&now, &allowed);
            (void)snprintf(why, sizeof(why), "may run on CPU %s, which would not be for it",
                           cpu_list_print(&now, cpus, sizeof(cpus)));
            r = refuse(guest, err, why);
        }
    }
    usage_fini(&usage);
    return r;
}

/* What guests have of a partition is no more than it would have. */
static int check_pools(const struct guests *guests, const struct partition *partition,
                       bool is_default, struct err *err)
{
    const char *cpu_pool = is_default ? RESERVE_CPU_POOL : partition->name;
    int64_t memory = 0, vcpus = 0;
    int r = reserve_sum(guests->env.store, RESOURCE_memory, partition->name, &memory, err);

    r = r == 0 ? reserve_sum(guests->env.store, RESOURCE_cpu, cpu_pool, &vcpus, err) : r;
    if (r == 0 && memory > partition->pool) {
        r = err_set(err, -EBUSY,
                    "partition '%s' would have %" PRId64
                    " MiB of memory, and its guests have %" PRId64 " MiB; stop some first",
                    partition->name, partition->pool >> 20, memory >> 20);
    }
    if (r == 0 && vcpus > partition->vcpus_most) {
        r = err_set(err, -EBUSY,
                    "partition '%s' would have %" PRId64 " vCPUs, and its guests have %" PRId64
                    "; stop some first",
                    partition->name, partition->vcpus_most, vcpus);
    }
    return r;
}

/* What it has of the host's devices is still for guests. */
static int check_devices(const struct guest *guest, const struct device_pool *fresh,
                         struct err *err)
{
    struct reserve_held *held = NULL;
    size_t count = 0;
    int r = reserve_list(guest->all->env.store, guest->instance.id, &held, &count, err);

    for (size_t i = 0; r == 0 && i < count; i++) {
        if (held[i].kind == RESOURCE_device && device_pool_at(fresh, held[i].id) == NULL) {
            char why[128];

            (void)snprintf(why, sizeof(why), "has device '%.20s', which would not be in the pool",
                           held[i].id);
            r = refuse(guest, err, why);
        }
    }
    reserve_held_free(held, count);
    return r;
}

int guests_check_devices(const struct guests *guests, const struct device_pool *fresh,
                         struct err *err)
{
    const struct guest *guest;
    int r = 0;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        r = r == 0 && state_has_process(guest->state) ? check_devices(guest, fresh, err) : r;
    }
    return r;
}

int guests_check_partitions(const struct guests *guests, const struct partitions *fresh,
                            struct err *err)
{
    const struct guest *guest;
    int r = 0;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        struct share share;

        if (!state_has_process(guest->state)) {
            continue;
        }
        r = find_share(guest, fresh, &share, err);
        if (r == 0 && share.partition != NULL && fresh->divides_cpus) {
            r = check_threads(guest, fresh, &share, err);
        }
        if (r < 0) {
            return r;
        }
    }
    for (size_t i = 0; r == 0 && i < fresh->count; i++) {
        r = check_pools(guests, &fresh->list[i], i == 0, err);
    }
    return r;
}

void guests_configure(struct guests *guests, const struct guests_env *fresh)
{
    struct guests_env *env = &guests->env;

    env->restarts = fresh->restarts;
    env->stagger_ms = fresh->stagger_ms;
    env->guests_max = fresh->guests_max;
    env->guest_nice = fresh->guest_nice;
    env->user_network_host = fresh->user_network_host;
    env->log_bounds = fresh->log_bounds;
    env->is_console_kept = fresh->is_console_kept;
    guests_devices_sweep(guests); /* some may be to be kept no more */
    guests_devices_watch(guests);
}
