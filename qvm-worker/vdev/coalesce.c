#include "qvm-worker/vdev/coalesce.h"

#include "proto/base/cleanup.h"

#define COUNT_MIN   64u               /* requests of a measurement */
#define TIME_MIN_NS UINT64_C(4000000) /* and its time */
#define IDLE_NS     UINT64_C(4000000) /* for a request: nobody is in a hurry */
#define SMALL_MAX   32768u            /* bytes of a request that is a small one */
#define LONELY_MAX  4u
#define PENALTY_MAX 1024u

static const uint64_t lengths_ns[] = {0, 50000, 250000, 1000000};

uint64_t coalesce_delay_ns(const struct coalesce *coalesce)
{
    return lengths_ns[coalesce->level];
}

static void begin(struct coalesce *coalesce, uint64_t now_ns)
{
    coalesce->begin_ns = now_ns;
    coalesce->count = 0;
    coalesce->bytes = 0;
    coalesce->lonely = 0;
    coalesce->is_deep = false;
}

/* The next trial comes after twice as long. */
static void punish(struct coalesce *coalesce)
{
    coalesce->penalty = 2 * coalesce->penalty + 1;
    coalesce->penalty = coalesce->penalty < PENALTY_MAX ? coalesce->penalty : PENALTY_MAX;
    coalesce->left = coalesce->penalty;
}

/* All other levels were tried. */
static bool is_last(const struct coalesce *coalesce)
{
    return coalesce->next ==
           ARRAY_LEN(lengths_ns) - (coalesce->level == ARRAY_LEN(lengths_ns) - 1 ? 2 : 1);
}

static void try_next(struct coalesce *coalesce)
{
    coalesce->next = (coalesce->next + 1) % ARRAY_LEN(lengths_ns);
    if (coalesce->next == coalesce->level) {
        coalesce->next = (coalesce->next + 1) % ARRAY_LEN(lengths_ns);
    }
    coalesce->before = coalesce->level;
    coalesce->level = coalesce->next;
    coalesce->is_trial = true;
}

static void fail(struct coalesce *coalesce)
{
    coalesce->is_trial = false;
    coalesce->level = coalesce->before;
    if (is_last(coalesce)) {
        punish(coalesce);
    }
}

/* A longer delay has to be better by a seventh, a shorter one only as good. */
static bool is_better(const struct coalesce *coalesce, uint64_t cost_ns)
{
    return coalesce->level > coalesce->before ? cost_ns * 8 < coalesce->cost_ns * 7
                                              : cost_ns * 32 < coalesce->cost_ns * 33;
}

static void judge(struct coalesce *coalesce, uint64_t cost_ns)
{
    if (!coalesce->is_trial) {
        if (cost_ns > 2 * coalesce->cost_ns || 2 * cost_ns < coalesce->cost_ns) {
            coalesce->penalty = coalesce->left = 0; /* the guest does something else now */
        }
        coalesce->cost_ns = cost_ns;
        if (coalesce->level == 0 && !coalesce->is_deep) {
            coalesce->penalty = coalesce->left =
                0; /* one request at a time: a delay is lost on it */
        } else if (coalesce->left > 0) {
            coalesce->left--;
        } else {
            try_next(coalesce);
        }
        return;
    }
    if (is_better(coalesce, cost_ns)) {
        coalesce->is_trial = false;
        coalesce->penalty = coalesce->left = 0;
    } else {
        fail(coalesce);
    }
}

void coalesce_round(struct coalesce *coalesce, uint64_t now_ns, uint32_t begun, uint64_t bytes)
{
    uint64_t cost_ns;

    if (coalesce->begin_ns == 0) {
        begin(coalesce, now_ns);
        return;
    }
    coalesce->count += begun;
    coalesce->bytes += bytes;
    coalesce->is_deep = coalesce->is_deep || begun > 1;
    coalesce->lonely = coalesce->level == 0 || begun > 1 ? 0 : coalesce->lonely + (begun == 1);
    if (coalesce->lonely > LONELY_MAX) {
        if (coalesce->is_trial) {
            fail(coalesce);
        } else {
            coalesce->level = 0;
        }
        begin(coalesce, now_ns);
        return;
    }
    if (coalesce->count < COUNT_MIN || now_ns - coalesce->begin_ns < TIME_MIN_NS) {
        return;
    }
    cost_ns = (now_ns - coalesce->begin_ns) / coalesce->count;
    if (cost_ns < IDLE_NS && coalesce->bytes / coalesce->count <= SMALL_MAX) {
        judge(coalesce, cost_ns);
    } else {
        coalesce->level = 0;
        coalesce->is_trial = false;
    }
    begin(coalesce, now_ns);
}
