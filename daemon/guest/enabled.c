/* Start all guests that are enabled, each when those it comes after run.
 *
 * Who is still to be started stands in the store (table `turn`) until it runs, has failed, or
 * somebody stopped it: a new qvmd goes on with those. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/crash_point.h"
#include "daemon/guest/many.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#define BEGUN_MAX 3 /* starts of a guest in which qvmds ended, before it is left */

static bool is_up(const struct guest *guest)
{
    return guest->state == STATE_running || guest->state == STATE_paused ||
           guest->state == STATE_unreachable;
}

enum turn { TURN_NOW, TURN_LATER, TURN_NEVER };

/* Whether those before it run. TURN_NEVER: `err` says who does not, and why. */
static enum turn find_turn(struct many *many, const struct guest *guest, struct err *err)
{
    for (size_t i = 0; i < guest->settings.after_count; i++) {
        const char *name = guest->settings.after[i];
        const struct guest *before = many_guest(many, name);
        const struct many_entry *entry = many_find(many, name);

        if (before == NULL) {
            (void)err_set(err, -ENOENT, "guest '%s', after which it comes, is not defined", name);
            return TURN_NEVER;
        }
        if (entry != NULL && entry->state != MANY_DONE) {
            return TURN_LATER;
        }
        if (!is_up(before)) {
            (void)err_set(err, -ECANCELED, "guest '%s', after which it comes, does not run: %.800s",
                          name,
                          entry == NULL                 ? "it is not enabled"
                          : entry->result.err.code != 0 ? entry->result.err.msg
                                                        : "it has ended again");
            return TURN_NEVER;
        }
    }
    return TURN_NOW;
}

/* When it may be started, counted from when its turn came. */
static uint64_t find_due(struct many_entry *entry, const struct guest *guest)
{
    const struct many *many = entry->many;
    uint64_t after_last =
        many->last_start != 0 ? many->last_start + (uint64_t)many->all->env.stagger_ms : 0;

    if (entry->due == 0) {
        entry->due = uv_now(many->all->env.loop) + (uint64_t)guest->settings.delay_ms;
    }
    return entry->due > after_last ? entry->due : after_last;
}

/* ---- what the store knows of it ---- */

static void write_turn(struct many *many, struct guest *guest)
{
    struct store_turn turn = {.uid = many->caller.uid};
    struct err err = {0};

    (void)snprintf(turn.guest, sizeof(turn.guest), "%s", guest->name);
    (void)snprintf(turn.boot_id, sizeof(turn.boot_id), "%s", guest->all->boot_id);
    guest->has_turn = store_turn_put(guest->all->env.store, &turn, &err) == 0;
    if (!guest->has_turn) {
        log_error("guest: no new qvmd will start it guest=%s why=\"%s\"", guest->name, err.msg);
    }
}

static void end_turn(struct guest *guest)
{
    if (guest != NULL && guest->has_turn) {
        guest->has_turn = false;
        /* or it is told as one that runs, or is tried once more, by the next qvmd */
        (void)store_turn_end(guest->all->env.store, guest->name, NULL);
        crash_point("turn over");
    }
}

static void finish(struct many_entry *entry, const char *note, const struct err *err)
{
    end_turn(many_guest(entry->many, entry->result.name));
    many_end(entry, note, err);
}

/* ---- turns ---- */

/* One that waits; returns when to look again at it, or 0. */
static uint64_t look_at(struct many_entry *entry)
{
    struct many *many = entry->many;
    struct guest *guest = many_guest(many, entry->result.name);
    uint64_t now = uv_now(many->all->env.loop);
    struct err err = {0};
    uint64_t due;

    if (guest == NULL) {
        (void)err_set(&err, -ENOENT, "guest '%s' was undefined", entry->result.name);
        finish(entry, NULL, &err);
        return 0;
    }
    if (is_up(guest)) {
        finish(entry, "it was running already", NULL);
        return 0;
    }
    switch (find_turn(many, guest, &err)) {
    case TURN_LATER:
        return 0;
    case TURN_NEVER:
        finish(entry, NULL, &err);
        return 0;
    case TURN_NOW:
        break;
    }
    due = find_due(entry, guest);
    if (due > now) {
        return due;
    }
    many->last_start = now;
    many_begin(entry);
    if (guest->has_turn) {
        (void)store_turn_begin(many->all->env.store, guest->name, NULL); /* tried once more then */
        crash_point("turn begun");
    }
    guest_start(guest, &many->caller, 0, many_on_done, entry);
    return 0;
}

/* Nobody is under way and nobody waits for time alone: they wait for each other. */
static void end_ring(struct many *many)
{
    for (size_t i = 0; i < many->count; i++) {
        struct err err = {0};

        if (many->entries[i].state == MANY_WAITS) {
            (void)err_set(&err, -EINVAL, "guest '%s' comes, over others, after itself",
                          many->entries[i].result.name);
            finish(&many->entries[i], NULL, &err);
        }
    }
}

static uint64_t look(struct many *many)
{
    uint64_t next = 0;

    for (size_t i = 0; i < many->count; i++) {
        if (many->entries[i].state == MANY_WAITS) {
            uint64_t due = look_at(&many->entries[i]);

            next = due != 0 && (next == 0 || due < next) ? due : next;
        }
    }
    if (next == 0 && many->underway == 0 && !many->is_changed) {
        end_ring(many);
    }
    return next;
}

/* Those who asked are answered, and it goes on. */
static void on_limit(struct many *many)
{
    struct err err = {0};

    (void)err_set(&err, -ETIMEDOUT, "it does not run yet");
    many_answer(many, &err);
}

/* An earlier qvmd had begun its start, and its qvm did not outlive that one. */
static bool is_over(struct many_entry *entry, const struct err *err)
{
    struct guest *guest = guest_find(entry->many->all, entry->result.name);

    if (entry->is_inherited && err != NULL && guest != NULL && guest->has_turn) {
        entry->is_inherited = false;
        entry->state = MANY_WAITS;
        return false;
    }
    end_turn(guest);
    return true;
}

static const struct many_kind starts = {.look = look, .is_over = is_over, .on_limit = on_limit};

void guests_leave_turn(struct guest *guest)
{
    struct many *many, *next;
    struct err err = {0};

    guest->has_turn = false; /* in the store it ends with the wish */
    (void)err_set(&err, -ECANCELED, "guest '%s' was stopped before its turn came", guest->name);
    for (many = LIST_FIRST(&guest->all->manys); many != NULL; many = next) {
        struct many_entry *entry = many->kind == &starts ? many_find(many, guest->name) : NULL;

        next = LIST_NEXT(many, link);
        if (entry != NULL && entry->state == MANY_WAITS) {
            many_end(entry, NULL, &err);
            many_look(many);
        }
    }
}

void guests_leave_turns(struct guests *guests)
{
    struct guest *guest;
    struct many *many, *next;
    struct err err = {0};

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        guest->has_turn = false;
    }
    (void)guests_check_drain(guests, &err);
    for (many = LIST_FIRST(&guests->manys); many != NULL; many = next) {
        next = LIST_NEXT(many, link);
        for (size_t i = 0; many->kind == &starts && i < many->count; i++) {
            if (many->entries[i].state == MANY_WAITS) {
                many_end(&many->entries[i], NULL, &err);
            }
        }
        if (many->kind == &starts) {
            many_look(many);
        }
    }
}

/* All of them, or what the next qvmd knows of it is nothing. */
static void write_turns(struct many *many)
{
    struct store *store = many->all->env.store;
    auto_tx struct store_tx tx = {0};
    struct err err = {0};
    int r = many->count > 0 ? store_begin_light(store, &tx, &err) : -ENOENT;

    for (size_t i = 0; r == 0 && i < many->count; i++) {
        write_turn(many, guest_find(many->all, many->entries[i].result.name));
    }
    if (r == 0 && store_commit(&tx, &err) == 0) {
        crash_point("turns written");
    } else if (many->count > 0) {
        log_error("guest: starts that no new qvmd will know of why=\"%s\"", err.msg);
    }
}

/* NULL: `done` was called. */
static struct many *create_round(struct guests *guests, const struct guest_caller *caller,
                                 guests_done_fn done, void *data)
{
    struct many *many = many_create(guests, caller, &starts, guests->count);
    const struct guest *guest;

    if (many == NULL) {
        done(data, NULL, 0);
        return NULL;
    }
    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if (guest->settings.enabled) {
            (void)many_add(many, guest->name);
        }
    }
    many_listen(many, done, data);
    return many;
}

void guests_start_enabled(struct guests *guests, const struct guest_caller *caller,
                          int64_t timeout_ms, guests_done_fn done, void *data)
{
    struct many *many = create_round(guests, caller, done, data);

    if (many != NULL) {
        write_turns(many);
        many_go(many, timeout_ms);
    }
}

/* ---- after a death of qvmd ---- */

/* What has become of one whose turn is over. */
static void tell_state(struct many_entry *entry)
{
    const struct guest *guest = many_guest(entry->many, entry->result.name);
    struct err err = {0};

    if (is_up(guest)) {
        many_end(entry, NULL, NULL);
        return;
    }
    (void)err_set(&err, -ECHILD, "guest '%s' is %s", guest->name,
                  words_name(&words_state, (int)guest->state));
    many_end(entry, NULL, &err);
}

void guests_await_enabled(struct guests *guests, const struct guest_caller *caller,
                          int64_t timeout_ms, guests_done_fn done, void *data)
{
    struct many *many;

    LIST_FOREACH(many, &guests->manys, link)
    {
        if (many->kind == &starts) {
            many_listen(many, done, data);
            many_set_limit(many, timeout_ms);
            return;
        }
    }
    many = create_round(guests, caller, done, data);
    for (size_t i = 0; many != NULL && i < many->count; i++) {
        tell_state(&many->entries[i]);
    }
    if (many != NULL) {
        many_go(many, timeout_ms);
    }
}

/* One that a start is no good for is not what ends qvmd for ever. */
static bool is_given_up(const struct guest *guest, const struct store_turn *turn)
{
    if (turn->begun < BEGUN_MAX) {
        return false;
    }
    log_error("guest: not started guest=%s why=\"qvmd ended %lld times while it was\"", guest->name,
              (long long)turn->begun);
    return true;
}

static void adopt_turn(struct guests *guests, const struct store_turn *turn, struct many **many)
{
    struct guest *guest = guest_find(guests, turn->guest);
    const struct guest_caller caller = {.uid = turn->uid, .is_admin = true};

    if (guest == NULL) {
        return;
    }
    guest->has_turn = true;
    if (strcmp(turn->boot_id, guests->boot_id) != 0 || guests->drain.reason != REASON_none ||
        is_given_up(guest, turn)) {
        end_turn(guest);
        return;
    }
    if (*many == NULL) {
        *many = many_create(guests, &caller, &starts, guests->count);
    }
    if (*many != NULL) {
        many_add(*many, turn->guest)->is_inherited = guest->state == STATE_starting;
    }
}

void guests_enabled_adopt(struct guests *guests)
{
    auto_free struct store_turn *turns = NULL;
    struct many *many = NULL;
    size_t count = 0;
    struct err err = {0};

    if (store_turns_list(guests->env.store, &turns, &count, &err) < 0) {
        log_error("guest: cannot read who is still to be started why=\"%s\"", err.msg);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        adopt_turn(guests, &turns[i], &many);
    }
    if (many != NULL) {
        log_info("guest: goes on to start enabled guests count=%zu", many->count);
        many_go(many, 0);
    }
}
