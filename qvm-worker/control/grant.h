/* A qvm alone grants to itself: opens what its plan asks for, with its own rights. */
#ifndef QVM_WORKER_CONTROL_GRANT_H
#define QVM_WORKER_CONTROL_GRANT_H

struct err;
struct plan;

/* Open all needs of `plan`; fds[i] (room for need_count) belongs to need i, -1 if it comes without
 * a descriptor. On failure nothing is open; `err` begins with FILE:LINE, or says what is wrong
 * with /dev/kvm and what to do. */
int grant_self(const struct plan *plan, int *fds, struct err *err);

#endif
