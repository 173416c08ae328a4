/* Who holds what of the host: lists. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/reserve.h"
#include "daemon/store/sql.h"
#include "daemon/store/store.h"

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
    held->where = strdup(store_row_text(row, 5));
    return held->id != NULL && held->name != NULL && held->where != NULL ? 0 : -ENOMEM;
}

int reserve_list(struct store *store, int64_t instance, struct reserve_held **held, size_t *count,
                 struct err *err)
{
    struct held_list list = {0};
    int r = store_run(store,
                      "SELECT kind, resource, name, amount, is_exclusive, place FROM claim"
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
        free(held[i].where);
    }
    free(held);
}

struct share_list {
    struct reserve_share *shares;
    size_t count, room;
};

static int on_share(void *data, const struct store_row *row)
{
    struct share_list *list = data;
    struct reserve_share *share;

    if (list->count == list->room) {
        size_t room = list->room == 0 ? 16 : 2 * list->room;
        struct reserve_share *grown = reallocarray(list->shares, room, sizeof(*grown));

        if (grown == NULL) {
            return -ENOMEM;
        }
        list->shares = grown;
        list->room = room;
    }
    share = &list->shares[list->count++];
    (void)snprintf(share->guest, sizeof(share->guest), "%s", store_row_text(row, 0));
    (void)snprintf(share->pool, sizeof(share->pool), "%s", store_row_text(row, 1));
    share->pid = store_row_int(row, 2);
    share->amount = store_row_int(row, 3);
    return 0;
}

int reserve_shares(struct store *store, struct reserve_share **shares, size_t *count,
                   struct err *err)
{
    struct share_list list = {0};
    int r = store_run(store,
                      "SELECT instance.guest, claim.resource, instance.pid, claim.amount FROM claim"
                      " JOIN instance ON instance.id = claim.instance WHERE claim.kind = ?1"
                      " ORDER BY instance.guest",
                      BIND(SQL_WORD(resource_kind, RESOURCE_memory)), on_share, &list, err);

    if (r != 0) {
        free(list.shares);
        return r;
    }
    *shares = list.shares;
    *count = list.count;
    return 0;
}
