/* How fast a guest may reset itself. */
#include "qvm-worker/control/reset_pace.h"

uint64_t reset_pace_wait_ms(struct reset_pace *pace, uint64_t now_ms)
{
    uint64_t refilled = (now_ms - pace->counted_ms) / RESET_PACE_MS;

    if (pace->used == 0 || refilled >= pace->used) {
        pace->used = 0;
        pace->counted_ms = now_ms;
    } else {
        pace->used -= (uint32_t)refilled;
        pace->counted_ms += refilled * RESET_PACE_MS;
    }
    if (pace->used < RESET_PACE_BURST) {
        pace->used++;
        return 0;
    }
    return pace->counted_ms + RESET_PACE_MS - now_ms;
}
