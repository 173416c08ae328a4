/* What must outlive qvmd: guests, their instances, what these hold, and what happened.
 *
 * One SQLite database with one connection and one writer; the only user of sqlite3. One thread
 * (qvmd's loop); nothing here waits but for the disk.
 *
 * Errors of every function that writes: -EROFS the database cannot be written (read-only, disk
 * full, I/O error, damaged); nothing was changed, store_degraded() says why from then on, and
 * the next write that succeeds clears it. What a caller wanted to write it keeps and writes again
 * after store_retry() returned 0: all functions but event numbering may be repeated. Functions
 * that only read go on working. */
#ifndef QVM_DAEMON_STORE_H
#define QVM_DAEMON_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/words.h"

struct err;
struct msg_event;
struct msg_event_list;
struct msg_events_params;
struct store;

#define STORE_EVENTS_MAX    10000 /* events that are kept; older ones go */
#define STORE_INSTANCES_MAX 32    /* ended instances of a guest that are kept */
#define STORE_TIME_SIZE     40    /* an RFC 3339 time with its NUL */
#define STORE_NONCE_SIZE    65    /* an instance's nonce with its NUL */
#define STORE_BOOT_ID_SIZE  37    /* a boot id with its NUL */
#define STORE_MESSAGE_SIZE  1024  /* a sentence with its NUL */

/* Open the database at `path` (mode 0600, made if it is missing) after taking the lock file
 * `path`-lock, which is held until store_close(). A NULL path is a database in memory without a
 * lock. A database that can be read but not written opens as degraded: guests are still found.
 * A database that is damaged is put aside as `path`.damaged-TIME, never deleted, and another one is
 * made with what can still be read of the guests; store_take_notice() tells of it.
 * -EBUSY another qvmd has it (`err` names its pid); -EOPNOTSUPP written by a newer version;
 * -EIO of another program, or damaged and not to be put aside; it is left as it is. A database of
 * an older version is copied to `path`.version-N before it is migrated. */
int store_open(const char *path, struct store **store, struct err *err);
void store_close(struct store *store);

/* What has become of the database that somebody should hear of: it was damaged, empty, or deleted
 * while it was open, and written anew. NULL: nothing, or told before. */
const char *store_take_notice(struct store *store, char text[STORE_MESSAGE_SIZE]);

/* Why the database cannot be written, or NULL. */
const char *store_degraded(const struct store *store);

/* Try to write (at least the events that wait in memory): 0 when the store is sound again. */
int store_retry(struct store *store, struct err *err);

/* ---- transactions: the functions below compose inside one ---- */

struct store_tx {
    struct store *store; /* NULL: not begun, or over */
    int depth;
};

/* Begin (BEGIN IMMEDIATE; a nested one is a savepoint). Rolls back unless committed:
 *     auto_tx struct store_tx tx = {0}; */
int store_begin(struct store *store, struct store_tx *tx, struct err *err);
int store_commit(struct store_tx *tx, struct err *err);
void store_rollback(struct store_tx *tx);
#define auto_tx __attribute__((cleanup(store_rollback)))

/* Begin what means nothing on another boot: processes and their states. Its commit outlives qvmd,
 * but does not wait for the disk; the next other commit carries it along. */
int store_begin_light(struct store *store, struct store_tx *tx, struct err *err);

/* Wait until all that was committed is on the disk. -EROFS: it cannot be written. */
int store_flush(struct store *store, struct err *err);

/* ---- guests ---- */

struct store_guest {
    char name[GUEST_NAME_MAX + 1];
    uid_t owner;
    char *definition;         /* JSON text of struct msg_definition */
    int64_t generation;       /* 1, and one more with each new definition */
    enum guest_state desired; /* STATE_running or STATE_stopped */
    char *settings;           /* JSON text of struct msg_settings; empty: never set */
};

/* Define `guest`, or define it anew: owner and definition are taken from it, `desired` and
 * `settings` (NULL: empty) too when it is new. `*generation` (may be NULL) gets the generation.
 * Whether the owner may, and whether the guest is at rest, is the caller's check. */
int store_guest_put(struct store *store, const struct store_guest *guest, int64_t *generation,
                    struct err *err);

/* -ENOENT: no such guest. The texts are owned by `guest`: store_guest_fini(). */
int store_guest_get(struct store *store, const char *name, struct store_guest *guest,
                    struct err *err);
void store_guest_fini(struct store_guest *guest);

/* All guests, sorted by name; to be freed by store_guests_free(). */
int store_guest_list(struct store *store, struct store_guest **guests, size_t *count,
                     struct err *err);
void store_guests_free(struct store_guest *guests, size_t count);

/* Forget a guest and its past instances. -ENOENT no such guest; -EBUSY an instance of it lives or
 * still holds something. */
int store_guest_delete(struct store *store, const char *name, struct err *err);

/* Write down what was asked for, before it is done. -ENOENT: no such guest. */
int store_guest_set_desired(struct store *store, const char *name, enum guest_state desired,
                            struct err *err);

/* Change how it is looked after. -ENOENT: no such guest. */
int store_guest_set_settings(struct store *store, const char *name, const char *settings,
                             struct err *err);

/* ---- calls that may be repeated ---- */

#define STORE_REQUESTS_MAX    256 /* of one user; older ones go */
#define STORE_REQUEST_HOURS   24  /* for which they are kept */
#define STORE_REQUEST_ID_SIZE 128
#define STORE_DIGEST_SIZE     48

struct store_request {
    uid_t uid;
    char id[STORE_REQUEST_ID_SIZE];
    char method[64];
    char digest[STORE_DIGEST_SIZE]; /* of its parameters */
    int64_t begun_ns;               /* since 1970 */
    int64_t instance;               /* that it began, or is to end; 0: none */
    char *answer;                   /* NULL: none (yet) */
};

/* From now on the next transaction writes `request` (borrowed) too, and the instance that it
 * begins. It is for one thread of work: until store_request_leave(), which says whether it was
 * written. */
void store_request_ride(struct store *store, const struct store_request *request);
bool store_request_leave(struct store *store);
bool store_request_is_written(const struct store *store); /* the one that rides */

/* Write it with its answer. */
int store_request_finish(struct store *store, const struct store_request *request, struct err *err);

/* -ENOENT: there is none, or it is too old at `now_ns`. store_request_fini(). */
int store_request_get(struct store *store, uid_t uid, const char *id, int64_t now_ns,
                      struct store_request *request, struct err *err);
void store_request_fini(struct store_request *request);

/* ---- a drain of the host ---- */

struct store_drain {
    char boot_id[STORE_BOOT_ID_SIZE]; /* it is over after another boot */
    enum guest_reason reason;         /* REASON_none: there is none */
    bool is_kill;
    char since[STORE_TIME_SIZE]; /* RFC 3339 */
    int64_t due_ns;              /* since boot; 0: no limit */
};

int store_drain_put(struct store *store, const struct store_drain *drain, struct err *err);
/* -ENOENT: there is none. */
int store_drain_get(struct store *store, struct store_drain *drain, struct err *err);
int store_drain_end(struct store *store, struct err *err);

/* ---- enabled guests that wait for their turn to be started ---- */

struct store_turn {
    char guest[GUEST_NAME_MAX + 1];
    char boot_id[STORE_BOOT_ID_SIZE]; /* it is over after another boot */
    uid_t uid;                        /* who wants it */
    int64_t begun;                    /* how often its start was begun */
};

/* One that waits already since this boot is left as it is. -EEXIST: there is no such guest. */
int store_turn_put(struct store *store, const struct store_turn *turn, struct err *err);
/* Its start is begun, once more; it needs no more turn (none: that is no error); nobody does. */
int store_turn_begin(struct store *store, const char *guest, struct err *err);
int store_turn_end(struct store *store, const char *guest, struct err *err);
int store_turns_end(struct store *store, struct err *err);
/* By name; free(). */
int store_turns_list(struct store *store, struct store_turn **turns, size_t *count,
                     struct err *err);

/* ---- functions of the host that were taken from their drivers ---- */

#define STORE_BDF_SIZE     20
#define STORE_DRIVER_SIZE  64
#define STORE_DRIVER_TAKEN "vfio-pci" /* of a function that has left home */
#define STORE_DRIVER_ANY   "*"        /* of one whose home was lost */

struct store_device {
    char bdf[STORE_BDF_SIZE];
    char boot_id[STORE_BOOT_ID_SIZE]; /* after another boot it is where it belongs */
    int64_t instance;                 /* that took it last */
    char driver[STORE_DRIVER_SIZE], driver_override[STORE_DRIVER_SIZE]; /* where it belongs */
    char trouble[STORE_MESSAGE_SIZE]; /* why nobody may have it; empty: nothing is wrong */
};

/* Write down where it belongs, before it is taken from there. What was written in this boot stays
 * if it is not there now, by its driver: STORE_DRIVER_TAKEN or STORE_DRIVER_ANY. From now on it is
 * in no trouble. In the transaction of the claim. */
int store_device_take(struct store *store, const struct store_device *device, struct err *err);
/* It is to get this driver_override back as well. -ENOENT: it was not taken. */
int store_device_override(struct store *store, const char *bdf, const char *override,
                          struct err *err);
/* Something went wrong with it. -ENOENT: it was not taken. */
int store_device_trouble(struct store *store, const char *bdf, const char *why, struct err *err);
/* It is back where it belongs. */
int store_device_home(struct store *store, const char *bdf, struct err *err);
/* All of other boots are. */
int store_devices_forget(struct store *store, const char *boot_id, struct err *err);
/* -ENOENT: it is where it belongs. */
int store_device_get(struct store *store, const char *bdf, struct store_device *device,
                     struct err *err);
/* By name; free(). */
int store_devices_list(struct store *store, struct store_device **devices, size_t *count,
                       struct err *err);

/* ---- processes that serve images beside a qvm ---- */

#define STORE_FORMAT_SIZE 16
#define STORE_VDEV_SIZE   64

struct store_helper {
    int64_t item;                   /* of the ask; negative: an earlier version did not write it */
    pid_t pid;                      /* 0: it has ended, and another one is to follow */
    uint64_t start_ticks;           /* as of an instance, whose boot id it has */
    char *path;                     /* of the image */
    char format[STORE_FORMAT_SIZE]; /* how it serves that; empty: nobody knows */
    bool is_writable;
    char vdev[STORE_VDEV_SIZE]; /* whose it is; empty: an earlier version did not write it */
    int64_t instance;           /* these two are read, and not written */
    char boot_id[STORE_BOOT_ID_SIZE];
};

/* Before it runs its program; in the place of one that has ended. */
int store_helper_put(struct store *store, int64_t instance, const struct store_helper *helper,
                     struct err *err);
/* It has ended, and another one may follow: its row stays, without a process. */
int store_helper_lose(struct store *store, int64_t instance, pid_t pid, struct err *err);
/* It has ended, and none follows; 0: all of the instance that have. One that is not there has, too.
 */
int store_helper_end(struct store *store, int64_t instance, pid_t pid, struct err *err);
/* Those of an instance, or (0) of all that have ended; to be freed by store_helpers_free(). */
int store_helpers_list(struct store *store, int64_t instance, struct store_helper **helpers,
                       size_t *count, struct err *err);
void store_helpers_free(struct store_helper *helpers, size_t count);

/* ---- instances: one per run ---- */

struct store_instance {
    int64_t id; /* only grows, over all guests */
    char guest[GUEST_NAME_MAX + 1];
    char boot_id[STORE_BOOT_ID_SIZE];
    pid_t pid;            /* 0: not known (yet) */
    uint64_t start_ticks; /* when the process began: field 22 of /proc/PID/stat */
    char nonce[STORE_NONCE_SIZE];
    uid_t uid; /* of the process */
    enum guest_state state;
    enum guest_reason reason; /* why it ended, or (killed) what is being done to end it */
    char message[STORE_MESSAGE_SIZE];
    int exit_status;               /* -1: none known */
    int64_t restarts;              /* by policy since somebody started the guest */
    int64_t tries;                 /* of these, in a row without a long run between */
    int64_t retry_ms;              /* in backoff: how long after its end the next one begins */
    int64_t reboots;               /* resets inside the process */
    int64_t kill_due_ns;           /* since boot: when force follows a stop; 0: it does not */
    char started[STORE_TIME_SIZE]; /* RFC 3339 */
    char ended[STORE_TIME_SIZE];   /* RFC 3339; empty while it lives */
};

/* Begin an instance from guest, boot_id, nonce, uid, state, restarts, tries, started of `instance`,
 * and fill in its id. -EBUSY: an instance of that guest lives (`err` names its pid). -ENOENT: no
 * such guest. */
int store_instance_begin(struct store *store, struct store_instance *instance, struct err *err);

/* Write one that the store has lost, with the number it had. -EEXIST: the number is taken, or an
 * instance of that guest lives. */
int store_instance_restore(struct store *store, const struct store_instance *instance,
                           struct err *err);

/* Its process, as soon as it exists. -ENOENT (here and below): no such instance. */
int store_instance_set_process(struct store *store, int64_t id, pid_t pid, uint64_t start_ticks,
                               struct err *err);
/* The uid that its process runs as, where the choice needs the instance's number. */
int store_instance_set_uid(struct store *store, int64_t id, uid_t uid, struct err *err);
int store_instance_set_state(struct store *store, int64_t id, enum guest_state state,
                             struct err *err);
int store_instance_set_reboots(struct store *store, int64_t id, int64_t reboots, struct err *err);
/* Why it is about to end, while it still lives: another qvmd goes on with that. */
int store_instance_set_reason(struct store *store, int64_t id, enum guest_reason reason,
                              struct err *err);
int store_instance_set_kill_due(struct store *store, int64_t id, int64_t due_ns, struct err *err);

struct store_end {
    enum guest_state state; /* STATE_stopped, STATE_failed or STATE_backoff */
    enum guest_reason reason;
    const char *message; /* may be NULL; cut at STORE_MESSAGE_SIZE */
    int exit_status;     /* -1: none known */
    const char *ended;   /* RFC 3339 */
    int64_t tries, retry_ms;
};

/* The instance is over. It keeps its claims until reserve_free(); an end that was written before
 * is written over. */
int store_instance_end(struct store *store, int64_t id, const struct store_end *end,
                       struct err *err);

/* -ENOENT: no such instance. */
int store_instance_get(struct store *store, int64_t id, struct store_instance *instance,
                       struct err *err);
/* The newest instance of a guest, living or not. -ENOENT: it never ran. */
int store_instance_last(struct store *store, const char *guest, struct store_instance *instance,
                        struct err *err);

/* Whether its guest came to run, as far as events are kept that tell it. */
int store_instance_ran(struct store *store, int64_t id, bool *ran, struct err *err);

/* The instances of a guest that are kept, the newest first; free(). */
int store_instances_of(struct store *store, const char *guest, struct store_instance **instances,
                       size_t *count, struct err *err);

/* Instances that live, and those that ended but still hold something, by id; free(). */
int store_instances_live(struct store *store, struct store_instance **instances, size_t *count,
                         struct err *err);
int store_instances_holding(struct store *store, struct store_instance **instances, size_t *count,
                            struct err *err);

/* ---- events ---- */

/* Append an event (`seq` of it is not read), and tell its number in `*seq` (may be NULL). Numbers
 * have no gaps, whatever is rolled back. Outside a transaction an event is never lost while qvmd
 * lives: if the database cannot be written, it is kept in memory with its number, 0 is returned,
 * and it is written with the next write that succeeds. In a transaction that cannot be written:
 * -EROFS; append it again after the rollback. */
int store_event_append(struct store *store, const struct msg_event *event, int64_t *seq,
                       struct err *err);

/* Events after `params->since` that match, the last `params->limit` of them if that is not 0; those
 * in memory too. `list` (msg_fini) is written on success. */
int store_events_read(struct store *store, const struct msg_events_params *params,
                      struct msg_event_list *list, struct err *err);

/* Whether an event is of the guest, kind, state and reason that `params` want, as far as these are
 * not empty. */
bool store_event_matches(const struct msg_events_params *params, const struct msg_event *event);

/* Number of the newest event; 0 if there is none. */
int64_t store_event_last(struct store *store);

#endif
