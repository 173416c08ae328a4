/* A qvm alone: whether the host has the memory that the guest is to have. */
#ifndef QVM_WORKER_CONTROL_SPARE_MEMORY_H
#define QVM_WORKER_CONTROL_SPARE_MEMORY_H

struct err;
struct plan_need;

/* -ENOSPC, with FILE:LINE, how much is asked for and how much there is: more than the kernel could
 * make free now. It promises nothing for later, since nobody keeps account here; qvmd does. A
 * kernel that does not tell is believed to have enough. */
int spare_memory_check(const struct plan_need *need, struct err *err);

#endif
