/* When what a device says is passed on. */
#include "qvm-worker/console/gather.h"

#include "proto/console.h"
#include "qvm-worker/console/console.h"

uint64_t gather_wait_ms(struct gather *gather, uint64_t now_ms, uint64_t end, uint64_t passed_to)
{
    uint64_t left_ms;

    if (end != gather->end) {
        gather->end = end;
        gather->changed_ms = now_ms;
    }
    if (now_ms - gather->changed_ms >= gather->silence_ms ||
        end - passed_to >= CONSOLE_RING_CAPACITY / 2) {
        return 0;
    }
    /* Looked at as often as ever, so that the ring has room. */
    left_ms = gather->silence_ms - (now_ms - gather->changed_ms);
    return left_ms < CONSOLE_BATCH_MAX_MS ? left_ms : CONSOLE_BATCH_MAX_MS;
}
