/* What the store loses: instances are kept beside it, and written into another one again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/guest/events.h"
#include "daemon/guest/inside.h"
#include "daemon/host/pci_bind.h"
#include "daemon/host/process.h"
#include "daemon/worker/identity.h"
#include "daemon/worker/instance_dir.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"

/* What a found instance is made of. */
struct found {
    struct msg_identity identity;
    char *definition, *settings; /* JSON texts; no settings: those of a new guest */
    struct store_instance instance;
};

static void found_fini(struct found *found)
{
    msg_fini(MSG_identity, &found->identity);
    free(found->definition);
    free(found->settings);
}
#define auto_found __attribute__((cleanup(found_fini)))

/* Its helpers, as the store has them; borrowed from `rows`. Of an item that an earlier version did
 * not write nobody knows more than the store. */
static struct msg_kept_helper *kept_helpers(const struct store_helper *rows, size_t count,
                                            size_t *kept_count)
{
    struct msg_kept_helper *kept = calloc(count + 1, sizeof(*kept));

    for (size_t i = 0; kept != NULL && i < count; i++) {
        if (rows[i].item < 0) {
            continue;
        }
        kept[(*kept_count)++] =
            (struct msg_kept_helper){.item = rows[i].item,
                                     .pid = rows[i].pid,
                                     .start_ticks = (int64_t)rows[i].start_ticks,
                                     .path = rows[i].path,
                                     .format = lend(rows[i].format),
                                     .is_writable = rows[i].is_writable,
                                     .vdev = lend(rows[i].vdev)};
    }
    return kept;
}

static int write_identity(const struct guest *guest, struct msg_identity *identity, struct err *err)
{
    auto_free struct msg_kept_helper *helpers = NULL;
    struct store_helper *rows = NULL;
    size_t count = 0, kept_count = 0;
    int r = store_helpers_list(guest->all->env.store, guest->instance.id, &rows, &count, err);

    if (r < 0) {
        return r;
    }
    helpers = kept_helpers(rows, count, &kept_count);
    identity->helpers = helpers;
    identity->helpers_count = kept_count;
    r = helpers != NULL ? identity_write(guest->dir_fd, identity, guest->definition, err)
                        : err_set(err, -ENOMEM, "out of memory");
    store_helpers_free(rows, count);
    return r;
}

int guest_keep_identity(const struct guest *guest, struct err *err)
{
    return identity_exists(guest->dir_fd) ? 0 : guest_keep_identity_anew(guest, err);
}

int guest_keep_identity_anew(const struct guest *guest, struct err *err)
{
    const struct store_instance *now = &guest->instance;
    struct msg_identity identity = {
        .name = lend(guest->name),
        .owner = guest->owner,
        .generation = guest->generation,
        .instance = now->id,
        .boot_id = lend(now->boot_id),
        .pid = now->pid,
        .start_ticks = (int64_t)now->start_ticks,
        .uid = now->uid,
        .nonce = lend(now->nonce),
        .started = lend(now->started),
        .settings = lend(&guest->settings),
    };
    struct reserve_held *held = NULL;
    auto_free struct msg_held *claims = NULL;
    size_t count = 0;
    int r;

    r = reserve_list(guest->all->env.store, now->id, &held, &count, err);
    if (r < 0) {
        return r;
    }
    claims = calloc(count + 1, sizeof(*claims));
    for (size_t i = 0; claims != NULL && i < count; i++) {
        claims[i] = (struct msg_held){.kind = (int)held[i].kind,
                                      .id = held[i].id,
                                      .name = held[i].name,
                                      .where = held[i].where,
                                      .amount = held[i].amount,
                                      .is_exclusive = held[i].is_exclusive};
    }
    identity.claims = claims;
    identity.claims_count = count;
    r = claims != NULL ? write_identity(guest, &identity, err)
                       : err_set(err, -ENOMEM, "out of memory");
    reserve_held_free(held, count);
    return r;
}

/* ---- and back ---- */

static int read_found(const struct guests *guests, const char *dir_name, struct found *found,
                      struct err *err)
{
    const struct msg_identity *identity = &found->identity;
    struct store_instance *instance = &found->instance;
    char name[INSTANCE_DIR_NAME_SIZE];
    int r = identity_read(guests->env.run_fd, dir_name, &found->identity, &found->definition, err);

    if (r < 0) {
        return r;
    }
    if (strcmp(instance_dir_name(identity->name, identity->instance, name), dir_name) != 0) {
        return err_set(err, -EINVAL, "what stands in '%s' is of instance '%s'", dir_name, name);
    }
    if (strcmp(identity->boot_id, guests->boot_id) != 0) {
        return err_set(err, -ESRCH, "instance '%s' is of another boot", dir_name);
    }
    if (identity->settings != NULL) {
        found->settings = msg_encode(MSG_settings, identity->settings);
    }
    *instance = (struct store_instance){.id = identity->instance,
                                        .pid = (pid_t)identity->pid,
                                        .start_ticks = (uint64_t)identity->start_ticks,
                                        .uid = (uid_t)identity->uid,
                                        .state = STATE_unreachable,
                                        .exit_status = -1};
    (void)snprintf(instance->guest, sizeof(instance->guest), "%s", identity->name);
    (void)snprintf(instance->boot_id, sizeof(instance->boot_id), "%s", identity->boot_id);
    (void)snprintf(instance->nonce, sizeof(instance->nonce), "%s", identity->nonce);
    (void)snprintf(instance->started, sizeof(instance->started), "%s", identity->started);
    return 0;
}

/* What the store knows is true; what it does not know may be written. */
static int check_unknown(struct guests *guests, const struct found *found, struct err *err)
{
    struct store_instance known;
    int r = store_instance_get(guests->env.store, found->instance.id, &known, err);

    if (r == -ENOENT) {
        return 0;
    }
    if (r == 0 && strcmp(known.guest, found->instance.guest) == 0) {
        return err_set(err, -ESRCH, "the store knows that it has ended");
    }
    return r < 0 ? r
                 : err_set(err, -EEXIST, "its number is that of an instance of guest '%s'",
                           known.guest);
}

/* The definition that the store has stays, if it has one. */
static int restore_guest(struct guests *guests, const struct found *found, struct store_guest *row,
                         struct err *err)
{
    if (guest_find(guests, found->identity.name) != NULL) {
        return store_guest_set_desired(guests->env.store, found->identity.name, STATE_running, err);
    }
    *row = (struct store_guest){.owner = (uid_t)found->identity.owner,
                                .definition = found->definition,
                                .generation = found->identity.generation,
                                .desired = STATE_running,
                                .settings = found->settings};
    (void)snprintf(row->name, sizeof(row->name), "%s", found->identity.name);
    return store_guest_put(guests->env.store, row, &row->generation, err);
}

static bool is_alive(const struct found *found)
{
    struct process_id id = {.pid = found->instance.pid, .start_ticks = found->instance.start_ticks};
    auto_close int pidfd = -1;

    (void)snprintf(id.boot_id, sizeof(id.boot_id), "%s", found->instance.boot_id);
    return process_open(&id, &pidfd, NULL) == 0;
}

/* Where its devices belong was lost with the store: the kernel is asked who wants them. Those of a
 * dead one are brought home, unless somebody has them by now. */
static int restore_devices(struct guests *guests, const struct found *found, bool is_dead,
                           struct err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < found->identity.claims_count; i++) {
        const struct msg_held *held = &found->identity.claims[i];
        struct store_device row = {.instance = found->identity.instance, .driver = PCI_ANY_DRIVER};
        struct store_device known;

        if (held->kind == RESOURCE_device &&
            (!is_dead || store_device_get(guests->env.store, held->id, &known, NULL) == -ENOENT)) {
            (void)snprintf(row.bdf, sizeof(row.bdf), "%s", held->id);
            (void)snprintf(row.boot_id, sizeof(row.boot_id), "%s", guests->boot_id);
            r = store_device_take(guests->env.store, &row, err);
        }
    }
    return r;
}

/* Nobody is refused here: they hold it already, whatever the limits of today are. The dead hold
 * nothing but what the kernel still locks for them; others may have it by now. */
static int restore_claims(struct guests *guests, const struct found *found, struct err *err)
{
    const struct reserve_limits none = {.is_open = true};
    const struct msg_identity *identity = &found->identity;
    auto_free struct reserve_item *items = calloc(identity->claims_count + 1, sizeof(*items));
    int r;

    if (items == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (!is_alive(found)) {
        return restore_devices(guests, found, true, err);
    }
    for (size_t i = 0; i < identity->claims_count; i++) {
        const struct msg_held *held = &identity->claims[i];

        items[i] = (struct reserve_item){.kind = (enum resource_kind)held->kind,
                                         .id = held->id,
                                         .name = held->name,
                                         .place = held->where,
                                         .amount = held->amount,
                                         .is_exclusive = held->is_exclusive};
    }
    r = restore_devices(guests, found, false, err);
    return r == 0 ? reserve_claim(guests->env.store, &none, identity->instance, items,
                                  identity->claims_count, NULL, err)
                  : r;
}

/* Who serves it: they are watched, and end with it, as ever. */
static int restore_helpers(struct guests *guests, const struct found *found, struct err *err)
{
    const struct msg_identity *identity = &found->identity;
    int r = 0;

    for (size_t i = 0; r == 0 && i < identity->helpers_count; i++) {
        const struct msg_kept_helper *kept = &identity->helpers[i];
        struct store_helper row = {.item = kept->item,
                                   .pid = (pid_t)kept->pid,
                                   .start_ticks = (uint64_t)kept->start_ticks,
                                   .path = lend(kept->path),
                                   .is_writable = kept->is_writable};

        (void)snprintf(row.format, sizeof(row.format), "%s",
                       kept->format != NULL ? kept->format : "");
        (void)snprintf(row.vdev, sizeof(row.vdev), "%s", kept->vdev != NULL ? kept->vdev : "");
        r = store_helper_put(guests->env.store, identity->instance, &row, err);
    }
    return r;
}

/* All of it in one transaction, or nothing. */
static int write_found(struct guests *guests, const struct found *found, struct store_guest *row,
                       struct msg_event *event, struct err *err)
{
    struct store *store = guests->env.store;
    auto_tx struct store_tx tx = {0};
    char time[EVENTS_TIME_SIZE];
    int r = store_begin(store, &tx, err);

    if (r == 0) {
        r = restore_guest(guests, found, row, err);
    }
    if (r == 0) {
        r = store_instance_restore(store, &found->instance, err);
    }
    if (r == 0) {
        r = restore_claims(guests, found, err);
    }
    if (r == 0) {
        r = restore_helpers(guests, found, err);
    }
    if (r == 0) {
        r = events_write(guests->env.events, event, time, err);
    }
    if (r == 0) {
        r = store_commit(&tx, err);
    }
    if (r == 0) {
        events_publish(guests->env.events, event);
    }
    return r;
}

int guest_rebuild(struct guests *guests, const char *dir_name, bool only_alive,
                  struct guest **result, struct err *err)
{
    auto_found struct found found = {0};
    struct store_guest row = {0};
    struct msg_event event = {.what = events_what(WHAT_recovered),
                              .state = lend("unreachable"),
                              .message = lend("the store did not know it; what qvmd keeps beside "
                                              "its process was written into the store again")};
    struct guest *guest;
    int r = read_found(guests, dir_name, &found, err);

    if (r == 0) {
        r = check_unknown(guests, &found, err);
    }
    if (r == 0 && only_alive && !is_alive(&found)) {
        r = err_set(err, -ESRCH, "its process is gone");
    }
    if (r < 0) {
        return r;
    }
    guest = guest_find(guests, found.identity.name);
    if (guest != NULL && state_has_process(guest->state)) {
        return err_set(err, -EBUSY, "guest '%s' has another process (pid %d)", guest->name,
                       guest->instance.pid);
    }
    event.guest = found.instance.guest;
    event.instance = found.instance.id;
    event.pid = found.instance.pid;
    r = write_found(guests, &found, &row, &event, err);
    if (r == 0 && guest == NULL) {
        guest = guest_insert(guests, &row);
    }
    if (r < 0) {
        return r;
    }
    if (guest == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    guest->instance = found.instance;
    guest->state = STATE_unreachable;
    guest->desired = STATE_running;
    *result = guest;
    return 0;
}
