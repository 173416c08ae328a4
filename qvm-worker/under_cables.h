/* Cables to other guests, under qvmd: what of them outlives a qvmd. */
#ifndef QVM_WORKER_UNDER_CABLES_H
#define QVM_WORKER_UNDER_CABLES_H

#include <stddef.h>

#include "proto/msg.h"
#include "qvm-worker/plan/plan.h"

struct err;
struct vdev_host;

/* Both ends of each, copies of our own: whichever of two qvms and a qvmd lives has the cable. */
struct under_cables {
    struct msg_cable list[PLAN_CABLES_MAX]; /* points into the plan */
    int fds[2 * PLAN_CABLES_MAX];           /* our end, the other; borrowed by who sends them */
    size_t count;
};

/* Copy what was granted (`fds` as in plan.h), and take the other ends out of it. */
int under_cables_take(struct under_cables *cables, const struct plan *plan, int *fds,
                      struct err *err);

/* Put them into a hello, and their descriptors to `fds`, which has room. Returns how many. */
size_t under_cables_tell(struct under_cables *cables, struct msg_hello *hello, int *fds);

/* What qvmd says of the other end of one. */
void under_hear_link(struct vdev_host *vdevs, const struct msg_link *link);

#endif
