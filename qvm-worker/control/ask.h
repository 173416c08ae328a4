/* Ask and grant with qvmd: the plan's needs go out as packets, descriptors come back. */
#ifndef QVM_WORKER_CONTROL_ASK_H
#define QVM_WORKER_CONTROL_ASK_H

#include <stddef.h>

#include "qvm-worker/plan/plan.h"

struct control;
struct err;
struct msg_grant;

/* Send all needs of `plan`, in as many packets as they need. */
int ask_send(struct control *control, const struct plan *plan, struct err *err);

/* What has come so far. Begin with ask_init. */
struct ask {
    const struct plan *plan;
    int fds[PLAN_FDS_MAX]; /* -1: none (yet) */
    bool is_granted[PLAN_NEEDS_MAX];
};

void ask_init(struct ask *ask, const struct plan *plan);
void ask_fini(struct ask *ask); /* closes what was not taken */

/* One packet of the grant; descriptors are taken. 1: it is complete; 0: more follows; -EPROTO: it
 * is not an answer to what we asked, `err` says why. */
int ask_take(struct ask *ask, const struct msg_grant *grant, int *fds, size_t fd_count,
             struct err *err);

#endif
