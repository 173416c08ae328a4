/* qvmd's own priority: in time beside whatever guests do, and not at the expense of all else.
 *
 * Who wakes up beside processes that spin waits for the scheduler's next tick, each time. So the
 * loop's thread has a real-time priority, where it may (CAP_SYS_NICE, RLIMIT_RTPRIO): the lowest
 * that is above all that guests may be given, since a guest that spins there is to be ended, too.
 * Its children have none. What it does there is bounded: when it has used more than a fifth of a
 * CPU for a while, because somebody floods it, it is an ordinary process until it uses less. An
 * ordinary one has short turns (a custom slice), which makes its turn come sooner. */
#ifndef QVM_DAEMON_URGENCY_H
#define QVM_DAEMON_URGENCY_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct partitions;
struct urgency;
struct uv_loop_s;

#define URGENCY_BURST_US 200000 /* of CPU time, at once */
#define URGENCY_SHARE    5      /* and as a mean: one part in so many */

/* CPU time that may be had. */
struct urgency_budget {
    int64_t left_us;
    uint64_t now_us, used_us; /* as they were told last */
    bool is_spent;            /* until half of a burst is there again */
};

/* The budget of who has used `used_us` by now; both only grow. Whether it may be urgent. */
bool urgency_judge(struct urgency_budget *budget, uint64_t now_us, uint64_t used_us);

/* Make this thread, which is the loop's, urgent. `partitions` are borrowed: whatever they come to
 * give to guests, this is above it, and does not sink again. Failed, it has short turns. -EPERM: it
 * may not be urgent. */
int urgency_create(struct uv_loop_s *loop, const struct partitions *partitions,
                   struct urgency **urgency, struct err *err);

/* NULL is fine. The memory goes when the loop has run the closing of its handle. */
void urgency_destroy(struct urgency *urgency);

#endif
