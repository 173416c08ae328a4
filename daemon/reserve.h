/* Who holds what of the host: table `claim` in the store.
 *
 * Memory and CPUs come out of pools: the sum of all claims never exceeds the pool. Shared CPUs are
 * shared in time, so the cpu pool counts vCPUs and is a bound on overload, not a promise of speed.
 * A partition of the host has a pool of either with its name. A CPU of the host that belongs to one
 * guest alone is claimed by its number (RESOURCE_hostcpu).
 *
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
#include <sys/types.h>

#include "proto/words.h"

struct err;
struct quota;
struct store;

#define RESERVE_MEMORY_POOL "host"
#define RESERVE_CPU_POOL    "shared"

/* A partition other than `host`. */
struct reserve_pool {
    const char *name;
    int64_t memory, cpus; /* bytes, vCPUs */
};

/* What guests may have in all. */
struct reserve_limits {
    int64_t memory;                   /* bytes of the pool RESERVE_MEMORY_POOL */
    int64_t cpus;                     /* vCPUs of RESERVE_CPU_POOL */
    const struct reserve_pool *pools; /* and of those that have names */
    size_t pool_count;
    bool is_open;              /* any pool has as much as is wanted: it is held already */
    const struct quota *quota; /* of the owner of the guest that claims; NULL: no bound */
};

struct reserve_item {
    enum resource_kind kind;
    const char *id;    /* name of the pool, or the identity of what was opened (hand.h) */
    const char *name;  /* for messages and lists: the path; NULL: like id */
    const char *where; /* FILE:LINE of the words that need it, put before messages; NULL: none */
    const char *place; /* FILE:LINE that is kept with the claim; NULL: like where */
    int64_t amount;    /* bytes or vCPUs */
    bool is_exclusive; /* nobody else may hold it, e.g. a file that is open for writing */
};

/* How RESOURCE_hostcpu calls a CPU, and back: -1 for another name. */
#define RESERVE_CPU_SIZE 16
const char *reserve_cpu_id(int cpu, char id[RESERVE_CPU_SIZE]);
int reserve_cpu_of(const char *id);

/* Claim all `items` for a living instance or, on failure, none of them, and tell in `*bad` (may be
 * NULL) which item could not be had.
 * -EBUSY held by somebody (`err` names the holder and its pid), or asked for twice and once
 * exclusively; -ENOSPC the pool has not enough left (`err` says how much is missing and who has
 * most of it), or its owner's quota has not; -EINVAL no such pool, or an amount that is none;
 * -EROFS as in store.h. */
int reserve_claim(struct store *store, const struct reserve_limits *limits, int64_t instance,
                  const struct reserve_item *items, size_t count, size_t *bad, struct err *err);

/* Free everything that an instance holds; nothing to free is success. */
int reserve_free(struct store *store, int64_t instance, struct err *err);

/* Free what it holds of one kind. */
int reserve_free_kind(struct store *store, int64_t instance, enum resource_kind kind,
                      struct err *err);

struct reserve_held {
    enum resource_kind kind;
    char *id;
    char *name;
    char *where; /* FILE:LINE; empty: not known */
    int64_t amount;
    bool is_exclusive;
};

/* What an instance holds; to be freed by reserve_held_free(). */
int reserve_list(struct store *store, int64_t instance, struct reserve_held **held, size_t *count,
                 struct err *err);
void reserve_held_free(struct reserve_held *held, size_t count);

/* Who holds a thing that is exclusive. -ENOENT: nobody. */
struct reserve_holder {
    char guest[GUEST_NAME_MAX + 1];
    int64_t pid;
};
int reserve_find(struct store *store, enum resource_kind kind, const char *id,
                 struct reserve_holder *holder, struct err *err);

/* Who has how much memory of which pool; to be freed. */
struct reserve_share {
    char guest[GUEST_NAME_MAX + 1], pool[GUEST_NAME_MAX + 1];
    int64_t pid, amount;
};
int reserve_shares(struct store *store, struct reserve_share **shares, size_t *count,
                   struct err *err);

/* The sum of all claims of a kind in a pool. */
int reserve_sum(struct store *store, enum resource_kind kind, const char *pool, int64_t *sum,
                struct err *err);

/* The sum of all claims of a kind by living guests of `owner`. */
int reserve_sum_of(struct store *store, enum resource_kind kind, uid_t owner, int64_t *sum,
                   struct err *err);

#endif
