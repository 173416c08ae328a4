/* Table `helper`: processes that serve images beside the qvm of an instance. */
#include "daemon/store/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int change(struct store *store, const char *sql, const struct store_value *values,
                  struct err *err)
{
    auto_tx struct store_tx tx = {0};
    int r = store_begin_light(store, &tx, err);

    r = r == 0 ? store_run(store, sql, values, NULL, NULL, err) : r;
    return r == 0 ? store_commit(&tx, err) : r;
}

int store_helper_put(struct store *store, int64_t instance, const struct store_helper *helper,
                     struct err *err)
{
    return change(store,
                  "INSERT INTO helper(instance, item, pid, start_ticks, path, format, is_writable,"
                  " vdev)"
                  " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(instance, item)"
                  " DO UPDATE SET pid = ?3, start_ticks = ?4, path = ?5, format = ?6,"
                  " is_writable = ?7, vdev = ?8",
                  BIND(SQL_INT(instance), SQL_INT(helper->item), SQL_INT(helper->pid),
                       SQL_INT((int64_t)helper->start_ticks), SQL_TEXT(helper->path),
                       SQL_TEXT(helper->format), SQL_INT(helper->is_writable),
                       SQL_TEXT(helper->vdev)),
                  err);
}

int store_helper_lose(struct store *store, int64_t instance, pid_t pid, struct err *err)
{
    return change(store, "UPDATE helper SET pid = 0 WHERE instance = ?1 AND pid = ?2",
                  BIND(SQL_INT(instance), SQL_INT(pid)), err);
}

int store_helper_end(struct store *store, int64_t instance, pid_t pid, struct err *err)
{
    return change(store, "DELETE FROM helper WHERE instance = ?1 AND pid = ?2",
                  BIND(SQL_INT(instance), SQL_INT(pid)), err);
}

struct helper_list {
    struct store_helper *helpers;
    size_t count;
};

static int on_helper(void *data, const struct store_row *row)
{
    struct helper_list *list = data;
    struct store_helper *grown =
        reallocarray(list->helpers, list->count + 1, sizeof(*list->helpers));

    if (grown == NULL) {
        return -ENOMEM;
    }
    list->helpers = grown;
    grown += list->count;
    *grown = (struct store_helper){0};
    grown->pid = (pid_t)store_row_int(row, 0);
    grown->start_ticks = (uint64_t)store_row_int(row, 1);
    grown->path = strdup(store_row_text(row, 2));
    grown->instance = store_row_int(row, 3);
    (void)snprintf(grown->boot_id, sizeof(grown->boot_id), "%s", store_row_text(row, 4));
    grown->item = store_row_int(row, 5);
    (void)snprintf(grown->format, sizeof(grown->format), "%s", store_row_text(row, 6));
    grown->is_writable = store_row_int(row, 7) != 0;
    (void)snprintf(grown->vdev, sizeof(grown->vdev), "%s", store_row_text(row, 8));
    list->count += grown->path != NULL;
    return grown->path != NULL ? 0 : -ENOMEM;
}

static const char SQL_LIST[] =
    "SELECT helper.pid, helper.start_ticks, path, instance, boot_id, item, format, is_writable,"
    " helper.vdev"
    " FROM helper JOIN instance"
    " ON instance.id = helper.instance"
    " WHERE iif(?1 = 0, instance.ended IS NOT NULL, instance.id = ?1)";

int store_helpers_list(struct store *store, int64_t instance, struct store_helper **helpers,
                       size_t *count, struct err *err)
{
    struct helper_list list = {0};
    int r = store_run(store, SQL_LIST, BIND(SQL_INT(instance)), on_helper, &list, err);

    if (r != 0) {
        store_helpers_free(list.helpers, list.count);
        return r;
    }
    *helpers = list.helpers;
    *count = list.count;
    return 0;
}

void store_helpers_free(struct store_helper *helpers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(helpers[i].path);
    }
    free(helpers);
}
