/* A bell: tells another process through a socket that there is something new, and not too often. */
#ifndef QVM_WORKER_CONSOLE_BELL_H
#define QVM_WORKER_CONSOLE_BELL_H

#include <stdatomic.h>

#define BELL_MS 250u /* it rings no more often */

struct bell {
    int fd;               /* non-blocking, borrowed; -1: none */
    atomic_llong last_ms; /* when it rang; 0: never */
};

void bell_init(struct bell *bell);

/* Ring (one zero byte), unless it rang less than BELL_MS ago: who heard that looks until this time
 * has passed in silence. Any thread; never blocks. */
void bell_ring(struct bell *bell);

#endif
