/* How the database is found, checked, made and brought to this version. */
#include "daemon/store/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"

#define APPLICATION_ID 0x71766d64 /* "qvmd", in the header of the file */
#define SMALLEST       512        /* bytes of a page, at least */

static const char *shown_path(const struct store *store)
{
    return store->path != NULL ? store->path : "in memory";
}

/* ---- is it sound, and is it ours ---- */

static int on_check(void *data, const struct store_row *row)
{
    char *words = data;

    (void)snprintf(words, ERR_MSG_SIZE / 2, "%s", store_row_text(row, 0));
    return 0;
}

static int check_damage(struct store *store, struct err *err)
{
    char words[ERR_MSG_SIZE / 2] = "";
    struct err inner = {0};
    int r = store_run(store, "PRAGMA quick_check(1)", BIND_NONE, on_check, words, &inner);

    if (r == 0 && strcmp(words, "ok") == 0) {
        return 0;
    }
    if (r != 0 && !store->is_damaged) {
        return err_set(err, r, "%s", inner.msg);
    }
    store->is_damaged = true;
    store->degraded[0] = '\0'; /* it is put aside, not degraded */
    return err_set(err, -EIO, "the store '%s' is damaged (%s)", shown_path(store),
                   r == 0 ? words : inner.msg);
}

static int check_ours(struct store *store, int64_t *version, struct err *err)
{
    int64_t application = 0;
    int64_t tables = 0;
    int r = store_run_int(store, "PRAGMA application_id", BIND_NONE, &application, err);

    if (r == 0) {
        r = store_run_int(store, "PRAGMA user_version", BIND_NONE, version, err);
    }
    if (r == 0) {
        r = store_run_int(store, "SELECT count(*) FROM sqlite_schema", BIND_NONE, &tables, err);
    }
    if (r != 0) {
        return r;
    }
    if (application != APPLICATION_ID && (application != 0 || tables != 0)) {
        return err_set(err, -EIO, "'%s' is the database of another program", shown_path(store));
    }
    if (*version < 0 || *version > (int64_t)store->migration_count) {
        return err_set(err, -EOPNOTSUPP,
                       "the store '%s' was written by a newer qvmd (its version is %lld, this qvmd "
                       "knows up to %zu)",
                       shown_path(store), (long long)*version, store->migration_count);
    }
    return 0;
}

/* What is sound for sqlite3 may still make no sense to us. */
static int check_rows(struct store *store, int64_t version, struct err *err)
{
    struct store_instance *instances = NULL;
    struct store_guest *guests = NULL;
    size_t guest_count = 0, instance_count = 0;
    int r = 0;

    if (version != (int64_t)store_migration_count || store->migrations != store_migrations) {
        return 0; /* tables of another version: they are read when they are migrated */
    }
    r = store_guest_list(store, &guests, &guest_count, err);
    if (r == 0) {
        store_guests_free(guests, guest_count);
        r = store_instances_live(store, &instances, &instance_count, err);
        free(instances);
    }
    store->is_damaged = store->is_damaged || r == -EIO;
    return r;
}

/* ---- migrations ---- */

static int keep_copy(struct store *store, int64_t version, struct err *err)
{
    auto_free char *copy = NULL;
    mode_t saved;
    int r;

    if (asprintf(&copy, "%s.version-%lld", store->path, (long long)version) < 0) {
        copy = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (unlink(copy) != 0 && errno != ENOENT) {
        return err_sys(err, -errno, "cannot replace '%s'", copy);
    }
    saved = umask(077);
    r = store_run(store, "VACUUM INTO ?1", BIND(SQL_TEXT(copy)), NULL, NULL, err);
    (void)umask(saved);
    return r;
}

/* What fails here is rolled back by the end of the connection. */
static int migrate(struct store *store, int64_t version, struct err *err)
{
    char pragmas[96];
    int r;

    if (version == (int64_t)store->migration_count) {
        return 0;
    }
    r = version > 0 && store->path != NULL ? keep_copy(store, version, err) : 0;
    if (r == 0) {
        /* plain: the events of store_begin() have no table yet */
        r = store_script(store, "BEGIN IMMEDIATE", err);
    }
    for (; r == 0 && version < (int64_t)store->migration_count; version++) {
        r = store_script(store, store->migrations[version], err);
    }
    (void)snprintf(pragmas, sizeof(pragmas), "PRAGMA application_id=%d; PRAGMA user_version=%lld",
                   APPLICATION_ID, (long long)version);
    if (r == 0) {
        r = store_script(store, pragmas, err);
    }
    return r == 0 ? store_script(store, "COMMIT", err) : r;
}

/* ---- opening ---- */

/* The lock is taken: nobody else needs the file, so the index of the log stays in our memory
 * (EXCLUSIVE), and a full disk cannot keep us from reading. What a step of a transaction would undo
 * stays there, too (temp_store): over 64 KiB it became a file, which EXCLUSIVE kept for ever. */
static const char LOCKING[] = "PRAGMA locking_mode=EXCLUSIVE";
static const char SETTINGS[] = "PRAGMA journal_mode=WAL;"
                               "PRAGMA synchronous=FULL;"
                               "PRAGMA temp_store=MEMORY;"
                               "PRAGMA foreign_keys=ON";

static int open_database(struct store *store, const char *path, struct err *err)
{
    int64_t version = 0;
    int r = store_connect(store, path, err);

    if (r == 0) {
        r = store_script(store, LOCKING, err);
    }
    if (r == 0) {
        r = check_damage(store, err);
    }
    if (r == 0) {
        r = check_ours(store, &version, err);
    }
    if (r == 0) {
        r = store_script(store, SETTINGS, err);
    }
    if (r == 0) {
        r = check_rows(store, version, err);
    }
    if (r == 0) {
        r = migrate(store, version, err);
    }
    if (r != 0) {
        store_disconnect(store);
    }
    return r;
}

/* Make it with its mode before sqlite3 does; the log beside it gets the same mode. */
static int make_file(struct store *store, struct err *err)
{
    bool is_new = access(store->path, F_OK) != 0;
    auto_close int fd = open(store->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0) {
        int code =
            errno == EROFS || errno == EACCES || errno == EPERM || errno == ENOSPC ? EROFS : errno;

        return err_set(err, -code, "the store '%s' cannot be written: %s", store->path,
                       strerrordesc_np(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(err, -EIO, "the store '%s' is not a regular file", store->path);
    }
    if ((st.st_mode & 077) != 0 && fchmod(fd, 0600) != 0) {
        return err_sys(err, -errno, "cannot make '%s' private", store->path);
    }
    if (st.st_size > 0 && st.st_size < SMALLEST) {
        store->is_damaged = true; /* sqlite3 would take it for an empty one */
        return err_set(err, -EIO, "the store '%s' is damaged (%lld bytes are left of it)",
                       store->path, (long long)st.st_size);
    }
    if (!is_new && st.st_size == 0 && store->notice[0] == '\0') {
        (void)snprintf(store->notice, sizeof(store->notice),
                       "the store '%s' was empty: all that stood in it is lost", store->path);
    }
    return 0;
}

static int copy_file(const char *from, const char *to)
{
    auto_close int in = open(from, O_RDONLY | O_CLOEXEC);
    auto_close int out = -1;
    ssize_t n;

    if (in < 0) {
        return -errno;
    }
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0) {
        return -errno;
    }
    do {
        n = sendfile(out, in, NULL, 1u << 20);
    } while (n > 0);
    return n < 0 ? -errno : 0;
}

/* What cannot be written is read from a copy, so that its log is replayed: guests are found and
 * adopted even on a disk that went read-only. */
static int open_copy(struct store *store, struct err *err)
{
    static const char *const suffixes[] = {"", "-wal"};
    char directory[] = "/dev/shm/qvmd-XXXXXX";
    char target[ARRAY_LEN(suffixes)][64];
    int r = mkdtemp(directory) != NULL ? 0 : -errno;
    size_t done = 0;

    for (; r == 0 && done < ARRAY_LEN(suffixes); done++) {
        auto_free char *source = NULL;

        (void)snprintf(target[done], sizeof(target[done]), "%s/qvm.db%s", directory,
                       suffixes[done]);
        if (asprintf(&source, "%s%s", store->path, suffixes[done]) < 0) {
            source = NULL;
            r = -ENOMEM;
        } else {
            r = copy_file(source, target[done]);
            r = r == -ENOENT && done > 0 ? 0 : r; /* it was closed cleanly: there is no log */
        }
    }
    if (r != 0) {
        (void)err_sys(err, r, "the store '%s' can neither be written nor copied", store->path);
    } else {
        r = open_database(store, target[0], err);
    }
    while (done-- > 0) {
        (void)unlink(target[done]); /* the connection lives on without its name */
    }
    (void)rmdir(directory);
    return r;
}

/* Open it, or if it is damaged another one in its place, which is made first. */
static int open_or_replace(struct store *fresh, struct err *err)
{
    char aside[STORE_ASIDE_SIZE] = "";
    struct err why = {0};
    int r = fresh->path != NULL ? make_file(fresh, &why) : 0;

    if (r == 0) {
        r = open_database(fresh, fresh->path, &why);
    }
    if (r != 0 && fresh->is_damaged && fresh->path != NULL) {
        r = store_set_aside(fresh, why.msg, aside, &why);
        if (r == 0) {
            r = make_file(fresh, &why);
        }
        if (r == 0) {
            r = open_database(fresh, fresh->path, &why);
        }
        if (r == 0) {
            store_salvage(fresh, aside);
        }
    }
    return r != 0 ? err_set(err, r, "%s", why.msg) : 0;
}

int store_attach(struct store *store, struct err *err)
{
    struct err why = {0};
    struct store fresh = *store;
    int r;

    fresh.connection = (struct store_connection){0};
    fresh.is_damaged = false;
    fresh.waiting = (struct store_waiting){0};
    r = open_or_replace(&fresh, &why);
    memcpy(store->notice, fresh.notice, sizeof(store->notice));
    if (r == 0) {
        store_disconnect(store);
        store->connection = fresh.connection;
        store->is_read_only = false;
        store->degraded[0] = '\0';
        store_know_file(store);
        return 0;
    }
    if (r != -EROFS || store->path == NULL) {
        return err_set(err, r, "%s", why.msg);
    }
    if (store->connection.db == NULL) {
        r = open_copy(store, err);
        if (r != 0) {
            return r;
        }
    }
    store->is_read_only = true;
    (void)snprintf(store->degraded, sizeof(store->degraded), "%s", why.msg);
    return 0;
}

int store_open_with(const char *path, const char *const *migrations, size_t count,
                    struct store **store, struct err *err)
{
    struct store *made = calloc(1, sizeof(*made));
    int r = 0;

    if (made == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    made->lock_fd = -1;
    made->migrations = migrations;
    made->migration_count = count;
    if (path != NULL) {
        made->path = strdup(path);
        r = made->path != NULL ? store_lock_take(path, &made->lock_fd, err)
                               : err_set(err, -ENOMEM, "out of memory");
    }
    if (r == 0) {
        r = store_attach(made, err);
    }
    if (r != 0) {
        store_close(made);
        return r;
    }
    *store = made;
    return 0;
}

int store_open(const char *path, struct store **store, struct err *err)
{
    return store_open_with(path, store_migrations, store_migration_count, store, err);
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    store_disconnect(store);
    store_waiting_fini(&store->waiting);
    cleanup_close(&store->lock_fd); /* last: the next qvmd finds the database closed */
    free(store->path);
    free(store);
}
