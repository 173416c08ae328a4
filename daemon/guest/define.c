/* Guests are defined, defined anew, and undefined. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/crash_point.h"
#include "daemon/guest/events.h"
#include "daemon/guest/inside.h"
#include "daemon/quota.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"

/* Write the row and the event of a definition; `*generation` is that of the row. */
static int write_definition(struct guests *guests, const struct store_guest *row,
                            enum guest_define_for purpose, int64_t *generation, struct err *err)
{
    struct store *store = guests->env.store;
    auto_tx struct store_tx tx = {0};
    struct msg_event event = {
        .what = events_what(WHAT_defined), .guest = lend(row->name), .uid = row->owner};
    char time[EVENTS_TIME_SIZE];
    int r = purpose == GUEST_DEFINE_TO_START ? store_begin_light(store, &tx, err)
                                             : store_begin(store, &tx, err);

    if (r == 0) {
        r = store_guest_put(store, row, generation, err);
    }
    if (r == 0) {
        r = events_write(guests->env.events, &event, time, err);
    }
    if (r == 0) {
        r = store_commit(&tx, err);
    }
    if (r == 0) {
        events_publish(guests->env.events, &event);
    }
    return r;
}

size_t guests_count_of(const struct guests *guests, uid_t owner)
{
    const struct guest *guest;
    size_t count = 0;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        count += guest->owner == owner;
    }
    return count;
}

static int check_count(const struct guests *guests, uid_t owner, struct err *err)
{
    const struct quota *quota = quota_of(guests->env.quotas, owner, geteuid());
    size_t count = guests_count_of(guests, owner);

    if (guests->count >= guests->env.guests_max) {
        return err_set(err, -EAGAIN, "%zu guests are defined, and that is the most there may be",
                       guests->count);
    }
    if (quota != NULL && count >= quota->guests) {
        return err_set(err, -ENOSPC, "the quota of %s is %" PRIu64 " guests, and the owner has %zu",
                       quota->is_anybody ? "each user" : quota->user, quota->guests, count);
    }
    return 0;
}

static int define_new(struct guests *guests, struct store_guest *row, enum guest_define_for purpose,
                      struct guest **guest, struct err *err)
{
    int r = check_count(guests, row->owner, err);

    if (r < 0) {
        return r;
    }
    r = write_definition(guests, row, purpose, &row->generation, err);
    if (r < 0) {
        return r;
    }
    /* of another guest of that name, when qvmd was killed while that was undefined */
    guest_logs_remove(guests, row->name);
    *guest = guest_insert(guests, row);
    return *guest != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int define_again(struct guest *guest, struct store_guest *row, enum guest_define_for purpose,
                        const char **note, struct err *err)
{
    char *definition;
    int r;

    if (strcmp(guest->definition, row->definition) == 0) {
        *note = "it was defined so already";
        return 0;
    }
    if (state_has_process(guest->state)) {
        return err_set(err, -EALREADY, "guest '%s' is %s, with another definition; stop it first",
                       guest->name, words_name(&words_state, (int)guest->state));
    }
    definition = strdup(row->definition);
    if (definition == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = write_definition(guest->all, row, purpose, &row->generation, err);
    if (r < 0) {
        free(definition);
        return r;
    }
    free(guest->definition);
    guest->definition = definition;
    guest->generation = row->generation;
    return 0;
}

int guest_define(struct guests *guests, const char *name, const struct msg_definition *definition,
                 enum guest_define_for purpose, const struct guest_caller *caller,
                 struct guest **result, const char **note, struct err *err)
{
    struct store_guest row = {.owner = caller->uid, .desired = STATE_stopped};
    auto_free char *text = msg_encode(MSG_definition, definition);
    struct guest *guest = guest_find(guests, name);
    int r;

    if (text == NULL) {
        return err_set(err, -EINVAL, "the definition holds text that is not UTF-8");
    }
    row.definition = text;
    (void)snprintf(row.name, sizeof(row.name), "%s", name);
    if (guest == NULL) {
        return define_new(guests, &row, purpose, result, err);
    }
    if (guest_check_caller(guest, caller, NULL) < 0) {
        return err_set(err, -EEXIST, "there is a guest '%s' already; it belongs to user '%s'", name,
                       guest->owner_name);
    }
    row.owner = guest->owner; /* an admin may define it anew, and does not take it away */
    r = define_again(guest, &row, purpose, note, err);
    if (r == 0) {
        *result = guest;
    }
    return r;
}

int guest_undefine(struct guest *guest, const struct guest_caller *caller, struct err *err)
{
    struct guests *guests = guest->all;
    auto_tx struct store_tx tx = {0};
    struct msg_event event = {
        .what = events_what(WHAT_undefined), .guest = guest->name, .uid = caller->uid};
    char time[EVENTS_TIME_SIZE];
    int r;

    if (state_has_process(guest->state)) {
        return err_set(err, -EALREADY, "guest '%s' is %s; stop it first", guest->name,
                       words_name(&words_state, (int)guest->state));
    }
    r = store_begin(guests->env.store, &tx, err);
    if (r == 0) {
        r = store_guest_delete(guests->env.store, guest->name, err);
    }
    if (r == 0) {
        r = events_write(guests->env.events, &event, time, err);
    }
    if (r == 0) {
        r = store_commit(&tx, err);
    }
    if (r < 0) {
        return r;
    }
    events_publish(guests->env.events, &event);
    guest_logs_remove(guests, guest->name);
    crash_point("logs removed");
    guest_forget(guest, -ENOENT, "the guest was undefined");
    return 0;
}
