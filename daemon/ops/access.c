/* Methods about who may do what: the audit log, and what each user may have and has. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/ops/inside.h"
#include "daemon/quota.h"
#include "daemon/server/audit.h"
#include "proto/base/err.h"

void op_audit(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_audit_params *wanted = params;
    struct msg_audit_list list = {0};
    struct err err = {0};

    if (audit_read(ops->env.audit, (size_t)wanted->limit, &list, &err) < 0) {
        reply_error(reply, &err);
    } else {
        reply_result(reply, MSG_audit_list, &list);
    }
    msg_fini(MSG_audit_list, &list);
}

static int64_t shown_bound(uint64_t bound)
{
    return bound < QUOTA_NO_BOUND ? (int64_t)bound : 0;
}

static int describe_user(const struct ops *ops, uid_t uid, struct msg_quota *user, struct err *err)
{
    const struct quota *quota = quota_of(ops->env.quotas, uid, geteuid());
    int r;

    *user =
        (struct msg_quota){.uid = uid, .guests = (int64_t)guests_count_of(ops->env.guests, uid)};
    if (quota != NULL) {
        user->guests_max = shown_bound(quota->guests);
        user->vcpus_max = shown_bound(quota->vcpus);
        user->memory_max = shown_bound(quota->memory);
    }
    r = reserve_sum_of(ops->env.store, RESOURCE_cpu, uid, &user->vcpus, err);
    if (r == 0) {
        r = reserve_sum_of(ops->env.store, RESOURCE_memory, uid, &user->memory, err);
    }
    return r;
}

static bool is_listed(const struct msg_quota *users, size_t count, uid_t uid)
{
    for (size_t i = 0; i < count; i++) {
        if (users[i].uid == uid) {
            return true;
        }
    }
    return false;
}

int ops_quotas(const struct ops *ops, const struct reply *reply, struct msg_info *info,
               struct err *err)
{
    size_t most = guests_count(ops->env.guests);
    struct guest_caller caller = ops_caller(reply);
    struct msg_quota *users = calloc(most + 1, sizeof(*users));
    const struct guest *guest = NULL;
    size_t count = 0;
    int r = 0;

    if (users == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    while (r == 0 && caller.is_admin && (guest = guest_next(ops->env.guests, guest)) != NULL) {
        if (!is_listed(users, count, guest_owner(guest))) {
            r = describe_user(ops, guest_owner(guest), &users[count++], err);
        }
    }
    if (r == 0 && !caller.is_admin) {
        r = describe_user(ops, caller.uid, &users[count++], err);
    }
    if (r < 0) {
        free(users);
        return r;
    }
    info->quotas = users;
    info->quotas_count = count;
    return 0;
}
