#include "proto/base/pace.h"

bool pace_take(struct pace *pace, uint64_t now_ms, uint64_t burst, uint64_t gap_ms)
{
    uint64_t over = (now_ms - pace->since_ms) / gap_ms;

    if (over >= pace->made) {
        pace->made = 0;
        pace->since_ms = now_ms;
    } else {
        pace->made -= over;
        pace->since_ms += over * gap_ms;
    }
    if (pace->made >= burst) {
        return false;
    }
    pace->made++;
    return true;
}
