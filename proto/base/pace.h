/* How often a stranger may have something done: so many at once, then one each while. */
#ifndef QVM_PROTO_BASE_PACE_H
#define QVM_PROTO_BASE_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* All zeroes: nothing was done yet. */
struct pace {
    uint64_t made; /* of which the pauses since `since_ms` have not made up */
    uint64_t since_ms;
};

/* Whether one more may be done now, which counts it. `now_ms` never goes back; `gap_ms` > 0. */
bool pace_take(struct pace *pace, uint64_t now_ms, uint64_t burst, uint64_t gap_ms);

#endif
