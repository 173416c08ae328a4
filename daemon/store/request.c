/* Table `request`: calls that may be repeated, and how they ended. */
#include "daemon/store/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_NS (STORE_REQUEST_HOURS * INT64_C(3600) * 1000000000)

static const char SQL_PUT[] =
    "INSERT INTO request(uid, id, method, digest, begun, instance, answer)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"
    " ON CONFLICT(uid, id) DO UPDATE SET answer = coalesce(?7, answer)";
static const char SQL_TRIM[] =
    "DELETE FROM request WHERE begun < ?2 OR (uid = ?1 AND number NOT IN"
    " (SELECT number FROM request WHERE uid = ?1 ORDER BY number DESC LIMIT ?3))";

/* In the open transaction. */
static int put(struct store *store, const struct store_request *request, struct err *err)
{
    int r = store_run(store, SQL_PUT,
                      BIND(SQL_INT(request->uid), SQL_TEXT(request->id), SQL_TEXT(request->method),
                           SQL_TEXT(request->digest), SQL_INT(request->begun_ns),
                           SQL_INT(request->instance), SQL_TEXT(request->answer)),
                      NULL, NULL, err);

    if (r == 0) {
        r = store_run(store, SQL_TRIM,
                      BIND(SQL_INT(request->uid), SQL_INT(request->begun_ns - KEPT_NS),
                           SQL_INT(STORE_REQUESTS_MAX)),
                      NULL, NULL, err);
    }
    return r;
}

/* ---- with what is done for it ---- */

void store_request_ride(struct store *store, const struct store_request *request)
{
    store->rider = (struct store_rider){.request = request};
}

bool store_request_is_written(const struct store *store)
{
    return store->rider.is_written;
}

bool store_request_leave(struct store *store)
{
    bool is_written = store->rider.is_written;

    store->rider = (struct store_rider){0};
    return is_written;
}

int store_request_flush(struct store *store, struct err *err)
{
    if (store->rider.request == NULL || store->rider.is_written) {
        return 0;
    }
    return put(store, store->rider.request, err);
}

void store_request_flushed(struct store *store)
{
    store->rider.is_written = store->rider.request != NULL;
}

int store_request_began(struct store *store, int64_t instance, struct err *err)
{
    const struct store_request *request = store->rider.request;

    if (request == NULL) {
        return 0;
    }
    return store_run(store, "UPDATE request SET instance = ?3 WHERE uid = ?1 AND id = ?2",
                     BIND(SQL_INT(request->uid), SQL_TEXT(request->id), SQL_INT(instance)), NULL,
                     NULL, err);
}

/* ---- its answer, and who asks for it ---- */

int store_request_finish(struct store *store, const struct store_request *request, struct err *err)
{
    auto_tx struct store_tx tx = {0};
    int r = store_begin_light(store, &tx, err);

    if (r == 0) {
        r = put(store, request, err);
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

static int on_request(void *data, const struct store_row *row)
{
    struct store_request *request = data;

    (void)snprintf(request->method, sizeof(request->method), "%s", store_row_text(row, 0));
    (void)snprintf(request->digest, sizeof(request->digest), "%s", store_row_text(row, 1));
    request->begun_ns = store_row_int(row, 2);
    request->instance = store_row_int(row, 3);
    if (store_row_text(row, 4)[0] != '\0') {
        free(request->answer);
        request->answer = strdup(store_row_text(row, 4));
        return request->answer != NULL ? 0 : -ENOMEM;
    }
    return 0;
}

int store_request_get(struct store *store, uid_t uid, const char *id, int64_t now_ns,
                      struct store_request *request, struct err *err)
{
    struct store_request found = {.uid = uid};
    int r;

    (void)snprintf(found.id, sizeof(found.id), "%s", id);
    r = store_run_one(store,
                      "SELECT method, digest, begun, instance, answer FROM request"
                      " WHERE uid = ?1 AND id = ?2 AND begun >= ?3",
                      BIND(SQL_INT(uid), SQL_TEXT(id), SQL_INT(now_ns - KEPT_NS)), on_request,
                      &found, err);
    if (r == 0) {
        *request = found;
    } else {
        store_request_fini(&found);
    }
    return r;
}

void store_request_fini(struct store_request *request)
{
    free(request->answer);
    request->answer = NULL;
}
