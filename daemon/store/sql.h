/* Inside the store: statements with bound values, for store_*.c and the rooms that own a table
 * (reserve). Nothing of sqlite shows here. Statements that write stand between store_begin() and
 * store_commit(). */
#ifndef QVM_DAEMON_STORE_SQL_H
#define QVM_DAEMON_STORE_SQL_H

#include <stddef.h>
#include <stdint.h>

#include "proto/words.h"

struct err;
struct store;

struct store_value {
    enum { SQL_END, SQL_IS_NULL, SQL_IS_INT, SQL_IS_TEXT } kind;
    int64_t number;
    const char *text;
};

#define SQL_INT(n) ((struct store_value){SQL_IS_INT, (int64_t)(n), NULL})
#define SQL_NULL   ((struct store_value){SQL_IS_NULL, 0, NULL})
/* A NULL text is NULL in the database too. */
#define SQL_TEXT(t)       ((struct store_value){SQL_IS_TEXT, 0, (t)})
#define SQL_WORD(list, w) SQL_TEXT(words_name(&words_##list, (int)(w)))

/* The values of ?1, ?2, ... */
#define BIND(...) ((const struct store_value[]){__VA_ARGS__, {SQL_END, 0, NULL}})
#define BIND_NONE ((const struct store_value[]){{SQL_END, 0, NULL}})

/* One row of a result; columns count from 0. Texts live until the row function returns. */
struct store_row;
int64_t store_row_int(const struct store_row *row, int column);
/* Never NULL: NULL in the database is "". */
const char *store_row_text(const struct store_row *row, int column);
/* A word of a closed list, or -1. */
int store_row_word(const struct store_row *row, int column, const struct word_table *table);

/* A negative return ends the statement and is returned. */
typedef int (*store_row_fn)(void *data, const struct store_row *row);

/* Run one statement; `on_row` (may be NULL) is called for each row of its result, and must not
 * call the store. -EROFS as of store.h, -EEXIST a constraint forbids it, -EIO otherwise. */
int store_run(struct store *store, const char *sql, const struct store_value *values,
              store_row_fn on_row, void *data, struct err *err);

/* The same; -ENOENT when no row came back or was changed, without words. */
int store_run_one(struct store *store, const char *sql, const struct store_value *values,
                  store_row_fn on_row, void *data, struct err *err);

/* The first column of the first row. -ENOENT as above. */
int store_run_int(struct store *store, const char *sql, const struct store_value *values,
                  int64_t *number, struct err *err);

/* A write that stands alone: begin, run, commit. */
int store_write_one(struct store *store, const char *sql, const struct store_value *values,
                    struct err *err);

/* ---- how the database is made ---- */

/* store_open() with other migrations, for tests of migrating: element n leads from version n to
 * n + 1. */
int store_open_with(const char *path, const char *const *migrations, size_t count,
                    struct store **store, struct err *err);

#endif
