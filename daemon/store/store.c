/* What must outlive qvmd: the connection, statements and transactions. The only user of sqlite3. */
#include "daemon/store/inside.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "daemon/crash_point.h"
#include "proto/base/cleanup.h"

#define OPEN_BUSY_MS 2000 /* how long somebody's sqlite3 shell may delay our start */

struct store_row {
    sqlite3_stmt *statement;
};

/* ---- errors ---- */

static bool is_unusable(int result)
{
    switch (result & 0xff) {
    case SQLITE_READONLY:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_BUSY:
        return true;
    default:
        return false;
    }
}

static const char *shown_path(const struct store *store)
{
    return store->path != NULL ? store->path : "in memory";
}

/* Some errors roll the whole transaction back: what would follow must not stand alone. */
static void note_rollback(struct store *store)
{
    if (store->depth > 0 && sqlite3_get_autocommit(store->connection.db) != 0) {
        store->is_broken = true;
    }
}

static int fail_unusable(const struct store *store, struct err *err)
{
    (void)err_set(err, -EROFS, "%s", store->degraded);
    return -EROFS;
}

/* Translate a result of sqlite3. */
static int fail(struct store *store, int result, struct err *err)
{
    const char *words = store->connection.db != NULL ? sqlite3_errmsg(store->connection.db)
                                                     : sqlite3_errstr(result);
    const char *path = shown_path(store);

    if (result == SQLITE_NOMEM) {
        note_rollback(store);
        return err_set(err, -ENOMEM, "out of memory");
    }
    if ((result & 0xff) == SQLITE_CORRUPT || (result & 0xff) == SQLITE_NOTADB) {
        store->is_damaged = true;
    }
    if (is_unusable(result)) {
        (void)snprintf(store->degraded, sizeof(store->degraded),
                       store->is_damaged ? "the store '%s' is damaged (%s): guests run on; restart "
                                           "qvmd, which puts it aside and makes another"
                                         : "the store '%s' cannot be written: %s",
                       path, words);
        note_rollback(store);
        return fail_unusable(store, err);
    }
    if ((result & 0xff) == SQLITE_CONSTRAINT) {
        return err_set(err, -EEXIST, "the store '%s' does not allow it: %s", path, words);
    }
    note_rollback(store);
    return err_set(err, -EIO, "the store '%s' failed: %s", path, words);
}

/* ---- the connection ---- */

int store_connect(struct store *store, const char *path, struct err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int result;

    if (path == NULL) {
        flags |= SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY;
    }
    result = sqlite3_open_v2(path != NULL ? path : ":memory:", &store->connection.db, flags, NULL);
    if (result != SQLITE_OK) {
        result = fail(store, result, err);
        store_disconnect(store);
        return result;
    }
    (void)sqlite3_extended_result_codes(store->connection.db, 1);
    (void)sqlite3_busy_timeout(store->connection.db, OPEN_BUSY_MS);
    (void)sqlite3_db_config(store->connection.db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return 0;
}

void store_disconnect(struct store *store)
{
    struct store_connection *connection = &store->connection;

    for (size_t i = 0; i < connection->statement_count; i++) {
        (void)sqlite3_finalize(connection->statements[i]); /* repeats an error that was told */
    }
    connection->statement_count = 0;
    /* fails only with statements left open, which would be a bug */
    (void)sqlite3_close(connection->db);
    connection->db = NULL;
}

void store_leave_log(struct store *store)
{
    int yes = 1;

    (void)sqlite3_file_control(store->connection.db, "main", SQLITE_FCNTL_PERSIST_WAL, &yes);
}

int store_script(struct store *store, const char *sql, struct err *err)
{
    int result = sqlite3_exec(store->connection.db, sql, NULL, NULL, NULL);

    return result == SQLITE_OK ? 0 : fail(store, result, err);
}

const char *store_take_notice(struct store *store, char text[STORE_MESSAGE_SIZE])
{
    if (store->notice[0] == '\0') {
        return NULL;
    }
    (void)snprintf(text, STORE_MESSAGE_SIZE, "%s", store->notice);
    store->notice[0] = '\0';
    return text;
}

const char *store_degraded(const struct store *store)
{
    return store->degraded[0] != '\0' ? store->degraded : NULL;
}

/* ---- statements ---- */

/* PRAGMAs may act when they are prepared, so they are prepared each time. */
static bool may_keep(const struct store_connection *connection, const char *sql)
{
    return connection->statement_count < STORE_STATEMENTS_MAX && strncmp(sql, "PRAGMA", 6) != 0;
}

/* A statement that is ready for values; `*is_kept`: it belongs to the connection. */
static int prepare(struct store_connection *connection, const char *sql, sqlite3_stmt **statement,
                   bool *is_kept)
{
    int result;

    for (size_t i = 0; i < connection->statement_count; i++) {
        *statement = connection->statements[i];
        if (strcmp(sqlite3_sql(*statement), sql) == 0 && sqlite3_stmt_busy(*statement) == 0) {
            *is_kept = true;
            return SQLITE_OK;
        }
    }
    *is_kept = may_keep(connection, sql);
    result = sqlite3_prepare_v3(connection->db, sql, -1, *is_kept ? SQLITE_PREPARE_PERSISTENT : 0,
                                statement, NULL);
    *is_kept = *is_kept && result == SQLITE_OK;
    if (*is_kept) {
        connection->statements[connection->statement_count++] = *statement;
    }
    return result;
}

/* Both repeat what the last step reported. */
static void put_back(sqlite3_stmt *statement, bool is_kept)
{
    if (is_kept) {
        (void)sqlite3_reset(statement);
        (void)sqlite3_clear_bindings(statement);
    } else {
        (void)sqlite3_finalize(statement);
    }
}

static int bind(sqlite3_stmt *statement, const struct store_value *values)
{
    int result = SQLITE_OK;

    for (int i = 0; result == SQLITE_OK && values[i].kind != SQL_END; i++) {
        if (values[i].kind == SQL_IS_INT) {
            result = sqlite3_bind_int64(statement, i + 1, values[i].number);
        } else if (values[i].kind == SQL_IS_TEXT && values[i].text != NULL) {
            result = sqlite3_bind_text(statement, i + 1, values[i].text, -1, SQLITE_STATIC);
        }
    }
    return result;
}

int64_t store_row_int(const struct store_row *row, int column)
{
    return sqlite3_column_int64(row->statement, column);
}

const char *store_row_text(const struct store_row *row, int column)
{
    const unsigned char *text = sqlite3_column_text(row->statement, column);

    return text != NULL ? (const char *)text : "";
}

int store_row_word(const struct store_row *row, int column, const struct word_table *table)
{
    return words_find(table, store_row_text(row, column));
}

static int step(struct store *store, sqlite3_stmt *statement, store_row_fn on_row, void *data,
                int64_t *row_count, struct err *err)
{
    struct store_row row = {statement};
    int result = sqlite3_step(statement);
    int r = 0;

    for (; result == SQLITE_ROW && r >= 0; result = sqlite3_step(statement)) {
        (*row_count)++;
        r = on_row != NULL ? on_row(data, &row) : 0;
        if (r < 0) {
            return r == -ENOMEM ? err_set(err, r, "out of memory")
                                : err_set(err, r, "the store '%s' holds a row that makes no sense",
                                          shown_path(store));
        }
    }
    return result == SQLITE_DONE ? 0 : fail(store, result, err);
}

/* `*row_count`: rows that came back or were changed. */
static int run(struct store *store, const char *sql, const struct store_value *values,
               store_row_fn on_row, void *data, int64_t *row_count, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    sqlite3_int64 changes;
    bool is_kept = false;
    int result;
    int r;

    *row_count = 0;
    if (store->is_broken) {
        return fail_unusable(store, err);
    }
    changes = sqlite3_total_changes64(store->connection.db);
    result = prepare(&store->connection, sql, &statement, &is_kept);
    if (result == SQLITE_OK) {
        result = bind(statement, values);
    }
    if (result == SQLITE_OK) {
        r = step(store, statement, on_row, data, row_count, err);
    } else {
        r = fail(store, result, err);
    }
    put_back(statement, is_kept);
    *row_count += sqlite3_total_changes64(store->connection.db) - changes;
    return r;
}

int store_run(struct store *store, const char *sql, const struct store_value *values,
              store_row_fn on_row, void *data, struct err *err)
{
    int64_t row_count;

    return run(store, sql, values, on_row, data, &row_count, err);
}

int store_run_one(struct store *store, const char *sql, const struct store_value *values,
                  store_row_fn on_row, void *data, struct err *err)
{
    int64_t row_count;
    int r = run(store, sql, values, on_row, data, &row_count, err);

    return r == 0 && row_count == 0 ? -ENOENT : r;
}

static int on_int(void *data, const struct store_row *row)
{
    int64_t *number = data;

    *number = store_row_int(row, 0);
    return 0;
}

int store_run_int(struct store *store, const char *sql, const struct store_value *values,
                  int64_t *number, struct err *err)
{
    return store_run_one(store, sql, values, on_int, number, err);
}

/* ---- transactions ---- */

/* After the outermost transaction: what follows is durable again. */
static void end_light(struct store *store)
{
    if (store->is_light && store->depth == 0) {
        store->is_light = store_script(store, "PRAGMA synchronous=FULL", NULL) != 0;
    }
}

int store_begin(struct store *store, struct store_tx *tx, struct err *err)
{
    int r;

    if (store->is_broken || store->is_read_only || store->is_damaged) {
        return fail_unusable(store, err);
    }
    if (store->depth == 0 && store->inode != 0) {
        r = store_check_file(store, err);
        if (r != 0) {
            return r;
        }
    }
    r = store_run(store, store->depth == 0 ? "BEGIN IMMEDIATE" : "SAVEPOINT inner", BIND_NONE, NULL,
                  NULL, err);
    if (r != 0) {
        return r;
    }
    tx->store = store;
    tx->depth = ++store->depth;
    r = tx->depth == 1 ? store_event_flush(store, err) : 0;
    if (r == 0 && tx->depth == 1) {
        r = store_request_flush(store, err);
    }
    if (r != 0) {
        store_rollback(tx);
    }
    return r;
}

int store_begin_light(struct store *store, struct store_tx *tx, struct err *err)
{
    int r = 0;

    if (store->depth == 0) {
        store->is_light = true;
        r = store_script(store, "PRAGMA synchronous=NORMAL", err);
    }
    if (r == 0) {
        r = store_begin(store, tx, err);
    }
    if (r != 0) {
        end_light(store);
    }
    return r;
}

int store_commit(struct store_tx *tx, struct err *err)
{
    struct store *store = tx->store;
    bool is_outermost = tx->depth == 1;
    int r;

    assert(store != NULL && tx->depth == store->depth);
    if (store->is_broken) {
        r = fail_unusable(store, err);
        store_rollback(tx);
        return r;
    }
    if (is_outermost) {
        crash_point("before the commit");
    }
    r = store_run(store, is_outermost ? "COMMIT" : "RELEASE inner", BIND_NONE, NULL, NULL, err);
    if (r != 0) {
        store_rollback(tx);
        return r;
    }
    store->depth--;
    tx->store = NULL;
    if (is_outermost) {
        crash_point("after the commit");
        store->degraded[0] = '\0';
        store_event_flushed(store);
        store_request_flushed(store);
        end_light(store);
    }
    return 0;
}

void store_rollback(struct store_tx *tx)
{
    struct store *store = tx->store;

    if (store == NULL) {
        return;
    }
    assert(tx->depth == store->depth);
    /* What fails here leaves the transaction broken, and the outermost one undoes it. */
    if (tx->depth > 1) {
        if (!store->is_broken &&
            store_script(store, "ROLLBACK TO inner; RELEASE inner", NULL) != 0) {
            store->is_broken = true;
        }
    } else {
        if (sqlite3_get_autocommit(store->connection.db) == 0) {
            (void)store_script(store, "ROLLBACK", NULL);
        }
        store->is_broken = false;
        store->waiting.flushed = 0;
    }
    store->depth--;
    tx->store = NULL;
    end_light(store);
}

int store_write_one(struct store *store, const char *sql, const struct store_value *values,
                    struct err *err)
{
    auto_tx struct store_tx tx = {0};
    int r = store_begin(store, &tx, err);

    if (r == 0) {
        r = store_run_one(store, sql, values, NULL, NULL, err);
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

/* The same value again: a page has to be written, and nothing is changed. */
static int touch(struct store *store, struct err *err)
{
    auto_tx struct store_tx tx = {0};
    char words[48];
    int r = store_begin(store, &tx, err);

    if (r == 0) {
        (void)snprintf(words, sizeof(words), "PRAGMA user_version=%zu", store->migration_count);
        r = store_script(store, words, err);
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

int store_flush(struct store *store, struct err *err)
{
    return store->degraded[0] == '\0' ? touch(store, err) : fail_unusable(store, err);
}

int store_retry(struct store *store, struct err *err)
{
    int r = 0;

    if (store->is_read_only) {
        r = store_attach(store, err);
        if (r != 0 || store->is_read_only) {
            return fail_unusable(store, err);
        }
    }
    return touch(store, err);
}
