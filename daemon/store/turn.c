/* Table `turn`: enabled guests that are still to be started, each when its turn comes. */
#include "daemon/store/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define COLUMNS "guest, boot_id, uid, begun"

/* One that waits already goes on to wait. */
static const char SQL_PUT[] =
    "INSERT INTO turn(" COLUMNS ") VALUES(?1, ?2, ?3, ?4) ON CONFLICT(guest) DO UPDATE"
    " SET boot_id = ?2, uid = ?3, begun = ?4 WHERE boot_id <> ?2";

int store_turn_put(struct store *store, const struct store_turn *turn, struct err *err)
{
    auto_tx struct store_tx tx = {0};
    int r = store_begin_light(store, &tx, err);

    if (r == 0) {
        r = store_run(store, SQL_PUT,
                      BIND(SQL_TEXT(turn->guest), SQL_TEXT(turn->boot_id), SQL_INT(turn->uid),
                           SQL_INT(turn->begun)),
                      NULL, NULL, err);
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

static int change(struct store *store, const char *sql, const char *guest, struct err *err)
{
    auto_tx struct store_tx tx = {0};
    int r = store_begin_light(store, &tx, err);

    if (r == 0) {
        r = store_run(store, sql, guest != NULL ? BIND(SQL_TEXT(guest)) : BIND_NONE, NULL, NULL,
                      err);
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

int store_turn_begin(struct store *store, const char *guest, struct err *err)
{
    return change(store, "UPDATE turn SET begun = begun + 1 WHERE guest = ?1", guest, err);
}

int store_turn_end(struct store *store, const char *guest, struct err *err)
{
    return change(store, "DELETE FROM turn WHERE guest = ?1", guest, err);
}

int store_turns_end(struct store *store, struct err *err)
{
    return change(store, "DELETE FROM turn", NULL, err);
}

struct turn_list {
    struct store_turn *turns;
    size_t count, room;
};

static int on_turn(void *data, const struct store_row *row)
{
    struct turn_list *list = data;
    struct store_turn *turn;

    if (list->count == list->room) {
        size_t room = list->room == 0 ? 16 : 2 * list->room;
        struct store_turn *grown = reallocarray(list->turns, room, sizeof(*grown));

        if (grown == NULL) {
            return -ENOMEM;
        }
        list->turns = grown;
        list->room = room;
    }
    turn = &list->turns[list->count++];
    (void)snprintf(turn->guest, sizeof(turn->guest), "%s", store_row_text(row, 0));
    (void)snprintf(turn->boot_id, sizeof(turn->boot_id), "%s", store_row_text(row, 1));
    turn->uid = (uid_t)store_row_int(row, 2);
    turn->begun = store_row_int(row, 3);
    return 0;
}

int store_turns_list(struct store *store, struct store_turn **turns, size_t *count, struct err *err)
{
    struct turn_list list = {0};
    int r = store_run(store, "SELECT " COLUMNS " FROM turn ORDER BY guest", BIND_NONE, on_turn,
                      &list, err);

    if (r != 0) {
        free(list.turns);
        return r;
    }
    *turns = list.turns;
    *count = list.count;
    return 0;
}
