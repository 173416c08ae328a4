/* What is done when the database is damaged or deleted: nothing of it is thrown away, and nothing
 * happens silently. */
#include "daemon/store/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/crash_point.h"
#include "proto/base/cleanup.h"

static int move(const char *from, const char *to)
{
    return rename(from, to) == 0 ? 0 : -errno;
}

/* The log goes along, so that sqlite3's tools can look at both. */
int store_set_aside(struct store *store, const char *why, char aside[STORE_ASIDE_SIZE],
                    struct err *err)
{
    auto_free char *log = NULL;
    char aside_log[STORE_ASIDE_SIZE + sizeof("-wal")];
    char stamp[32];
    struct tm utc;
    time_t now = time(NULL);
    int r;

    (void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc));
    (void)snprintf(aside, STORE_ASIDE_SIZE, "%s.damaged-%s", store->path, stamp);
    (void)snprintf(aside_log, sizeof(aside_log), "%s-wal", aside);
    if (strlen(store->path) + sizeof(".damaged-") + strlen(stamp) > STORE_ASIDE_SIZE ||
        asprintf(&log, "%s-wal", store->path) < 0) {
        log = NULL;
        return err_set(err, -EIO, "%s; it was left as it is", why);
    }
    r = access(aside, F_OK) == 0 ? -EEXIST : move(log, aside_log);
    if (r == 0 || r == -ENOENT) {
        r = move(store->path, aside);
    }
    if (r < 0) {
        return err_set(err, -EIO,
                       "%s; it was left as it is, since it cannot be put aside as '%s' (%s)", why,
                       aside, strerrordesc_np(-r));
    }
    crash_point("damaged store put aside");
    store->is_damaged = false;
    store->degraded[0] = '\0';
    (void)snprintf(store->notice, sizeof(store->notice), "%.500s: it was put aside as '%.400s'",
                   why, aside);
    return 0;
}

void store_salvage(struct store *store, const char *aside)
{
    struct store damaged = {
        .migrations = store->migrations, .migration_count = store->migration_count, .lock_fd = -1};
    struct store_guest *guests = NULL;
    size_t count = 0, saved = 0;
    size_t used = strlen(store->notice);
    char copy[STORE_ASIDE_SIZE];

    (void)snprintf(copy, sizeof(copy), "%s", aside);
    damaged.path = copy;
    if (store_connect(&damaged, aside, NULL) == 0) {
        store_guest_salvage(&damaged, &guests, &count);
    }
    store_disconnect(&damaged);
    for (size_t i = 0; i < count; i++) {
        guests[i].desired = STATE_stopped;
        saved += store_guest_put(store, &guests[i], NULL, NULL) == 0;
    }
    store_guests_free(guests, count);
    (void)snprintf(store->notice + used, sizeof(store->notice) - used,
                   "; %zu definitions of guests were read from it", saved);
}

/* ---- deleted while it is open ---- */

void store_know_file(struct store *store)
{
    struct stat st;

    store->device = store->inode = 0;
    if (store->path != NULL && !store->is_read_only && stat(store->path, &st) == 0) {
        store->device = st.st_dev;
        store->inode = st.st_ino;
    }
}

static int refuse(struct store *store, const char *what, struct err *err)
{
    (void)snprintf(store->degraded, sizeof(store->degraded), "the store '%s' %s", store->path,
                   what);
    return err_set(err, -EROFS, "%s", store->degraded);
}

/* What is open lives on without a name: all of it is written into another file, and that is opened
 * in its place. */
static int write_anew(struct store *store, struct err *err)
{
    auto_free char *copy = NULL;
    struct err why = {0};
    mode_t saved;
    int r;

    if (asprintf(&copy, "%s.anew", store->path) < 0) {
        copy = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    (void)unlink(copy); /* of an attempt that was cut off */
    saved = umask(077);
    r = store_run(store, "VACUUM INTO ?1", BIND(SQL_TEXT(copy)), NULL, NULL, &why);
    (void)umask(saved);
    if (r == 0) {
        store_leave_log(store); /* its name will be another's */
        r = move(copy, store->path);
    }
    if (r < 0) {
        (void)unlink(copy);
        return refuse(store, "was deleted, and cannot be written anew", err);
    }
    crash_point("deleted store written anew");
    r = store_attach(store, &why);
    if (r == 0 && !store->is_read_only) {
        (void)snprintf(store->notice, sizeof(store->notice),
                       "the store '%.900s' was deleted while qvmd had it open: it was written anew",
                       store->path);
        return 0;
    }
    return refuse(store, "was deleted, and cannot be opened after it was written anew", err);
}

int store_check_file(struct store *store, struct err *err)
{
    struct stat st;

    if (stat(store->path, &st) == 0) {
        return st.st_ino == store->inode && st.st_dev == store->device
                   ? 0
                   : refuse(store,
                            "was replaced by another file while qvmd has it open: restart qvmd to "
                            "use that, or remove it",
                            err);
    }
    return errno == ENOENT ? write_anew(store, err)
                           : refuse(store, "cannot be found any more", err);
}
