/* Methods about how the host is divided, and reading qvmd.conf again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/host/cpus.h"
#include "daemon/host/inventory.h"
#include "daemon/host/memory.h"
#include "daemon/ops/inside.h"
#include "daemon/partition.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"

#define CPUS_SIZE 4096 /* of a list of every other CPU */
#define NODE_SIZE 16

/* Room for the answer; its messages point into it. */
struct division {
    struct msg_partition partitions[PARTITIONS_MAX];
    struct msg_host_cpu cpus[CPU_LIST_MAX];
    struct reserve_holder holders[CPU_LIST_MAX];
    char nodes[PARTITIONS_MAX][NODE_SIZE];
    char shared[PARTITIONS_MAX][CPUS_SIZE], exclusive[PARTITIONS_MAX][CPUS_SIZE];
};

static int describe(const struct ops *ops, size_t index, struct division *room, struct err *err)
{
    const struct partition *from = &ops->env.partitions->list[index];
    struct msg_partition *to = &room->partitions[index];
    int r;

    (void)cpu_list_print(&from->shared, room->shared[index], CPUS_SIZE);
    (void)cpu_list_print(&from->exclusive, room->exclusive[index], CPUS_SIZE);
    *to =
        (struct msg_partition){.name = lend(from->name),
                               .line = from->line,
                               .memory = from->pool,
                               .vcpus = from->vcpus_most,
                               .shared = room->shared[index],
                               .exclusive = room->exclusive[index],
                               .rt_priority = (int64_t)from->rt_priority,
                               .deadline = from->has_deadline,
                               .page_size = partition_is_huge(from) ? (int64_t)from->page_size : 0,
                               .weight = (int64_t)from->weight};
    if (from->node != PARTITION_NO_NODE) {
        (void)snprintf(room->nodes[index], NODE_SIZE, "%u", (unsigned)from->node);
        to->node = room->nodes[index];
    }
    r = reserve_sum(ops->env.store, RESOURCE_memory, from->name, &to->memory_claimed, err);
    return r == 0 ? reserve_sum(ops->env.store, RESOURCE_cpu,
                                index == 0 ? RESERVE_CPU_POOL : from->name, &to->vcpus_claimed, err)
                  : r;
}

/* What the CPU is for, and who has it. */
static int describe_cpu(const struct ops *ops, int cpu, struct msg_host_cpu *to,
                        struct reserve_holder *holder, struct err *err)
{
    const struct topology *topology = inventory_topology(ops->env.inventory);
    const struct topology_cpu *place = topology != NULL ? topology_cpu(topology, cpu) : NULL;
    const struct partitions *partitions = ops->env.partitions;
    const struct partition *of = partition_of_cpu(partitions, cpu);
    bool is_own = of != NULL && CPU_ISSET((size_t)cpu, &of->exclusive);
    char id[RESERVE_CPU_SIZE];
    int r;

    if (of == NULL && CPU_ISSET((size_t)cpu, &partitions->list[0].shared)) {
        of = &partitions->list[0];
    }
    *to = (struct msg_host_cpu){
        .cpu = cpu,
        .use = lend(is_own       ? "exclusive"
                    : of != NULL ? "shared"
                                 : "none"),
        .partition = of != NULL ? lend(of->name) : NULL,
        .housekeeping = CPU_ISSET((size_t)cpu, &partitions->housekeeping) != 0,
        .node = place != NULL ? place->node : -1,
        .package = place != NULL ? place->package : -1,
        .core = place != NULL ? place->core : -1,
        .isolated = place != NULL && place->is_isolated,
        .tickless = place != NULL && place->is_tickless,
    };
    r = is_own
            ? reserve_find(ops->env.store, RESOURCE_hostcpu, reserve_cpu_id(cpu, id), holder, err)
            : -ENOENT;
    if (r == 0) {
        to->guest = holder->guest;
        to->pid = holder->pid;
    }
    return r == -ENOENT ? 0 : r;
}

/* Into `answer->shares`, which is to be freed; its texts are those of `*held`. */
static int list_shares(const struct ops *ops, struct msg_partitions *answer,
                       struct reserve_share **held, struct err *err)
{
    size_t count = 0;
    int r = reserve_shares(ops->env.store, held, &count, err);

    if (r < 0) {
        return r;
    }
    answer->shares = calloc(count + 1, sizeof(*answer->shares));
    if (answer->shares == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (; answer->shares_count < count; answer->shares_count++) {
        struct reserve_share *share = &(*held)[answer->shares_count];

        answer->shares[answer->shares_count] = (struct msg_share){.partition = share->pool,
                                                                  .guest = share->guest,
                                                                  .pid = share->pid,
                                                                  .memory = share->amount};
    }
    return 0;
}

void op_partitions(struct ops *ops, struct reply *reply, const void *params)
{
    auto_free struct division *room = calloc(1, sizeof(*room));
    auto_free struct reserve_share *held = NULL;
    struct msg_partitions answer = {0};
    struct err err = {0};
    cpu_set_t online;
    int r;

    (void)params; /* has no members */
    if (room == NULL) {
        (void)err_set(&err, -ENOMEM, "out of memory");
        reply_error(reply, &err);
        return;
    }
    CPU_ZERO(&online);
    r = cpus_online_set(&online, &err);
    for (size_t i = 0; r == 0 && i < ops->env.partitions->count; i++) {
        r = describe(ops, i, room, &err);
        answer.partitions_count++;
    }
    for (unsigned cpu = 0; r == 0 && cpu < CPU_LIST_MAX; cpu++) {
        size_t next = answer.cpus_count;

        if (CPU_ISSET(cpu, &online)) {
            r = describe_cpu(ops, (int)cpu, &room->cpus[next], &room->holders[next], &err);
            answer.cpus_count++;
        }
    }
    r = r == 0 ? memory_total(&answer.memory, &err) : r;
    r = r == 0 ? list_shares(ops, &answer, &held, &err) : r;
    if (r == 0) {
        answer.partitions = room->partitions;
        answer.cpus = room->cpus;
        reply_result(reply, MSG_partitions, &answer);
    } else {
        reply_error(reply, &err);
    }
    free(answer.shares);
}

void op_reload(struct ops *ops, struct reply *reply, const void *params)
{
    char note[OPS_NOTE_SIZE] = "";
    struct msg_reloaded answer = {.note = note};
    struct err err = {0};

    (void)params; /* has no members */
    if (ops->env.reload(ops->env.reload_context, note, &err) < 0) {
        reply_error(reply, &err);
        return;
    }
    answer.note = note[0] != '\0' ? note : NULL;
    reply_result(reply, MSG_reloaded, &answer);
}
