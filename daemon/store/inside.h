/* The store's own insides: for store*.c alone. */
#ifndef QVM_DAEMON_STORE_INSIDE_H
#define QVM_DAEMON_STORE_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/store/sql.h"
#include "daemon/store/store.h"
#include "proto/base/err.h"

struct msg_event;
struct sqlite3;
struct sqlite3_stmt;

#define STORE_STATEMENTS_MAX 64  /* more than the store has */
#define STORE_ASIDE_SIZE     512 /* bytes of the path of a database that was put aside */

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

/* The call that is to be written with the next transaction. */
struct store_rider {
    const struct store_request *request; /* NULL: none */
    bool is_written;
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
    uint64_t device, inode;      /* of the file that is open; 0: none, or a copy */
    char degraded[ERR_MSG_SIZE]; /* why it cannot be written; empty: it can */
    char notice[ERR_MSG_SIZE];   /* what has become of the database; empty: nothing to tell */
    struct store_waiting waiting;
    struct store_rider rider;
};

/* Connect to the file (NULL: memory), or drop the connection. */
int store_connect(struct store *store, const char *path, struct err *err);
void store_disconnect(struct store *store);

/* Closing the connection is not to remove the log: its name is another database's by now. */
void store_leave_log(struct store *store);

/* Run several statements without values or results. */
int store_script(struct store *store, const char *sql, struct err *err);

/* Take the lock file of the database at `path`; `*fd` holds it until it is closed. */
int store_lock_take(const char *path, int *fd, struct err *err);

/* Open the database of a store whose path, lock and migrations are set. */
int store_attach(struct store *store, struct err *err);

/* ---- rescue.c ---- */

/* Put a database that is damaged aside under a name that says so, with its log, and tell of it.
 * `why`: what is wrong with it. The next store_attach() makes another one. */
int store_set_aside(struct store *store, const char *why, char aside[STORE_ASIDE_SIZE],
                    struct err *err);

/* All guests that can be read before something cannot. */
void store_guest_salvage(struct store *store, struct store_guest **guests, size_t *count);

/* Take over from a database that was put aside what can still be read of its guests. */
void store_salvage(struct store *store, const char *aside);

/* Is the file at our path still the one that is open? If it was deleted, write it anew from what
 * is open. -EROFS: that failed, or another file lies there. */
int store_check_file(struct store *store, struct err *err);

/* Remember which file is open. */
void store_know_file(struct store *store);

extern const char *const store_migrations[];
extern const size_t store_migration_count;

/* Write the waiting events; called when an outermost transaction begins. */
int store_event_flush(struct store *store, struct err *err);
/* The transaction was committed: they are in the database now. */
void store_event_flushed(struct store *store);
void store_waiting_fini(struct store_waiting *waiting);

/* The same for the call that rides along; and that it has begun an instance. */
int store_request_flush(struct store *store, struct err *err);
void store_request_flushed(struct store *store);
int store_request_began(struct store *store, int64_t instance, struct err *err);

#endif
