#include "daemon/urgency.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <uv.h>

#include "daemon/host/sched_attr.h"
#include "daemon/partition.h"
#include "proto/base/err.h"

#define SLICE_NS UINT64_C(100000) /* of an ordinary process, since Linux 6.12; the shortest */

struct urgency {
    uv_prepare_t turn; /* before the loop waits */
    struct urgency_budget budget;
    const struct partitions *partitions;
    uint64_t priority; /* 0: an ordinary process for now */
    uint64_t above;    /* the highest that guests were ever given */
};

bool urgency_judge(struct urgency_budget *budget, uint64_t now_us, uint64_t used_us)
{
    budget->left_us += (int64_t)((now_us - budget->now_us) / URGENCY_SHARE);
    if (budget->left_us > URGENCY_BURST_US) {
        budget->left_us = URGENCY_BURST_US;
    }
    budget->left_us -= (int64_t)(used_us - budget->used_us);
    if (budget->left_us < -URGENCY_BURST_US) {
        budget->left_us = -URGENCY_BURST_US; /* and no longer a memory than that */
    }
    budget->now_us = now_us;
    budget->used_us = used_us;
    budget->is_spent = budget->left_us <= (budget->is_spent ? URGENCY_BURST_US / 2 : 0);
    return !budget->is_spent;
}

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now = {0};

    (void)clock_gettime(clock, &now); /* these two are always there */
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int nice_value; /* of an ordinary process; before it became urgent */

static uint64_t wanted(struct urgency *urgency)
{
    if (urgency->partitions->rt_priority > urgency->above) {
        urgency->above = urgency->partitions->rt_priority;
    }
    return urgency->above + 1;
}

/* 0: ordinary. */
static int set(uint64_t priority)
{
    const struct sched_attr_1 attr = {.size = sizeof(attr),
                                      .policy = priority > 0 ? SCHED_RR : SCHED_OTHER,
                                      .flags = SCHED_ATTR_RESET_ON_FORK,
                                      .nice = nice_value,
                                      .priority = (uint32_t)priority,
                                      .runtime_ns = priority > 0 ? 0 : SLICE_NS};

    return sched_attr_set(0, &attr) == 0 ? 0 : -errno;
}

static void on_turn(uv_prepare_t *turn)
{
    struct urgency *urgency = turn->data;
    bool may_be = urgency_judge(&urgency->budget, clock_us(CLOCK_MONOTONIC),
                                clock_us(CLOCK_THREAD_CPUTIME_ID));
    uint64_t priority = may_be ? wanted(urgency) : 0;

    if (priority != urgency->priority && set(priority) == 0) {
        urgency->priority = priority;
    }
}

int urgency_create(struct uv_loop_s *loop, const struct partitions *partitions,
                   struct urgency **result, struct err *err)
{
    struct urgency *urgency = calloc(1, sizeof(*urgency));
    int r;

    *result = NULL;
    if (urgency == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    nice_value = getpriority(PRIO_PROCESS, 0); /* cannot fail for ourselves */
    urgency->partitions = partitions;
    urgency->priority = wanted(urgency);
    r = set(urgency->priority);
    if (r < 0) {
        (void)set(0); /* the shorter slice, which is better than nothing */
        free(urgency);
        return err_sys(err, r, "no real-time priority (RLIMIT_RTPRIO, CAP_SYS_NICE)");
    }
    urgency->budget = (struct urgency_budget){.left_us = URGENCY_BURST_US,
                                              .now_us = clock_us(CLOCK_MONOTONIC),
                                              .used_us = clock_us(CLOCK_THREAD_CPUTIME_ID)};
    (void)uv_prepare_init(loop, &urgency->turn); /* cannot fail, nor can the next */
    urgency->turn.data = urgency;
    (void)uv_prepare_start(&urgency->turn, on_turn);
    uv_unref((uv_handle_t *)&urgency->turn); /* keeps no loop alive */
    *result = urgency;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void urgency_destroy(struct urgency *urgency)
{
    if (urgency != NULL) {
        uv_close((uv_handle_t *)&urgency->turn, on_closed);
    }
}
