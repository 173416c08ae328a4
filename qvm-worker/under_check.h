/* What a configuration asks for that qvmd does not give, found before anything is asked. */
#ifndef QVM_WORKER_UNDER_CHECK_H
#define QVM_WORKER_UNDER_CHECK_H

#include <stdbool.h>

struct err;
struct plan;

/* -ENOEXEC: the words cannot be met here, with FILE:LINE. */
int under_check(const struct plan *plan, struct err *err);

/* Whether qvmd (as it says itself, or for what is asked of it) tells the kernel where vCPUs run,
 * before it grants anything: it has to find their threads. */
bool under_is_placed(const struct plan *plan, bool is_told);

#endif
