/* What one user may have of what all guests share: rows of `quota` in qvmd.conf.
 *
 * A row counts for its user, the row `*` for everybody without one of his own but root and qvmd's
 * own user. It is the owner of a guest whose quota counts, whoever starts it. Any thread. */
#ifndef QVM_DAEMON_QUOTA_H
#define QVM_DAEMON_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define QUOTA_NO_BOUND (UINT64_C(1) << 60)
#define QUOTAS_MAX     256
#define QUOTA_ANYBODY  "*"

struct quota {
    uid_t uid;
    bool is_anybody;  /* of everybody without a row; uid is unused */
    const char *user; /* as it was written */
    uint64_t guests;  /* that are defined */
    uint64_t vcpus;   /* of living guests */
    uint64_t memory;  /* bytes of RAM of living guests */
};

struct quotas {
    struct quota list[QUOTAS_MAX];
    size_t count;
};

/* The row that counts for `uid`, or NULL. No `quotas` at all: nobody has a bound. */
const struct quota *quota_of(const struct quotas *quotas, uid_t uid, uid_t daemon_uid);

#endif
