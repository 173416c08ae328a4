/* Methods about the daemon and its host. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/host/inventory.h"
#include "daemon/host/kvm.h"
#include "daemon/ops/inside.h"
#include "daemon/partition.h"
#include "daemon/store/store.h"
#include "daemon/worker/spawn.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"
#include "proto/base/vhost_node.h"

void op_discover(struct ops *ops, struct reply *reply, const void *params)
{
    auto_free char *document = msg_openrpc(QVM_VERSION);
    struct err err = {0};

    (void)ops;
    (void)params; /* has no members */
    if (document != NULL) {
        reply_json(reply, document);
    } else {
        (void)err_set(&err, -ENOMEM, "out of memory");
        reply_error(reply, &err);
    }
}

int ops_pools(const struct ops *ops, struct msg_pool pools[OPS_POOLS_MAX], size_t *count,
              struct err *err)
{
    const struct partitions *partitions = ops->env.partitions;
    int r = 0;

    *count = 0;
    for (size_t i = 0; r == 0 && i < partitions->count; i++) {
        const struct partition *partition = &partitions->list[i];
        struct msg_pool *memory = &pools[(*count)++], *cpus = &pools[(*count)++];

        *memory = (struct msg_pool){
            .kind = RESOURCE_memory, .id = lend(partition->name), .total = partition->pool};
        *cpus = (struct msg_pool){.kind = RESOURCE_cpu,
                                  .id = lend(i == 0 ? RESERVE_CPU_POOL : partition->name),
                                  .total = partition->vcpus_most};
        r = reserve_sum(ops->env.store, RESOURCE_memory, memory->id, &memory->claimed, err);
        r = r == 0 ? reserve_sum(ops->env.store, RESOURCE_cpu, cpus->id, &cpus->claimed, err) : r;
    }
    return r;
}

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* tell the version */) > 0;
}

/* What nobody enforces here, as sentences; returns how many. */
#define LACKS_MAX 8
static size_t list_lacks(const struct ops *ops, char (*texts)[CGROUP_LACK_SIZE],
                         const char *lacks[LACKS_MAX])
{
    bool has_huge = false;
    size_t count;

    for (size_t i = 0; i < ops->env.partitions->count; i++) {
        has_huge = has_huge || partition_is_huge(&ops->env.partitions->list[i]);
    }
    count = (size_t)cgroups_lacks(ops->env.cgroups, has_huge, texts, LACKS_MAX - 2);

    for (size_t i = 0; i < count; i++) {
        lacks[i] = texts[i];
    }
    if (!spawn_has_namespaces()) {
        lacks[count++] = "namespaces and a uid of its own for each instance";
    }
    if (!has_landlock()) {
        lacks[count++] = "landlock: this kernel has none";
    }
    return count;
}

void op_info(struct ops *ops, struct reply *reply, const void *params)
{
    char texts[LACKS_MAX][CGROUP_LACK_SIZE];
    const char *lacks[LACKS_MAX];
    struct msg_pool pools[OPS_POOLS_MAX];
    struct msg_drain drain;
    struct err kvm = {0}, vhost = {0}, err = {0};
    auto_close int kvm_fd = -1, vhost_fd = -1; /* a node may be there without its driver */
    struct msg_info info = {
        .version = lend(QVM_VERSION),
        .pid = getpid(),
        .started = lend(ops->env.started),
        .socket = lend(ops->env.socket_path),
        .store = lend(ops->env.store_path),
        .degraded = lend(store_degraded(ops->env.store)),
        .not_enforced = lend(lacks),
        .not_enforced_count = list_lacks(ops, texts, lacks),
        .deaf = lend(inventory_deaf(ops->env.inventory)),
        .pools = pools,
        .guests = (int64_t)guests_count(ops->env.guests),
        .live = (int64_t)guests_live_count(ops->env.guests),
        .last_event = store_event_last(ops->env.store),
    };

    (void)params; /* has no members */
    info.drain = guests_describe_drain(ops->env.guests, &drain) ? &drain : NULL;
    kvm.msg[0] = '\0';
    info.kvm = kvm_open(KVM_DEVICE, &kvm_fd, &kvm) == 0 ? lend("ok") : kvm.msg;
    kvm.msg[255] = '\0'; /* as long as the member may be */
    vhost.msg[0] = '\0';
    info.vhost = vhost_net_open(1, &vhost_fd, &vhost) == 0 ? lend("ok") : vhost.msg;
    vhost.msg[255] = '\0';
    if (ops_pools(ops, pools, &info.pools_count, &err) < 0 ||
        ops_quotas(ops, reply, &info, &err) < 0) {
        reply_error(reply, &err);
    } else {
        reply_result(reply, MSG_info, &info);
    }
    free(info.quotas);
}
