/* Who holds what of the host: table `claim` in the store. */
#include "daemon/reserve.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store.h"
#include "daemon/store_sql.h"
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

/* Whether the pool has that much left. */
static int check_pool(struct store *store, const struct reserve_item *item, int64_t total,
                      struct err *err)
{
    const char *pool = item->kind == RESOURCE_memory ? RESERVE_MEMORY_POOL : RESERVE_CPU_POOL;
    struct holder largest = {0};
    int64_t sum = 0;
    int64_t left;
    int r;

    if (strcmp(item->id, pool) != 0) {
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
    return item->kind == RESOURCE_memory ? refuse_memory(item, total, left, &largest, err)
                                         : refuse_cpus(item, total, left, &largest, err);
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
            return err_set(err, -EBUSY, "'%s' is asked for twice, and once for writing (%s)",
                           shown_name(item),
                           items[i].where != NULL ? items[i].where : shown_name(&items[i]));
        }
    }
    return 0;
}

/* ---- claiming ---- */

/* What an instance has already it may ask for again: amounts add up, and writing stays writing. */
static const char SQL_CLAIM[] =
    "INSERT INTO claim(kind, resource, name, amount, is_exclusive, instance)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(instance, kind, resource) DO UPDATE SET"
    " amount = amount + ?4, is_exclusive = max(is_exclusive, ?5)";

static int claim_one(struct store *store, const struct reserve_limits *limits, int64_t instance,
                     const struct reserve_item *items, size_t index, struct err *err)
{
    const struct reserve_item *item = &items[index];
    bool is_pool = item->kind == RESOURCE_memory || item->kind == RESOURCE_cpu;
    int r;

    if (is_pool) {
        r = check_pool(store, item, item->kind == RESOURCE_memory ? limits->memory : limits->cpus,
                       err);
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
                          SQL_INT(item->is_exclusive), SQL_INT(instance)),
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

/* ---- lists ---- */

struct held_list {
    struct reserve_held *held;
    size_t count, room;
};

static int on_held(void *data, const struct store_row *row)
{
    struct held_list *list = data;
    int kind = store_row_word(row, 0, &words_resource_kind);
    struct reserve_held *held;

    if (kind < 0) {
        return -EIO;
    }
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 16 : 2 * list->room;
        struct reserve_held *grown = reallocarray(list->held, room, sizeof(*grown));

        if (grown == NULL) {
            return -ENOMEM;
        }
        list->held = grown;
        list->room = room;
    }
    held = &list->held[list->count++];
    held->kind = (enum resource_kind)kind;
    held->id = strdup(store_row_text(row, 1));
    held->name = strdup(store_row_text(row, 2));
    held->amount = store_row_int(row, 3);
    held->is_exclusive = store_row_int(row, 4) != 0;
    return held->id != NULL && held->name != NULL ? 0 : -ENOMEM;
}

int reserve_list(struct store *store, int64_t instance, struct reserve_held **held, size_t *count,
                 struct err *err)
{
    struct held_list list = {0};
    int r = store_run(store,
                      "SELECT kind, resource, name, amount, is_exclusive FROM claim"
                      " WHERE instance = ?1 ORDER BY id",
                      BIND(SQL_INT(instance)), on_held, &list, err);

    if (r != 0) {
        reserve_held_free(list.held, list.count);
        return r;
    }
    *held = list.held;
    *count = list.count;
    return 0;
}

void reserve_held_free(struct reserve_held *held, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(held[i].id);
        free(held[i].name);
    }
    free(held);
}
