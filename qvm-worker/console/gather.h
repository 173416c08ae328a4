/* When what a device says is passed on: at once, or after a silence. */
#ifndef QVM_WORKER_CONSOLE_GATHER_H
#define QVM_WORKER_CONSOLE_GATHER_H

#include <stdint.h>

/* Zeroes: at once. */
struct gather {
    uint64_t silence_ms; /* how long the silence is to be */
    uint64_t end;        /* of the ring, at the last look */
    uint64_t changed_ms; /* when that was another */
};

/* How long to wait before the next look, at a ring that ends at `end` and was passed on up to
 * `passed_to`; 0: pass it on now. */
uint64_t gather_wait_ms(struct gather *gather, uint64_t now_ms, uint64_t end, uint64_t passed_to);

#endif
