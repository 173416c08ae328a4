#include "daemon/quota.h"

const struct quota *quota_of(const struct quotas *quotas, uid_t uid, uid_t daemon_uid)
{
    const struct quota *anybody = NULL;

    for (size_t i = 0; quotas != NULL && i < quotas->count; i++) {
        if (quotas->list[i].is_anybody) {
            anybody = &quotas->list[i];
        } else if (quotas->list[i].uid == uid) {
            return &quotas->list[i];
        }
    }
    return uid == 0 || uid == daemon_uid ? NULL : anybody;
}
