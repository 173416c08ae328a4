/* The tables, as the list of steps that led to them. A step that was released is never changed. */
#include "daemon/store/inside.h"

#include "proto/base/cleanup.h"

/* An instance without `ended` lives; the partial index allows one per guest. AUTOINCREMENT: a
 * number is never used twice. A claim outlives the end of its instance until it is freed. */
static const char VERSION_1[] =
    "CREATE TABLE guest("
    " name TEXT PRIMARY KEY NOT NULL,"
    " owner INTEGER NOT NULL,"
    " definition TEXT NOT NULL,"
    " generation INTEGER NOT NULL,"
    " desired TEXT NOT NULL,"
    " autostart INTEGER NOT NULL,"
    " policy TEXT NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE instance("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " guest TEXT NOT NULL REFERENCES guest(name),"
    " boot_id TEXT NOT NULL,"
    " pid INTEGER NOT NULL DEFAULT 0,"
    " start_ticks INTEGER NOT NULL DEFAULT 0,"
    " nonce TEXT NOT NULL,"
    " uid INTEGER NOT NULL,"
    " state TEXT NOT NULL,"
    " reason TEXT,"
    " message TEXT NOT NULL DEFAULT '',"
    " exit_status INTEGER NOT NULL DEFAULT -1,"
    " restarts INTEGER NOT NULL DEFAULT 0,"
    " reboots INTEGER NOT NULL DEFAULT 0,"
    " started TEXT NOT NULL,"
    " ended TEXT"
    ") STRICT;"
    "CREATE UNIQUE INDEX instance_live ON instance(guest) WHERE ended IS NULL;"
    "CREATE INDEX instance_guest ON instance(guest, id);"
    "CREATE TABLE claim("
    " id INTEGER PRIMARY KEY,"
    " kind TEXT NOT NULL,"
    " resource TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " amount INTEGER NOT NULL CHECK(amount >= 0),"
    " is_exclusive INTEGER NOT NULL,"
    " instance INTEGER NOT NULL REFERENCES instance(id)"
    ") STRICT;"
    "CREATE UNIQUE INDEX claim_exclusive ON claim(resource) WHERE is_exclusive;"
    "CREATE UNIQUE INDEX claim_own ON claim(instance, kind, resource);"
    "CREATE INDEX claim_resource ON claim(resource);"
    "CREATE TABLE event("
    " seq INTEGER PRIMARY KEY,"
    " time TEXT NOT NULL,"
    " what TEXT NOT NULL,"
    " guest TEXT,"
    " instance INTEGER NOT NULL DEFAULT 0,"
    " pid INTEGER NOT NULL DEFAULT 0,"
    " state TEXT,"
    " reason TEXT,"
    " message TEXT,"
    " uid INTEGER NOT NULL DEFAULT 0"
    ") STRICT;";

/* How a guest is looked after, restarts and their waiting times, repeated requests, a drain.
 * The columns that go were never set to anything. */
static const char VERSION_2[] =
    "ALTER TABLE guest DROP COLUMN autostart;"
    "ALTER TABLE guest DROP COLUMN policy;"
    "ALTER TABLE guest ADD COLUMN settings TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE instance ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE instance ADD COLUMN retry_ms INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE request("
    " number INTEGER PRIMARY KEY AUTOINCREMENT,"
    " uid INTEGER NOT NULL,"
    " id TEXT NOT NULL,"
    " method TEXT NOT NULL,"
    " digest TEXT NOT NULL,"
    " begun INTEGER NOT NULL,"
    " instance INTEGER NOT NULL DEFAULT 0,"
    " answer TEXT,"
    " UNIQUE(uid, id)"
    ") STRICT;"
    "CREATE TABLE drain("
    " id INTEGER PRIMARY KEY CHECK(id = 1),"
    " boot_id TEXT NOT NULL,"
    " reason TEXT NOT NULL,"
    " is_kill INTEGER NOT NULL,"
    " since TEXT NOT NULL,"
    " due_ns INTEGER NOT NULL"
    ") STRICT;";

/* Where in its configuration the words stand that need what is held: FILE:LINE. */
static const char VERSION_3[] = "ALTER TABLE claim ADD COLUMN place TEXT NOT NULL DEFAULT '';";

/* A stop that is to be followed by force is so after a death of qvmd, too. */
static const char VERSION_4[] =
    "ALTER TABLE instance ADD COLUMN kill_due_ns INTEGER NOT NULL DEFAULT 0;";

/* Enabled guests that are still to be started in their order. */
static const char VERSION_5[] =
    "CREATE TABLE turn("
    " guest TEXT PRIMARY KEY NOT NULL REFERENCES guest(name) ON DELETE CASCADE,"
    " boot_id TEXT NOT NULL,"
    " uid INTEGER NOT NULL,"
    " begun INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;";

/* Functions of the host that guests have or had: where they belong, and what is wrong with them. */
static const char VERSION_6[] = "CREATE TABLE device("
                                " bdf TEXT PRIMARY KEY NOT NULL,"
                                " boot_id TEXT NOT NULL,"
                                " instance INTEGER NOT NULL,"
                                " driver TEXT NOT NULL,"
                                " driver_override TEXT NOT NULL,"
                                " trouble TEXT NOT NULL"
                                ") STRICT, WITHOUT ROWID;";

/* Processes that serve a guest's images beside its qvm. */
static const char VERSION_7[] = "CREATE TABLE helper("
                                " instance INTEGER NOT NULL REFERENCES instance(id)"
                                " ON DELETE CASCADE,"
                                " pid INTEGER NOT NULL,"
                                " start_ticks INTEGER NOT NULL,"
                                " path TEXT NOT NULL,"
                                " PRIMARY KEY(instance, pid)"
                                ") STRICT, WITHOUT ROWID;";

/* What a vdev's helper serves, by the item of the ask, so that another one can follow it. Of those
 * that are there nobody knows it: they have numbers of their own, and no format. */
static const char VERSION_8[] = "ALTER TABLE helper RENAME TO helper_7;"
                                "CREATE TABLE helper("
                                " instance INTEGER NOT NULL REFERENCES instance(id)"
                                " ON DELETE CASCADE,"
                                " item INTEGER NOT NULL,"
                                " pid INTEGER NOT NULL,"
                                " start_ticks INTEGER NOT NULL,"
                                " path TEXT NOT NULL,"
                                " format TEXT NOT NULL,"
                                " is_writable INTEGER NOT NULL,"
                                " PRIMARY KEY(instance, item)"
                                ") STRICT, WITHOUT ROWID;"
                                "INSERT INTO helper SELECT instance, -pid, pid, start_ticks, path,"
                                " '', 0 FROM helper_7;"
                                "DROP TABLE helper_7;";

/* Whose it is, as operators call it; of those that are there nobody knows. */
static const char VERSION_9[] = "ALTER TABLE helper ADD COLUMN vdev TEXT NOT NULL DEFAULT '';";

const char *const store_migrations[] = {VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5,
                                        VERSION_6, VERSION_7, VERSION_8, VERSION_9};
const size_t store_migration_count = ARRAY_LEN(store_migrations);
