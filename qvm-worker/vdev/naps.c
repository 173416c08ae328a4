#include "qvm-worker/vdev/naps.h"

#include "proto/base/cleanup.h"

#define COUNT_MIN   64u               /* requests of a measurement */
#define TIME_MIN_NS UINT64_C(4000000) /* and its time */
#define IDLE_NS     UINT64_C(4000000) /* for a request: nobody is in a hurry */
#define SMALL_MAX   32768u            /* bytes of a request that is a small one */
#define LONELY_MAX  4u
#define PENALTY_MAX 1024u

static const uint64_t lengths_ns[] = {0, 50000, 250000, 1000000};

uint64_t naps_next_ns(const struct naps *naps)
{
    return lengths_ns[naps->level];
}

static void begin(struct naps *naps, uint64_t now_ns)
{
    naps->begin_ns = now_ns;
    naps->count = 0;
    naps->bytes = 0;
    naps->lonely = 0;
    naps->is_deep = false;
}

/* The next trial comes after twice as long. */
static void punish(struct naps *naps)
{
    naps->penalty = 2 * naps->penalty + 1;
    naps->penalty = naps->penalty < PENALTY_MAX ? naps->penalty : PENALTY_MAX;
    naps->left = naps->penalty;
}

/* All other levels were tried. */
static bool is_last(const struct naps *naps)
{
    return naps->next == ARRAY_LEN(lengths_ns) - (naps->level == ARRAY_LEN(lengths_ns) - 1 ? 2 : 1);
}

static void try_next(struct naps *naps)
{
    naps->next = (naps->next + 1) % ARRAY_LEN(lengths_ns);
    if (naps->next == naps->level) {
        naps->next = (naps->next + 1) % ARRAY_LEN(lengths_ns);
    }
    naps->before = naps->level;
    naps->level = naps->next;
    naps->is_trial = true;
}

static void fail(struct naps *naps)
{
    naps->is_trial = false;
    naps->level = naps->before;
    if (is_last(naps)) {
        punish(naps);
    }
}

/* A longer nap has to be better by a seventh, a shorter one only as good. */
static bool is_better(const struct naps *naps, uint64_t cost_ns)
{
    return naps->level > naps->before ? cost_ns * 8 < naps->cost_ns * 7
                                      : cost_ns * 32 < naps->cost_ns * 33;
}

static void judge(struct naps *naps, uint64_t cost_ns)
{
    if (!naps->is_trial) {
        if (cost_ns > 2 * naps->cost_ns || 2 * cost_ns < naps->cost_ns) {
            naps->penalty = naps->left = 0; /* the guest does something else now */
        }
        naps->cost_ns = cost_ns;
        if (naps->level == 0 && !naps->is_deep) {
            naps->penalty = naps->left = 0; /* one request at a time: a nap is lost on it */
        } else if (naps->left > 0) {
            naps->left--;
        } else {
            try_next(naps);
        }
        return;
    }
    if (is_better(naps, cost_ns)) {
        naps->is_trial = false;
        naps->penalty = naps->left = 0;
    } else {
        fail(naps);
    }
}

void naps_round(struct naps *naps, uint64_t now_ns, uint32_t begun, uint64_t bytes)
{
    uint64_t cost_ns;

    if (naps->begin_ns == 0) {
        begin(naps, now_ns);
        return;
    }
    naps->count += begun;
    naps->bytes += bytes;
    naps->is_deep = naps->is_deep || begun > 1;
    naps->lonely = naps->level == 0 || begun > 1 ? 0 : naps->lonely + (begun == 1);
    if (naps->lonely > LONELY_MAX) {
        if (naps->is_trial) {
            fail(naps);
        } else {
            naps->level = 0;
        }
        begin(naps, now_ns);
        return;
    }
    if (naps->count < COUNT_MIN || now_ns - naps->begin_ns < TIME_MIN_NS) {
        return;
    }
    cost_ns = (now_ns - naps->begin_ns) / naps->count;
    if (cost_ns < IDLE_NS && naps->bytes / naps->count <= SMALL_MAX) {
        judge(naps, cost_ns);
    } else {
        naps->level = 0;
        naps->is_trial = false;
    }
    begin(naps, now_ns);
}
