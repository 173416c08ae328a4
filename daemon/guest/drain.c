/* Empty the host: nothing is started any more, and all guests are stopped, each when those that
 * come after it are gone.
 *
 * The wish stands in the store until it is ended or the host has booted: a new qvmd goes on with
 * what is left of the time. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/guest/events.h"
#include "daemon/guest/many.h"
#include "daemon/host/clock.h"
#include "daemon/worker/spare.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"

#define NS_PER_MS 1000000

static bool is_left(const struct guest *guest)
{
    return state_has_process(guest->state) || guest->state == STATE_backoff;
}

/* ---- turns ---- */

static void leave(struct many_entry *entry, const struct guest *after)
{
    struct err err = {0};

    (void)err_set(&err, -EBUSY, "it was not stopped: guest '%s', which comes after it, is %s",
                  after->name, words_name(&words_state, (int)after->state));
    many_end(entry, NULL, &err);
}

/* Who has to wait for one that comes after it, or is not stopped at all because that one is left.
 */
static void find_blocked(struct many *many)
{
    for (size_t i = 0; i < many->count; i++) {
        many->entries[i].is_blocked = false;
    }
    for (size_t i = 0; i < many->count; i++) {
        const struct guest *guest = many_guest(many, many->entries[i].result.name);

        for (size_t j = 0; guest != NULL && is_left(guest) && j < guest->settings.after_count;
             j++) {
            struct many_entry *before = many_find(many, guest->settings.after[j]);

            if (before != NULL && before->state == MANY_WAITS) {
                before->is_blocked = true;
                if (many->entries[i].state == MANY_DONE) {
                    leave(before, guest);
                }
            }
        }
    }
}

/* How long this guest may take. */
static int64_t find_patience(const struct guest *guest)
{
    int64_t own_ms =
        guest->settings.stop_timeout_ms > 0 ? guest->settings.stop_timeout_ms : GUEST_STOP_MS;
    int64_t left_ms = (guest->all->drain.due_ns - clock_boot_ns()) / NS_PER_MS;

    if (guest->all->drain.due_ns == 0 || own_ms < left_ms) {
        return own_ms;
    }
    return left_ms > 0 ? left_ms : 1;
}

static void stop(struct many_entry *entry, struct guest *guest)
{
    const struct many *many = entry->many;
    bool is_kill = guest->all->drain.is_kill;

    many_begin(entry);
    if (many->is_late && is_kill) {
        guest_kill(guest, &many->caller, many_on_done, entry);
    } else {
        guest_stop(guest, &many->caller, find_patience(guest), is_kill, many_on_done, entry);
    }
}

/* One that waits; true: its turn has come, or it needs none. */
static bool look_at(struct many_entry *entry)
{
    struct many *many = entry->many;
    struct guest *guest = many_guest(many, entry->result.name);
    struct err err = {0};

    if (guest == NULL || !is_left(guest)) {
        many_end(entry, NULL, NULL);
    } else if (many->is_late && !many->all->drain.is_kill) {
        (void)err_set(&err, -ETIMEDOUT, "the time was over before its turn to be stopped");
        many_end(entry, NULL, &err);
    } else if (many->is_late || !entry->is_blocked) {
        stop(entry, guest);
    } else {
        return false;
    }
    return true;
}

static uint64_t look(struct many *many)
{
    bool has_moved = false;

    find_blocked(many);
    for (size_t i = 0; i < many->count; i++) {
        if (many->entries[i].state == MANY_WAITS) {
            has_moved = look_at(&many->entries[i]) || has_moved;
        }
    }
    /* A ring of guests that come after each other has no order to keep. */
    for (size_t i = 0; i < many->count && !has_moved && !many->is_changed; i++) {
        struct guest *guest = many_guest(many, many->entries[i].result.name);

        if (many->underway > 0) {
            break;
        }
        if (many->entries[i].state == MANY_WAITS && guest != NULL) {
            stop(&many->entries[i], guest);
        }
    }
    return 0;
}

/* Force was asked for after this guest had been given its time. */
static bool is_over(struct many_entry *entry, const struct err *err)
{
    struct guest *guest = guest_find(entry->many->all, entry->result.name);

    if (err == NULL || err->code != -ETIMEDOUT || guest == NULL || guest->is_shot ||
        !guest->all->drain.is_kill || !state_has_process(guest->state)) {
        return true;
    }
    many_begin(entry);
    guest_kill(guest, &entry->many->caller, many_on_done, entry);
    return false;
}

static void on_limit(struct many *many)
{
    (void)many; /* the next look sees that it is late */
}

static void on_end(struct many *many)
{
    log_info("guest: drained count=%zu", many->count);
    if (many->all->drain_round == many) { /* another one may have begun since this was ended */
        many->all->drain_round = NULL;
    }
}

static const struct many_kind stops = {
    .look = look, .is_over = is_over, .on_limit = on_limit, .on_end = on_end};

/* ---- the wish ---- */

static void tell(struct guests *guests, enum event_what what, uid_t uid)
{
    struct msg_event event = {.what = events_what(what), .uid = uid};

    event.reason = lend(words_name(&words_reason, (int)guests->drain.reason));
    events_tell(guests->env.events, &event);
}

/* The limit of a round, from the time that is written down. */
static int64_t limit_ms(const struct guests *guests)
{
    int64_t left_ms = (guests->drain.due_ns - clock_boot_ns()) / NS_PER_MS;

    if (guests->drain.due_ns == 0) {
        return 0;
    }
    return left_ms > 0 ? left_ms : 1;
}

static struct many *begin_round(struct guests *guests, const struct guest_caller *caller)
{
    struct many *many = many_create(guests, caller, &stops, guests->count);
    const struct guest *guest;

    if (many == NULL) {
        return NULL;
    }
    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if (is_left(guest)) {
            (void)many_add(many, guest->name);
        }
    }
    guests->drain_round = many;
    return many;
}

static void write_wish(struct guests *guests)
{
    auto_tx struct store_tx tx = {0};
    struct err err = {0};
    int r = store_begin(guests->env.store, &tx, &err);

    if (r == 0) {
        r = store_drain_put(guests->env.store, &guests->drain, &err);
    }
    if (r == 0) {
        r = store_turns_end(guests->env.store, &err);
    }
    if (r == 0) {
        r = store_commit(&tx, &err);
    }
    if (r < 0) {
        log_error("guest: a drain that no new qvmd will know of why=\"%s\"", err.msg);
    }
}

/* What is wanted now, over what was wanted before. */
static void take_wish(struct guests *guests, const struct guests_drain *wanted)
{
    struct store_drain *drain = &guests->drain;

    if (drain->reason != REASON_host_shutdown) {
        drain->reason = wanted->reason;
    }
    if (drain->since[0] == '\0') {
        (void)clock_now_text(drain->since);
    }
    (void)snprintf(drain->boot_id, sizeof(drain->boot_id), "%s", guests->boot_id);
    drain->is_kill = drain->is_kill || wanted->kill;
    drain->due_ns = wanted->timeout_ms > 0 ? clock_boot_ns() + wanted->timeout_ms * NS_PER_MS : 0;
}

void guests_drain(struct guests *guests, const struct guest_caller *caller,
                  const struct guests_drain *wanted, guests_done_fn done, void *data)
{
    bool is_new = guests->drain.reason == REASON_none;
    struct many *round = guests->drain_round;

    take_wish(guests, wanted);
    write_wish(guests);
    if (is_new) {
        tell(guests, WHAT_drain, caller->uid);
        spares_end(guests->spares); /* nothing is left where guests were */
        guests_leave_turns(guests);
    }
    if (round != NULL) {
        many_listen(round, done, data);
        many_set_limit(round, limit_ms(guests));
        return;
    }
    round = begin_round(guests, caller);
    if (round == NULL) {
        done(data, NULL, 0);
        return;
    }
    many_listen(round, done, data);
    many_go(round, limit_ms(guests));
}

int guests_drain_end(struct guests *guests, const struct guest_caller *caller, struct err *err)
{
    struct many *round = guests->drain_round;
    struct err why = {0};
    int r;

    if (guests->drain.reason == REASON_none) {
        return 0;
    }
    r = store_drain_end(guests->env.store, err);
    if (r < 0) {
        return r;
    }
    tell(guests, WHAT_drain_end, caller->uid);
    guests->drain = (struct store_drain){0};
    spares_make_soon(guests->spares, 0);
    guests->drain_round = NULL; /* the next drain stops those that this one leaves */
    (void)err_set(&why, -ECANCELED, "it was not stopped: the drain was ended");
    for (size_t i = 0; round != NULL && i < round->count; i++) {
        if (round->entries[i].state == MANY_WAITS) {
            many_end(&round->entries[i], NULL, &why);
        }
    }
    if (round != NULL) {
        many_look(round);
    }
    return 0;
}

bool guests_describe_drain(const struct guests *guests, struct msg_drain *drain)
{
    const struct many *round = guests->drain_round;

    *drain =
        (struct msg_drain){.since = lend(guests->drain.since), .reason = (int)guests->drain.reason};
    for (size_t i = 0; round != NULL && i < round->count; i++) {
        drain->left += round->entries[i].state != MANY_DONE;
    }
    return guests->drain.reason != REASON_none;
}

/* ---- after a death of qvmd ---- */

int guests_drain_read(struct guests *guests, struct err *err)
{
    int r = store_drain_get(guests->env.store, &guests->drain, err);

    if (r == -ENOENT) {
        return 0;
    }
    if (r == 0 && strcmp(guests->drain.boot_id, guests->boot_id) != 0) {
        guests->drain = (struct store_drain){0};
        (void)store_drain_end(guests->env.store, NULL); /* or after the next boot */
    }
    return r;
}

void guests_drain_adopt(struct guests *guests)
{
    const struct guest_caller qvmd = {.uid = 0, .is_admin = true};
    struct many *round;

    if (guests->drain.reason != REASON_none && (round = begin_round(guests, &qvmd)) != NULL) {
        log_info("guest: goes on to drain the host count=%zu", round->count);
        many_go(round, limit_ms(guests));
    }
}
