/* How many refusals of one user are written: a bucket for each. */
#include "daemon/server/audit.h"

#define LINE_COST 1000 /* of the credit */

/* The user's bucket; a fresh one in the place of who was silent for longest. */
static size_t find_user(struct audit_pace *pace, uid_t uid, int64_t now_ms)
{
    size_t oldest = 0;

    for (size_t i = 0; i < AUDIT_USERS_MAX; i++) {
        if (pace->users[i].last_ms != 0 && pace->users[i].uid == uid) {
            return i;
        }
        if (pace->users[i].last_ms < pace->users[oldest].last_ms) {
            oldest = i;
        }
    }
    pace->users[oldest].uid = uid;
    pace->users[oldest].last_ms = now_ms;
    pace->users[oldest].credit = (int64_t)AUDIT_BURST * LINE_COST;
    pace->users[oldest].left_out = 0;
    return oldest;
}

bool audit_pace_allows(struct audit_pace *pace, uid_t uid, int64_t now_ms, int64_t *left_out)
{
    const int64_t full = (int64_t)AUDIT_BURST * LINE_COST;
    size_t i = find_user(pace, uid, now_ms);
    int64_t waited_ms = now_ms - pace->users[i].last_ms;

    /* a second's worth of credit is PER_SECOND lines: as many thousandths a millisecond */
    if (waited_ms >= full / AUDIT_PER_SECOND) {
        pace->users[i].credit = full;
    } else {
        pace->users[i].credit += waited_ms * AUDIT_PER_SECOND;
        pace->users[i].credit = pace->users[i].credit > full ? full : pace->users[i].credit;
    }
    pace->users[i].last_ms = now_ms;
    if (pace->users[i].credit < LINE_COST) {
        pace->users[i].left_out++;
        return false;
    }
    pace->users[i].credit -= LINE_COST;
    *left_out = pace->users[i].left_out;
    pace->users[i].left_out = 0;
    return true;
}
