/* Who holds what of the host: table `claim` in the store. */
#include "daemon/reserve.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/quota.h"
#include "daemon/store/sql.h"
#include "daemon/store/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define SIZE_TEXT_SIZE 32

/* Put the item's FILE:LINE before the sentence. */
static int at(const struct reserve_item *item, int r, struct err *err)
{
    if (r != 0 && item->where != NULL) {
        (void)err_prefix(err, "%s: ", item->where);
    }
    return r;
}

static const char *shown_name(const struct reserve_item *item)
{
    return item->name != NULL ? item->name : item->id;
}

/* ---- pools ---- */

/* A size as people say it, in the unit that keeps it short: a fraction tells that it is not exact.
 */
static const char *size_text(int64_t bytes, char text[SIZE_TEXT_SIZE])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    uint64_t whole = bytes > 0 ? (uint64_t)bytes : 0;
    uint64_t scale = 1;
    size_t unit = 0;

    while (unit + 1 < ARRAY_LEN(units) && whole / scale >= 1024) {
        scale *= 1024;
        unit++;
    }
    if (whole % scale == 0) {
        (void)snprintf(text, SIZE_TEXT_SIZE, "%" PRIu64 " %s", whole / scale, units[unit]);
    } else {
        (void)snprintf(text, SIZE_TEXT_SIZE, "%.1f %s", (double)whole / (double)scale, units[unit]);
    }
    return text;
}

struct holder {
    char guest[GUEST_NAME_MAX + 1];
    int64_t pid;
    int64_t amount;
    bool is_exclusive;
};

static int on_holder(void *data, const struct store_row *row)
{
    struct holder *holder = data;

    (void)snprintf(holder->guest, sizeof(holder->guest), "%s", store_row_text(row, 0));
    holder->pid = store_row_int(row, 1);
    holder->amount = store_row_int(row, 2);
    holder->is_exclusive = store_row_int(row, 3) != 0;
    return 0;
}

static const char SQL_LARGEST[] =
    "SELECT instance.guest, instance.pid, claim.amount, 0 FROM claim JOIN instance"
    " ON instance.id = claim.instance WHERE claim.kind = ?1 AND claim.resource = ?2"
    " ORDER BY claim.amount DESC LIMIT 1";

static int refuse_memory(const struct reserve_item *item, int64_t total, int64_t left,
                         const struct holder *largest, struct err *err)
{
    char missing[SIZE_TEXT_SIZE];
    char asked[SIZE_TEXT_SIZE];
    char have[SIZE_TEXT_SIZE];
    char all[SIZE_TEXT_SIZE];
    char most[SIZE_TEXT_SIZE];
    int r = err_set(err, -ENOSPC, "%s of memory are missing: %s are asked for, %s of %s are free",
                    size_text(item->amount - left, missing), size_text(item->amount, asked),
                    size_text(left, have), size_text(total, all));
    size_t used = err != NULL ? strlen(err->msg) : 0;

    if (err != NULL && largest->guest[0] != '\0') {
        (void)snprintf(err->msg + used, sizeof(err->msg) - used,
                       "; guest '%s' (pid %" PRId64 ") holds %s", largest->guest, largest->pid,
                       size_text(largest->amount, most));
    }
    return r;
}

static int refuse_cpus(const struct reserve_item *item, int64_t total, int64_t left,
                       const struct holder *largest, struct err *err)
{
    int r = err_set(err, -ENOSPC,
                    "%" PRId64 " vCPUs are missing: %" PRId64 " are asked for, %" PRId64
                    " of %" PRId64 " are free",
                    item->amount - left, item->amount, left, total);
    size_t used = err != NULL ? strlen(err->msg) : 0;

    if (err != NULL && largest->guest[0] != '\0') {
        (void)snprintf(err->msg + used, sizeof(err->msg) - used,
                       "; guest '%s' (pid %" PRId64 ") holds %" PRId64, largest->guest,
                       largest->pid, largest->amount);
    }
    return r;
}

static const char SQL_SUM[] =
    "SELECT coalesce(sum(amount), 0) FROM claim WHERE kind = ?1 AND resource = ?2";

int reserve_sum(struct store *store, enum resource_kind kind, const char *pool, int64_t *sum,
                struct err *err)
{
    return store_run_int(store, SQL_SUM, BIND(SQL_WORD(resource_kind, kind), SQL_TEXT(pool)), sum,
                         err);
}

/* What there is in all of the item's pool; -1: there is no such pool. */
static int64_t pool_total(const struct reserve_limits *limits, const struct reserve_item *item)
{
    bool is_memory = item->kind == RESOURCE_memory;

    if (limits->is_open) {
        return INT64_MAX;
    }
    if (strcmp(item->id, is_memory ? RESERVE_MEMORY_POOL : RESERVE_CPU_POOL) == 0) {
        return is_memory ? limits->memory : limits->cpus;
    }
    for (size_t i = 0; i < limits->pool_count; i++) {
        if (strcmp(limits->pools[i].name, item->id) == 0) {
            return is_memory ? limits->pools[i].memory : limits->pools[i].cpus;
        }
    }
    return -1;
}

/* Tell which pool it is that lacks something, where there are several. */
static int of_partition(const struct reserve_limits *limits, const struct reserve_item *item, int r,
                        struct err *err)
{
    if (limits->pool_count > 0) {
        (void)err_prefix(err, "partition '%s': ",
                         strcmp(item->id, RESERVE_CPU_POOL) == 0 ? RESERVE_MEMORY_POOL : item->id);
    }
    return r;
}

/* Whether the pool has that much left. */
static int check_pool(struct store *store, const struct reserve_limits *limits,
                      const struct reserve_item *item, struct err *err)
{
    const char *pool = item->id;
    struct holder largest = {0};
    int64_t total = pool_total(limits, item);
    int64_t sum = 0;
    int64_t left;
    int r;

    if (total < 0) {
        return err_set(err, -EINVAL, "there is no %s pool '%s'",
                       words_name(&words_resource_kind, (int)item->kind), item->id);
    }
    if (item->amount <= 0) {
        return err_set(err, -EINVAL, "%" PRId64 " is no amount of %s", item->amount,
                       words_name(&words_resource_kind, (int)item->kind));
    }
    r = reserve_sum(store, item->kind, pool, &sum, err);
    if (r != 0) {
        return r;
    }
    left = total > sum ? total - sum : 0;
    if (item->amount <= left) {
        return 0;
    }
    r = store_run(store, SQL_LARGEST, BIND(SQL_WORD(resource_kind, item->kind), SQL_TEXT(pool)),
                  on_holder, &largest, err);
    if (r != 0) {
        return r;
    }
    r = item->kind == RESOURCE_memory ? refuse_memory(item, total, left, &largest, err)
                                      : refuse_cpus(item, total, left, &largest, err);
    return of_partition(limits, item, r, err);
}

/* ---- what one user may have ---- */

static const char SQL_OWNER[] = "SELECT guest.owner FROM instance JOIN guest"
                                " ON guest.name = instance.guest WHERE instance.id = ?1";

static const char SQL_SUM_OF[] = "SELECT coalesce(sum(claim.amount), 0) FROM claim"
                                 " JOIN instance ON instance.id = claim.instance"
                                 " JOIN guest ON guest.name = instance.guest"
                                 " WHERE claim.kind = ?1 AND guest.owner = ?2";

int reserve_sum_of(struct store *store, enum resource_kind kind, uid_t owner, int64_t *sum,
                   struct err *err)
{
    return store_run_int(store, SQL_SUM_OF, BIND(SQL_WORD(resource_kind, kind), SQL_INT(owner)),
                         sum, err);
}

static int refuse_user(const struct reserve_item *item, const struct quota *quota, uint64_t bound,
                       int64_t sum, struct err *err)
{
    char asked[SIZE_TEXT_SIZE], held[SIZE_TEXT_SIZE], most[SIZE_TEXT_SIZE];
    const char *whose = quota->is_anybody ? "each user" : quota->user;

    if (item->kind != RESOURCE_memory) {
        return err_set(err, -ENOSPC,
                       "the quota of %s is %" PRIu64 " vCPUs: %" PRId64 " are asked for, and the "
                       "owner's guests have %" PRId64,
                       whose, bound, item->amount, sum);
    }
    return err_set(err, -ENOSPC,
                   "the quota of %s is %s of memory: %s are asked for, and the owner's guests have "
                   "%s",
                   whose, size_text((int64_t)bound, most), size_text(item->amount, asked),
                   size_text(sum, held));
}

/* Whether the owner may have that much more. */
static int check_user(struct store *store, const struct quota *quota, int64_t instance,
                      const struct reserve_item *item, struct err *err)
{
    uint64_t bound = item->kind == RESOURCE_memory ? quota->memory : quota->vcpus;
    int64_t owner = 0, sum = 0;
    int r;

    if (bound >= QUOTA_NO_BOUND) {
        return 0;
    }
    r = store_run_int(store, SQL_OWNER, BIND(SQL_INT(instance)), &owner, err);
    if (r == 0) {
        r = reserve_sum_of(store, item->kind, (uid_t)owner, &sum, err);
    }
    if (r == 0 && (sum > (int64_t)bound || item->amount > (int64_t)bound - sum)) {
        r = refuse_user(item, quota, bound, sum, err);
    }
    return r;
}

/* ---- things that one or several may hold ---- */

/* Somebody else's claim that excludes ours, the exclusive one first. */
static const char SQL_CONFLICT[] =
    "SELECT instance.guest, instance.pid, claim.amount, claim.is_exclusive FROM claim"
    " JOIN instance ON instance.id = claim.instance WHERE claim.resource = ?1"
    " AND claim.instance != ?2 AND (claim.is_exclusive OR ?3)"
    " ORDER BY claim.is_exclusive DESC, claim.id LIMIT 1";

static int check_holders(struct store *store, int64_t instance, const struct reserve_item *item,
                         struct err *err)
{
    struct holder holder = {0};
    int r = store_run_one(store, SQL_CONFLICT,
                          BIND(SQL_TEXT(item->id), SQL_INT(instance), SQL_INT(item->is_exclusive)),
                          on_holder, &holder, err);

    if (r != 0) {
        return r == -ENOENT ? 0 : r;
    }
    if (item->kind == RESOURCE_hostcpu) {
        return err_set(err, -EBUSY, "%s is held by guest '%s' (pid %" PRId64 ")", shown_name(item),
                       holder.guest, holder.pid);
    }
    if (item->kind == RESOURCE_device) {
        return err_set(err, -EBUSY, "device '%s' is held by guest '%s' (pid %" PRId64 ")",
                       shown_name(item), holder.guest, holder.pid);
    }
    if (item->kind == RESOURCE_socket) {
        return err_set(err, -EBUSY, "the back end at '%s' works for guest '%s' (pid %" PRId64 ")",
                       shown_name(item), holder.guest, holder.pid);
    }
    if (item->kind == RESOURCE_listen) { /* "listen:" and the path */
        return err_set(err, -EBUSY, "socket '%s' is held by guest '%s' (pid %" PRId64 ")",
                       item->id + strcspn(item->id, "/"), holder.guest, holder.pid);
    }
    if (item->kind == RESOURCE_network || item->kind == RESOURCE_node) {
        return err_set(err, -EBUSY, "'%s' is held by guest '%s' (pid %" PRId64 ")",
                       shown_name(item), holder.guest, holder.pid);
    }
    return err_set(err, -EBUSY, "'%s' is held for %s by guest '%s' (pid %" PRId64 ")",
                   shown_name(item), holder.is_exclusive ? "writing" : "reading", holder.guest,
                   holder.pid);
}

/* One guest that has the same thing twice, once for writing, would spoil it as two guests would. */
static int check_twice(const struct reserve_item *items, size_t index, struct err *err)
{
    const struct reserve_item *item = &items[index];

    for (size_t i = 0; i < index; i++) {
        if (strcmp(items[i].id, item->id) == 0 && (items[i].is_exclusive || item->is_exclusive)) {
            return item->kind == RESOURCE_network || item->kind == RESOURCE_listen
                       ? err_set(err, -EBUSY, "'%s' is asked for twice (%s)", item->id,
                                 items[i].place != NULL ? items[i].place : shown_name(&items[i]))
                       : err_set(err, -EBUSY, "'%s' is asked for twice, and once for writing (%s)",
                                 shown_name(item),
                                 items[i].where != NULL ? items[i].where : shown_name(&items[i]));
        }
    }
    return 0;
}

/* ---- CPUs of the host ---- */

#define CPU_ID_FORMAT "cpu%d"

const char *reserve_cpu_id(int cpu, char id[RESERVE_CPU_SIZE])
{
    (void)snprintf(id, RESERVE_CPU_SIZE, CPU_ID_FORMAT, cpu);
    return id;
}

int reserve_cpu_of(const char *id)
{
    char again[RESERVE_CPU_SIZE];
    int cpu = -1;

    return sscanf(id, "cpu%6d", &cpu) == 1 && cpu >= 0 &&
                   strcmp(reserve_cpu_id(cpu, again), id) == 0
               ? cpu
               : -1;
}

int reserve_find(struct store *store, enum resource_kind kind, const char *id,
                 struct reserve_holder *found, struct err *err)
{
    struct holder holder = {0};
    int r =
        store_run_one(store,
                      "SELECT instance.guest, instance.pid, claim.amount, claim.is_exclusive"
                      " FROM claim JOIN instance ON instance.id = claim.instance"
                      " WHERE claim.kind = ?1 AND claim.resource = ?2 AND claim.is_exclusive",
                      BIND(SQL_WORD(resource_kind, kind), SQL_TEXT(id)), on_holder, &holder, err);

    if (r == 0) {
        found->pid = holder.pid;
        memcpy(found->guest, holder.guest, sizeof(found->guest));
    }
    return r;
}

/* ---- claiming ---- */

/* What an instance has already it may ask for again: amounts add up, and writing stays writing. */
static const char SQL_CLAIM[] =
    "INSERT INTO claim(kind, resource, name, amount, is_exclusive, instance, place)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, coalesce(?7, '')) ON CONFLICT(instance, kind, resource) DO "
    "UPDATE SET"
    " amount = amount + ?4, is_exclusive = max(is_exclusive, ?5)";

static int claim_one(struct store *store, const struct reserve_limits *limits, int64_t instance,
                     const struct reserve_item *items, size_t index, struct err *err)
{
    const struct reserve_item *item = &items[index];
    bool is_pool = item->kind == RESOURCE_memory || item->kind == RESOURCE_cpu;
    int r;

    if (is_pool) {
        r = check_pool(store, limits, item, err);
        if (r == 0 && limits->quota != NULL) {
            r = check_user(store, limits->quota, instance, item, err);
        }
    } else {
        r = check_twice(items, index, err);
        if (r == 0) {
            r = check_holders(store, instance, item, err);
        }
    }
    if (r != 0) {
        return r;
    }
    return store_run(store, SQL_CLAIM,
                     BIND(SQL_WORD(resource_kind, item->kind), SQL_TEXT(item->id),
                          SQL_TEXT(shown_name(item)), SQL_INT(is_pool ? item->amount : 0),
                          SQL_INT(item->is_exclusive), SQL_INT(instance),
                          SQL_TEXT(item->place != NULL ? item->place : item->where)),
                     NULL, NULL, err);
}

static const char SQL_LIVES[] = "SELECT 1 FROM instance WHERE id = ?1 AND ended IS NULL";

int reserve_claim(struct store *store, const struct reserve_limits *limits, int64_t instance,
                  const struct reserve_item *items, size_t count, size_t *bad, struct err *err)
{
    auto_tx struct store_tx tx = {0};
    int64_t lives;
    int r = store_begin(store, &tx, err);

    if (r == 0) {
        r = store_run_int(store, SQL_LIVES, BIND(SQL_INT(instance)), &lives, err);
        if (r == -ENOENT) {
            r = err_set(err, -EINVAL, "there is no living instance %" PRId64, instance);
        }
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = at(&items[i], claim_one(store, limits, instance, items, i, err), err);
        if (r != 0 && bad != NULL) {
            *bad = i;
        }
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

int reserve_free(struct store *store, int64_t instance, struct err *err)
{
    int r = store_write_one(store, "DELETE FROM claim WHERE instance = ?1", BIND(SQL_INT(instance)),
                            err);

    return r == -ENOENT ? 0 : r;
}

int reserve_free_kind(struct store *store, int64_t instance, enum resource_kind kind,
                      struct err *err)
{
    int r = store_write_one(store, "DELETE FROM claim WHERE instance = ?1 AND kind = ?2",
                            BIND(SQL_INT(instance), SQL_WORD(resource_kind, kind)), err);

    return r == -ENOENT ? 0 : r;
}
