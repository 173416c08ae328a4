/* The store's own insides: for store*.c alone. */
#ifndef QVM_DAEMON_STORE_INSIDE_H
#define QVM_DAEMON_STORE_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/store.h"
#include "daemon/store_sql.h"
#include "proto/base/err.h"

struct msg_event;
struct sqlite3;
struct sqlite3_stmt;

#define STORE_STATEMENTS_MAX 64 /* more than the store has */

/* The database, and the statements that it was asked before, ready to be asked again. */
struct store_connection {
    struct sqlite3 *db;
    struct sqlite3_stmt *statements[STORE_STATEMENTS_MAX];
    size_t statement_count;
};

/* Events that could not be written yet. */
struct store_waiting {
    struct msg_event *events; /* in order of seq, at most STORE_EVENTS_MAX */
    size_t count, room;
    size_t flushed;     /* how many of them the open transaction has written */
    int64_t last_known; /* newest seq that was ever seen */
};

struct store {
    struct store_connection connection;
    char *path;  /* NULL: in memory */
    int lock_fd; /* -1: in memory */
    const char *const *migrations;
    size_t migration_count;
    int depth;         /* of nested transactions */
    bool is_light;     /* the open transaction may be lost with the machine, not with qvmd */
    bool is_broken;    /* the open transaction was rolled back by an error; nothing may follow */
    bool is_damaged;   /* sqlite3 found what it cannot have written */
    bool is_read_only; /* a copy of a database that cannot be written */
    char degraded[ERR_MSG_SIZE]; /* why it cannot be written; empty: it can */
    struct store_waiting waiting;
};

/* Connect to the file (NULL: memory), or drop the connection. */
int store_connect(struct store *store, const char *path, struct err *err);
void store_disconnect(struct store *store);

/* Run several statements without values or results. */
int store_script(struct store *store, const char *sql, struct err *err);

/* Take the lock file of the database at `path`; `*fd` holds it until it is closed. */
int store_lock_take(const char *path, int *fd, struct err *err);

/* Open the database of a store whose path, lock and migrations are set. */
int store_attach(struct store *store, struct err *err);

extern const char *const store_migrations[];
extern const size_t store_migration_count;

/* Write the waiting events; called when an outermost transaction begins. */
int store_event_flush(struct store *store, struct err *err);
/* The transaction was committed: they are in the database now. */
void store_event_flushed(struct store *store);
void store_waiting_fini(struct store_waiting *waiting);

#endif
