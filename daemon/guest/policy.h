/* Whether and when a guest that has ended is started again. Pure: every time comes from the caller.
 *
 * One rule: a `try` is an instance that follows another by policy. Each waits twice as long as the
 * one before, from first_ms to most_ms. A run of at least reset_ms ends the row. After `give_up`
 * tries in a row it is left failed. */
#ifndef QVM_DAEMON_GUEST_POLICY_H
#define QVM_DAEMON_GUEST_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/words.h"

struct msg_settings;

#define POLICY_FIRST_MS 1000
#define POLICY_MOST_MS  300000
#define POLICY_RESET_MS 600000

/* Of qvmd.conf. */
struct policy_rules {
    int64_t first_ms, most_ms, reset_ms;
};

/* One end. */
struct policy_end {
    enum guest_reason reason;
    enum guest_state desired; /* what was last asked for */
    bool is_draining;         /* nothing may be started now */
    int64_t ran_ms;           /* how long the instance had a process */
    int64_t tries;            /* in a row that led to it */
};

enum policy_what {
    POLICY_REST,    /* it stays as it is */
    POLICY_RETRY,   /* it is started again after wait_ms */
    POLICY_GIVE_UP, /* it would be, but for the number of tries */
};

struct policy_verdict {
    enum policy_what what;
    int64_t wait_ms;
    int64_t tries; /* in a row, with the one that follows */
};

struct policy_verdict policy_judge(const struct policy_rules *rules,
                                   const struct msg_settings *settings,
                                   const struct policy_end *end);

/* The waiting time before the try of that number, from 1. */
int64_t policy_wait_ms(const struct policy_rules *rules, int64_t number);

/* What is left of a wait that began at `since_ns` by a clock that may jump: 0 to wait_ms. */
int64_t policy_left_ms(int64_t wait_ms, int64_t since_ns, int64_t now_ns);

#endif
