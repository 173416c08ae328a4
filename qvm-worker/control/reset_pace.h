/* How fast a guest may reset itself: a few times at once, then once a second.
 *
 * Each reset costs a line in the log and an event in qvmd's store, and a guest that resets in a
 * loop must not flush what others want to read there. A PC takes seconds for it, anyway. */
#ifndef QVM_WORKER_CONTROL_RESET_PACE_H
#define QVM_WORKER_CONTROL_RESET_PACE_H

#include <stdint.h>

#define RESET_PACE_BURST 10u   /* resets without waiting */
#define RESET_PACE_MS    1000u /* for one more */

/* Begin with zeroes. */
struct reset_pace {
    uint32_t used;       /* of the burst */
    uint64_t counted_ms; /* up to when it was refilled */
};

/* A reset is wanted at `now_ms` (a monotonic clock): 0, it may come now; otherwise, in so many
 * milliseconds, and it is counted then. */
uint64_t reset_pace_wait_ms(struct reset_pace *pace, uint64_t now_ms);

#endif
