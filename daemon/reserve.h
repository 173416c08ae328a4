/* Who holds what of the host: table `claim` in the store.
 *
 * Memory and CPUs come out of pools: the sum of all claims never exceeds the pool. Shared CPUs are
 * shared in time, so the cpu pool counts vCPUs and is a bound on overload, not a promise of speed.
 * Files and streams are claimed by the identity that the hand found when it opened them: one
 * writer excludes everybody else, readers share. The kernel's locks on the descriptors hold the
 * same truth (hand.h); the claim is the plan and names the holder.
 *
 * A claim stays until reserve_free(), whatever becomes of its instance. One thread. */
#ifndef QVM_DAEMON_RESERVE_H
#define QVM_DAEMON_RESERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/words.h"

struct err;
struct store;

#define RESERVE_MEMORY_POOL "host"
#define RESERVE_CPU_POOL    "shared"

/* What guests may have in all. */
struct reserve_limits {
    int64_t memory; /* bytes: MemTotal without what is kept for the host */
    int64_t cpus;   /* vCPUs on shared host CPUs */
};

struct reserve_item {
    enum resource_kind kind;
    const char *id;    /* name of the pool, or the identity of what was opened (hand.h) */
    const char *name;  /* for messages and lists: the path; NULL: like id */
    const char *where; /* FILE:LINE of the words that need it, put before messages; NULL: none */
    int64_t amount;    /* bytes or vCPUs */
    bool is_exclusive; /* nobody else may hold it, e.g. a file that is open for writing */
};

/* Claim all `items` for a living instance or, on failure, none of them, and tell in `*bad` (may be
 * NULL) which item could not be had.
 * -EBUSY held by somebody (`err` names the holder and its pid), or asked for twice and once
 * exclusively; -ENOSPC the pool has not enough left (`err` says how much is missing and who has
 * most of it); -EINVAL no such pool, or an amount that is none; -EROFS as in store.h. */
int reserve_claim(struct store *store, const struct reserve_limits *limits, int64_t instance,
                  const struct reserve_item *items, size_t count, size_t *bad, struct err *err);

/* Free everything that an instance holds; nothing to free is success. */
int reserve_free(struct store *store, int64_t instance, struct err *err);

struct reserve_held {
    enum resource_kind kind;
    char *id;
    char *name;
    int64_t amount;
    bool is_exclusive;
};

/* What an instance holds; to be freed by reserve_held_free(). */
int reserve_list(struct store *store, int64_t instance, struct reserve_held **held, size_t *count,
                 struct err *err);
void reserve_held_free(struct reserve_held *held, size_t count);

/* The sum of all claims of a kind in a pool. */
int reserve_sum(struct store *store, enum resource_kind kind, const char *pool, int64_t *sum,
                struct err *err);

#endif
