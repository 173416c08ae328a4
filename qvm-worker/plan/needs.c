/* What a plan asks of the host, each thing with its FILE:LINE. */
#include <errno.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/plan/private.h"

#define MEMORY_POOL PLAN_PARTITION
#define CPU_POOL    "shared"

#define CPUS_TEXT_SIZE 4096 /* of a list of every other CPU */

static int add(struct plan *plan, const struct plan_need *need, struct err *err)
{
    if (plan->need_count == PLAN_NEEDS_MAX) {
        return err_set(err, -ENOEXEC, "%s: the VM asks for more than %d things", need->where,
                       PLAN_NEEDS_MAX);
    }
    plan->needs[plan->need_count++] = *need;
    return 0;
}

/* How the host hears of where and how these vCPUs run. */
static int name_cpus(struct plan *plan, struct plan_need *need, struct err *err)
{
    enum placement_policy policy = need->cpu->placement.policy;
    char text[CPUS_TEXT_SIZE];

    need->sched = policy != PLACEMENT_NORMAL ? plan_policy_name(policy) : NULL;
    if (!need->cpu->placement.has_cpus) {
        return 0;
    }
    placement_name_cpus(&need->cpu->placement.cpus, text, sizeof(text));
    need->cpus = plan_keep(plan, err, "%s", text);
    return need->cpus != NULL ? 0 : -ENOMEM;
}

/* All vCPUs; where the host places them, those that run alike and follow each other. */
static int add_cpus(struct plan *plan, struct err *err)
{
    bool is_default = plan->partition == NULL || strcmp(plan->partition, PLAN_PARTITION) == 0;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < plan->cpu_count;) {
        struct plan_need need = {.kind = RESOURCE_cpu,
                                 .id = is_default ? CPU_POOL : plan->partition,
                                 .first = i,
                                 .cpu = &plan->cpus[i],
                                 .where = plan->cpus[i].where,
                                 .load = UINT32_MAX};

        if (!plan->host->places_cpus) {
            /* the first says where vCPUs are */
        } else if (plan->cpus[i].placement.cpus_where != NULL) {
            need.where = plan->cpus[i].placement.cpus_where;
        } else if (plan->cpus[i].placement.sched_where != NULL) {
            need.where = plan->cpus[i].placement.sched_where;
        } else if (plan->cpus[i].partition_where != NULL) {
            need.where = plan->cpus[i].partition_where;
        }
        while (i < plan->cpu_count &&
               (!plan->host->places_cpus || plan_runs_alike(need.cpu, &plan->cpus[i]))) {
            i++;
            need.amount++;
        }
        r = plan->host->places_cpus ? name_cpus(plan, &need, err) : 0;
        r = r == 0 ? add(plan, &need, err) : r;
    }
    return r;
}

static uint64_t whole_pages(uint64_t size, uint64_t page_size)
{
    return (size + page_size - 1) & ~(page_size - 1);
}

static int add_machine(struct plan *plan, struct err *err)
{
    struct plan_need memory = {.kind = RESOURCE_memory,
                               .id = plan->partition != NULL ? plan->partition : MEMORY_POOL,
                               .where = plan->ram[0].where,
                               .load = UINT32_MAX};
    struct plan_need kvm = {.kind = RESOURCE_kvm,
                            .id = PLAN_KVM_PATH,
                            .is_readable = true,
                            .is_writable = true,
                            .where = plan->where,
                            .load = UINT32_MAX};
    int r;

    for (uint32_t i = 0; i < plan->ram_count; i++) {
        memory.amount += plan->ram[i].size; /* below 32 x MEMORY_ADDRESS_MAX: no overflow */
    }
    if (plan_page_size(plan) > MEMORY_PAGE_SIZE) {
        memory.amount = memory_taken(plan_page_size(plan), plan->ram, plan->ram_count);
    }
    memory.amount += whole_pages(vdev_host_shmem_window(plan->vdevs), plan_page_size(plan));
    r = add(plan, &memory, err);
    r = r == 0 ? add_cpus(plan, err) : r;
    return r == 0 ? add(plan, &kvm, err) : r;
}

static int add_loads(struct plan *plan, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < plan->load_count; i++) {
        struct plan_need need = {.kind = RESOURCE_file,
                                 .id = plan->loads[i].path,
                                 .is_readable = true,
                                 .where = plan->loads[i].where,
                                 .load = i};

        r = add(plan, &need, err);
    }
    return r;
}

/* A logger of the host, for `logger` or for the `log` of a vdev. */
static int add_loggers(struct plan *plan, struct err *err)
{
    static const enum plan_log_to destinations[LOG_SYSTEM_COUNT] = {
        [LOG_SYSLOG] = PLAN_LOG_SYSLOG, [LOG_JOURNAL] = PLAN_LOG_JOURNAL};
    int r = 0;

    for (unsigned i = 0; r == 0 && i < LOG_SYSTEM_COUNT; i++) {
        const char *where = plan->log.where[destinations[i]];
        struct plan_need need = {.kind = RESOURCE_logger,
                                 .id = plan_log_name(destinations[i]),
                                 .is_writable = true,
                                 .load = UINT32_MAX};

        need.where = where != NULL ? where : vdev_host_logs_to(plan->vdevs, (enum log_system)i);
        r = need.where != NULL ? add(plan, &need, err) : 0;
    }
    return r;
}

/* The folder of the file that `where` ("FILE:LINE") names; NULL: it has none. */
static const char *directory_of(const struct plan *plan, const char *where)
{
    const char *colon = strrchr(where, ':');
    size_t size = colon != NULL ? (size_t)(colon - where) : strlen(where);
    const char *of_words = NULL;

    for (size_t i = 0; i < plan->part_count; i++) {
        const char *name = plan->parts[i].name;

        if (name == NULL) {
            of_words = plan->parts[i].directory;
        } else if (strlen(name) == size && memcmp(name, where, size) == 0) {
            return plan->parts[i].directory;
        }
    }
    return of_words;
}

/* The kernel's back end for each queue of a tap. */
static int add_back_ends(struct plan *plan, struct plan_need *need, struct err *err)
{
    uint32_t count = need->amount > 1 ? (uint32_t)need->amount : 1;

    if (need->device->vhost == VDEV_HOST_VHOST_OFF) {
        return 0;
    }
    if (count > PLAN_VHOSTS_MAX - plan->vhost_count) {
        return err_set(err, -ENOEXEC,
                       "%s: the taps of the VM have more than %u queues that the kernel is to work "
                       "off: 'vhost off' does without",
                       need->where, PLAN_VHOSTS_MAX);
    }
    need->vhost = need->device->vhost == VDEV_HOST_VHOST_ON ? "on" : "auto";
    need->back_end = plan->vhost_count;
    plan->vhost_count += count;
    return 0;
}

static int add_network(struct plan *plan, struct plan_need *need, struct err *err)
{
    need->kind = RESOURCE_network;
    need->is_cable = need->device->kind == VDEV_HOST_NEED_PEER;
    if (need->is_cable) {
        if (plan->cable_count == PLAN_CABLES_MAX) {
            return err_set(err, -ENOEXEC, "%s: the VM has more than %u peers", need->where,
                           PLAN_CABLES_MAX);
        }
        need->cable = plan->cable_count++;
    } else if (need->device->count > 1) {
        need->amount = need->device->count;
        if (plan->queue_count + need->amount - 1 > PLAN_QUEUES_MAX) {
            return err_set(err, -ENOEXEC,
                           "%s: the taps of the VM have more than %u queues beside the first of "
                           "each",
                           need->where, PLAN_QUEUES_MAX);
        }
        need->queue = plan->queue_count;
        plan->queue_count += (uint32_t)need->amount - 1;
    }
    need->id = plan_keep(plan, err, "%s:%s", need->is_cable ? "peer" : "tap", need->device->path);
    return add_back_ends(plan, need, err);
}

static int add_device_need(struct plan *plan, const struct vdev_host_need *device, struct err *err)
{
    struct plan_need need = {.kind = RESOURCE_stream,
                             .id = device->path,
                             .is_readable = device->can_read,
                             .is_writable = device->can_write,
                             .where = device->where,
                             .load = UINT32_MAX,
                             .device = device};
    const char *directory = directory_of(plan, device->where);

    if (device->kind == VDEV_HOST_NEED_IMAGE) {
        need.kind = RESOURCE_file;
    }
    if (device->kind == VDEV_HOST_NEED_BACKEND) {
        need.kind = RESOURCE_socket;
    }
    if (device->kind == VDEV_HOST_NEED_LISTEN) {
        need.kind = RESOURCE_listen;
    }
    if (device->kind == VDEV_HOST_NEED_USER) {
        need.kind = RESOURCE_helper;
        need.id = plan_keep(plan, err, "user:%s", device->path);
    } else if (device->kind == VDEV_HOST_NEED_CID) {
        need.kind = RESOURCE_network;
        need.id = plan_keep(plan, err, "cid:%s", device->path);
    } else if (device->kind == VDEV_HOST_NEED_TAP || device->kind == VDEV_HOST_NEED_PEER) {
        if (add_network(plan, &need, err) != 0) {
            return -ENOEXEC;
        }
    } else if (device->kind == VDEV_HOST_NEED_COMMAND) {
        if (++plan->command_count > PLAN_COMMANDS_MAX) {
            return err_set(err, -ENOEXEC, "%s: the VM has more than %d commands at its vdevs",
                           device->where, PLAN_COMMANDS_MAX);
        }
        need.id = plan_keep(plan, err, "|%s", device->path);
    } else if (need.id[0] != '/') {
        if (directory == NULL) {
            return err_set(err, -ENOEXEC,
                           "%s: path '%s' is relative, and there is no folder that it could start "
                           "from: give it from '/' on",
                           device->where, device->path);
        }
        need.id = plan_keep(plan, err, "%s/%s", strcmp(directory, "/") == 0 ? "" : directory,
                            device->path);
    }
    if (device->kind == VDEV_HOST_NEED_HELPER && need.id != NULL) {
        need.kind = RESOURCE_helper;
        need.id = plan_keep(plan, err, "%s:%s", device->format, need.id);
    }
    if (device->kind == VDEV_HOST_NEED_LISTEN && need.id != NULL) {
        need.id = plan_keep(plan, err, "listen:%s", need.id);
    }
    return need.id != NULL ? add(plan, &need, err) : -ENOMEM;
}

static int add_dump(struct plan *plan, struct err *err)
{
    const struct plan_need need = {.kind = RESOURCE_directory,
                                   .id = plan->dump.directory,
                                   .is_writable = true,
                                   .where = plan->dump.where,
                                   .load = UINT32_MAX};

    return plan->dump.directory != NULL ? add(plan, &need, err) : 0;
}

static int add_shared(struct plan *plan, struct err *err)
{
    struct plan_need need = {.kind = RESOURCE_shmem, .load = UINT32_MAX};
    int r = 0;

    for (uint32_t i = 0; r == 0 && vdev_host_shmem_rule(plan->vdevs, i, &need.id, &need.where);
         i++) {
        r = add(plan, &need, err);
    }
    return r;
}

static int add_passes(struct plan *plan, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < plan->pass_count; i++) {
        const struct plan_need need = {.kind = RESOURCE_device,
                                       .id = plan->passes[i].id,
                                       .where = plan->passes[i].where,
                                       .load = UINT32_MAX,
                                       .pass = i};

        r = add(plan, &need, err);
    }
    return r;
}

int plan_add_needs(struct plan *plan, struct err *err)
{
    const struct vdev_host_need *device = NULL;
    int r = add_machine(plan, err);

    r = r == 0 ? add_loads(plan, err) : r;
    r = r == 0 ? add_dump(plan, err) : r;
    r = r == 0 ? add_loggers(plan, err) : r;
    while (r == 0 && (device = vdev_host_next_need(plan->vdevs, device)) != NULL) {
        r = add_device_need(plan, device, err);
    }
    r = r == 0 ? add_shared(plan, err) : r;
    return r == 0 ? add_passes(plan, err) : r;
}
