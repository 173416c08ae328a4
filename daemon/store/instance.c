/* Table `instance`: every run of a guest, and how it ended. */
#include "daemon/store/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"

#define COLUMNS                                                                                    \
    "id, guest, boot_id, pid, start_ticks, nonce, uid, state, reason, message, exit_status,"       \
    " restarts, reboots, started, ended, tries, retry_ms, kill_due_ns"

struct instance_list {
    struct store_instance *instances;
    size_t count, room;
};

/* Texts of the store were bounded when they were written; a forged row is cut. */
#define COPY(member, row, column)                                                                  \
    (void)snprintf((member), sizeof(member), "%s", store_row_text((row), (column)))

static int read_instance(const struct store_row *row, struct store_instance *instance)
{
    int state = store_row_word(row, 7, &words_state);
    int reason = store_row_text(row, 8)[0] != '\0' ? store_row_word(row, 8, &words_reason)
                                                   : (int)REASON_none;

    if (state < 0 || reason < 0) {
        return -EIO;
    }
    instance->id = store_row_int(row, 0);
    COPY(instance->guest, row, 1);
    COPY(instance->boot_id, row, 2);
    instance->pid = (pid_t)store_row_int(row, 3);
    instance->start_ticks = (uint64_t)store_row_int(row, 4);
    COPY(instance->nonce, row, 5);
    instance->uid = (uid_t)store_row_int(row, 6);
    instance->state = (enum guest_state)state;
    instance->reason = (enum guest_reason)reason;
    COPY(instance->message, row, 9);
    instance->exit_status = (int)store_row_int(row, 10);
    instance->restarts = store_row_int(row, 11);
    instance->reboots = store_row_int(row, 12);
    COPY(instance->started, row, 13);
    COPY(instance->ended, row, 14);
    instance->tries = store_row_int(row, 15);
    instance->retry_ms = store_row_int(row, 16);
    instance->kill_due_ns = store_row_int(row, 17);
    return 0;
}

static int on_instance(void *data, const struct store_row *row)
{
    struct instance_list *list = data;
    int r;

    if (list->count == list->room) {
        size_t room = list->room == 0 ? 16 : 2 * list->room;
        struct store_instance *grown = reallocarray(list->instances, room, sizeof(*grown));

        if (grown == NULL) {
            return -ENOMEM;
        }
        list->instances = grown;
        list->room = room;
    }
    r = read_instance(row, &list->instances[list->count]);
    if (r == 0) {
        list->count++;
    }
    return r;
}

static int on_one(void *data, const struct store_row *row)
{
    return read_instance(row, data);
}

static int read_list(struct store *store, const char *sql, const struct store_value *values,
                     struct store_instance **instances, size_t *count, struct err *err)
{
    struct instance_list list = {0};
    int r = store_run(store, sql, values, on_instance, &list, err);

    if (r != 0) {
        free(list.instances);
        return r;
    }
    *instances = list.instances;
    *count = list.count;
    return 0;
}

static int read_one(struct store *store, const char *sql, struct store_value key,
                    struct store_instance *instance, struct err *err)
{
    struct store_instance found;
    int r = store_run_one(store, sql, BIND(key), on_one, &found, err);

    if (r == 0) {
        *instance = found;
    }
    return r;
}

static int refuse_second(struct store *store, const char *guest, struct err *err)
{
    struct store_instance first;
    int r = read_one(store, "SELECT " COLUMNS " FROM instance WHERE guest = ?1 AND ended IS NULL",
                     SQL_TEXT(guest), &first, err);

    if (r == -ENOENT) {
        return 0;
    }
    return r != 0 ? r
                  : err_set(err, -EBUSY, "guest '%s' has an instance that lives (pid %d)", guest,
                            (int)first.pid);
}

static const char SQL_KNOWN[] = "SELECT 1 FROM guest WHERE name = ?1";
static const char SQL_BEGIN[] =
    "INSERT INTO instance(guest, boot_id, nonce, uid, state, restarts, tries,"
    " started) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING id";
/* The past is bounded; what still holds something stays. */
static const char SQL_FORGET[] =
    "DELETE FROM instance WHERE guest = ?1 AND ended IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM claim WHERE claim.instance = instance.id)"
    " AND id NOT IN (SELECT id FROM instance WHERE guest = ?1 AND ended IS NOT NULL"
    " ORDER BY id DESC LIMIT ?2)";

int store_instance_begin(struct store *store, struct store_instance *instance, struct err *err)
{
    auto_tx struct store_tx tx = {0};
    int64_t id = 0;
    int r = store_begin(store, &tx, err);

    if (r == 0) {
        r = store_run_int(store, SQL_KNOWN, BIND(SQL_TEXT(instance->guest)), &id, err);
        if (r == -ENOENT) {
            return err_set(err, -ENOENT, "there is no guest '%s'", instance->guest);
        }
    }
    if (r == 0) {
        r = refuse_second(store, instance->guest, err);
    }
    if (r == 0) {
        r = store_run_int(store, SQL_BEGIN,
                          BIND(SQL_TEXT(instance->guest), SQL_TEXT(instance->boot_id),
                               SQL_TEXT(instance->nonce), SQL_INT(instance->uid),
                               SQL_WORD(state, instance->state), SQL_INT(instance->restarts),
                               SQL_INT(instance->tries), SQL_TEXT(instance->started)),
                          &id, err);
    }
    if (r == 0) {
        r = store_run(store, SQL_FORGET,
                      BIND(SQL_TEXT(instance->guest), SQL_INT(STORE_INSTANCES_MAX)), NULL, NULL,
                      err);
    }
    if (r == 0) {
        r = store_request_began(store, id, err);
    }
    if (r == 0) {
        r = store_commit(&tx, err);
    }
    if (r == 0) {
        instance->id = id;
    }
    return r;
}

static const char SQL_RESTORE[] =
    "INSERT INTO instance(id, guest, boot_id, pid, start_ticks, nonce, uid, state, started)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

int store_instance_restore(struct store *store, const struct store_instance *instance,
                           struct err *err)
{
    return store_run(
        store, SQL_RESTORE,
        BIND(SQL_INT(instance->id), SQL_TEXT(instance->guest), SQL_TEXT(instance->boot_id),
             SQL_INT(instance->pid), SQL_INT(instance->start_ticks), SQL_TEXT(instance->nonce),
             SQL_INT(instance->uid), SQL_WORD(state, instance->state), SQL_TEXT(instance->started)),
        NULL, NULL, err);
}

/* One UPDATE of one instance: alone it does not wait for the disk, since after another boot the
 * instance is over, whatever its row says. */
static int update(struct store *store, const char *sql, int64_t id,
                  const struct store_value *values, struct err *err)
{
    auto_tx struct store_tx tx = {0};
    int r = store_begin_light(store, &tx, err);

    if (r == 0) {
        r = store_run_one(store, sql, values, NULL, NULL, err);
    }
    if (r == -ENOENT) {
        return err_set(err, -ENOENT, "there is no instance %lld", (long long)id);
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

int store_instance_set_process(struct store *store, int64_t id, pid_t pid, uint64_t start_ticks,
                               struct err *err)
{
    return update(store, "UPDATE instance SET pid = ?2, start_ticks = ?3 WHERE id = ?1", id,
                  BIND(SQL_INT(id), SQL_INT(pid), SQL_INT(start_ticks)), err);
}

int store_instance_set_uid(struct store *store, int64_t id, uid_t uid, struct err *err)
{
    return update(store, "UPDATE instance SET uid = ?2 WHERE id = ?1", id,
                  BIND(SQL_INT(id), SQL_INT(uid)), err);
}

int store_instance_set_state(struct store *store, int64_t id, enum guest_state state,
                             struct err *err)
{
    return update(store, "UPDATE instance SET state = ?2 WHERE id = ?1", id,
                  BIND(SQL_INT(id), SQL_WORD(state, state)), err);
}

int store_instance_set_reboots(struct store *store, int64_t id, int64_t reboots, struct err *err)
{
    return update(store, "UPDATE instance SET reboots = ?2 WHERE id = ?1", id,
                  BIND(SQL_INT(id), SQL_INT(reboots)), err);
}

int store_instance_set_reason(struct store *store, int64_t id, enum guest_reason reason,
                              struct err *err)
{
    return update(store, "UPDATE instance SET reason = ?2 WHERE id = ?1", id,
                  BIND(SQL_INT(id), SQL_WORD(reason, reason)), err);
}

int store_instance_set_kill_due(struct store *store, int64_t id, int64_t due_ns, struct err *err)
{
    return update(store, "UPDATE instance SET kill_due_ns = ?2 WHERE id = ?1", id,
                  BIND(SQL_INT(id), SQL_INT(due_ns)), err);
}

static const char SQL_END_INSTANCE[] =
    "UPDATE instance SET state = ?2, reason = ?3, message = ?4, exit_status = ?5, ended = ?6,"
    " tries = ?7, retry_ms = ?8 WHERE id = ?1";

int store_instance_end(struct store *store, int64_t id, const struct store_end *end,
                       struct err *err)
{
    char message[STORE_MESSAGE_SIZE];

    (void)snprintf(message, sizeof(message), "%s", end->message != NULL ? end->message : "");
    return update(store, SQL_END_INSTANCE, id,
                  BIND(SQL_INT(id), SQL_WORD(state, end->state), SQL_WORD(reason, end->reason),
                       SQL_TEXT(message), SQL_INT(end->exit_status), SQL_TEXT(end->ended),
                       SQL_INT(end->tries), SQL_INT(end->retry_ms)),
                  err);
}

int store_instance_get(struct store *store, int64_t id, struct store_instance *instance,
                       struct err *err)
{
    int r = read_one(store, "SELECT " COLUMNS " FROM instance WHERE id = ?1", SQL_INT(id), instance,
                     err);

    return r == -ENOENT ? err_set(err, -ENOENT, "there is no instance %lld", (long long)id) : r;
}

int store_instance_last(struct store *store, const char *guest, struct store_instance *instance,
                        struct err *err)
{
    int r = read_one(store,
                     "SELECT " COLUMNS " FROM instance WHERE guest = ?1 ORDER BY id DESC LIMIT 1",
                     SQL_TEXT(guest), instance, err);

    return r == -ENOENT ? err_set(err, -ENOENT, "guest '%s' never ran", guest) : r;
}

int store_instances_live(struct store *store, struct store_instance **instances, size_t *count,
                         struct err *err)
{
    return read_list(store, "SELECT " COLUMNS " FROM instance WHERE ended IS NULL ORDER BY id",
                     BIND_NONE, instances, count, err);
}

int store_instances_holding(struct store *store, struct store_instance **instances, size_t *count,
                            struct err *err)
{
    return read_list(store,
                     "SELECT " COLUMNS " FROM instance WHERE ended IS NOT NULL AND EXISTS"
                     " (SELECT 1 FROM claim WHERE claim.instance = instance.id) ORDER BY id",
                     BIND_NONE, instances, count, err);
}

int store_instances_of(struct store *store, const char *guest, struct store_instance **instances,
                       size_t *count, struct err *err)
{
    return read_list(store,
                     "SELECT " COLUMNS " FROM instance WHERE guest = ?1 ORDER BY id DESC LIMIT 64",
                     BIND(SQL_TEXT(guest)), instances, count, err);
}

int store_instance_ran(struct store *store, int64_t id, bool *ran, struct err *err)
{
    int64_t count = 0;
    int r = store_run_int(store,
                          "SELECT count(*) FROM event WHERE instance = ?1 AND what = 'state'"
                          " AND state = 'running'",
                          BIND(SQL_INT(id)), &count, err);

    *ran = count > 0;
    return r;
}
