/* Table `drain`: at most one row, while the host is drained. */
#include "daemon/store/inside.h"

#include <errno.h>
#include <stdio.h>

#define COLUMNS "boot_id, reason, is_kill, since, due_ns"

static const char SQL_PUT[] =
    "INSERT INTO drain(id, " COLUMNS ") VALUES(1, ?1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT(id) DO UPDATE SET boot_id = ?1, reason = ?2, is_kill = ?3, since = ?4,"
    " due_ns = ?5";

int store_drain_put(struct store *store, const struct store_drain *drain, struct err *err)
{
    return store_write_one(store, SQL_PUT,
                           BIND(SQL_TEXT(drain->boot_id), SQL_WORD(reason, drain->reason),
                                SQL_INT(drain->is_kill), SQL_TEXT(drain->since),
                                SQL_INT(drain->due_ns)),
                           err);
}

static int on_drain(void *data, const struct store_row *row)
{
    struct store_drain *drain = data;
    int reason = store_row_word(row, 1, &words_reason);

    if (reason < 0) {
        return -EIO;
    }
    (void)snprintf(drain->boot_id, sizeof(drain->boot_id), "%s", store_row_text(row, 0));
    drain->reason = (enum guest_reason)reason;
    drain->is_kill = store_row_int(row, 2) != 0;
    (void)snprintf(drain->since, sizeof(drain->since), "%s", store_row_text(row, 3));
    drain->due_ns = store_row_int(row, 4);
    return 0;
}

int store_drain_get(struct store *store, struct store_drain *drain, struct err *err)
{
    return store_run_one(store, "SELECT " COLUMNS " FROM drain", BIND_NONE, on_drain, drain, err);
}

int store_drain_end(struct store *store, struct err *err)
{
    int r = store_write_one(store, "DELETE FROM drain", BIND_NONE, err);

    return r == -ENOENT ? 0 : r;
}
