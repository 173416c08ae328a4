/* What a qvm finds when qvmd has made it: proto/spawn_fds.h. */
#ifndef QVM_WORKER_UNDER_BIRTH_H
#define QVM_WORKER_UNDER_BIRTH_H

#include <stdbool.h>

struct err;
struct msg_spawn;

/* Read what qvmd wants, and close its descriptor. -EINVAL, -EIO: it is not what it should be.
 * Owned: msg_fini(MSG_spawn, spawn). */
int under_read_spawn(struct msg_spawn *spawn, struct err *err);

/* Whether we were born with the log's other end: to be asked before any other descriptor can have
 * its number. */
bool under_find_log_end(void);

#endif
