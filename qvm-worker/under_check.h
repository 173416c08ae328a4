/* What a configuration asks for that qvmd does not give, found before anything is asked. */
#ifndef QVM_WORKER_UNDER_CHECK_H
#define QVM_WORKER_UNDER_CHECK_H

struct err;
struct plan;

/* -ENOEXEC: the words cannot be met here, with FILE:LINE. */
int under_check(const struct plan *plan, struct err *err);

#endif
