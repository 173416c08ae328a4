/* Methods about the daemon and its host. */
#include <stdlib.h>
#include <unistd.h>

#include "daemon/host/kvm.h"
#include "daemon/lend.h"
#include "daemon/ops_inside.h"
#include "daemon/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

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

static int read_pools(const struct ops *ops, struct msg_pool pools[2], struct err *err)
{
    int r;

    pools[0] = (struct msg_pool){
        .kind = RESOURCE_memory, .id = lend(RESERVE_MEMORY_POOL), .total = ops->env.limits->memory};
    pools[1] = (struct msg_pool){
        .kind = RESOURCE_cpu, .id = lend(RESERVE_CPU_POOL), .total = ops->env.limits->cpus};
    r = reserve_sum(ops->env.store, RESOURCE_memory, RESERVE_MEMORY_POOL, &pools[0].claimed, err);
    if (r == 0) {
        r = reserve_sum(ops->env.store, RESOURCE_cpu, RESERVE_CPU_POOL, &pools[1].claimed, err);
    }
    return r;
}

void op_info(struct ops *ops, struct reply *reply, const void *params)
{
    static const char *const not_enforced[] = {
        "a cgroup for each instance: limits of memory and CPU time are not set",
        "namespaces of its own for each instance",
    };
    struct msg_pool pools[2];
    struct err kvm = {0}, err = {0};
    auto_close int kvm_fd = -1;
    struct msg_info info = {
        .version = lend(QVM_VERSION),
        .pid = getpid(),
        .started = lend(ops->env.started),
        .socket = lend(ops->env.socket_path),
        .store = lend(ops->env.store_path),
        .degraded = lend(store_degraded(ops->env.store)),
        .not_enforced = lend(not_enforced),
        .not_enforced_count = ARRAY_LEN(not_enforced),
        .pools = pools,
        .pools_count = ARRAY_LEN(pools),
        .guests = (int64_t)guests_count(ops->env.guests),
        .live = (int64_t)guests_live_count(ops->env.guests),
        .last_event = store_event_last(ops->env.store),
    };

    (void)params; /* has no members */
    kvm.msg[0] = '\0';
    info.kvm = kvm_open(KVM_DEVICE, &kvm_fd, &kvm) == 0 ? lend("ok") : kvm.msg;
    kvm.msg[255] = '\0'; /* as long as the member may be */
    if (read_pools(ops, pools, &err) < 0) {
        reply_error(reply, &err);
    } else {
        reply_result(reply, MSG_info, &info);
    }
}
