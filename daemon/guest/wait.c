/* Calls that wait for something to become of a guest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/guest/inside.h"
#include "proto/base/log.h"

/* How long an answer is held back for the locks and devices of who has ended. */
#define RELEASE_WAIT_MS 2000

static void on_time(uv_timer_t *timer);

struct waiter {
    LIST_ENTRY(waiter) link;
    struct guest *guest;
    struct waiter_spec spec;
    int64_t instance;  /* at the beginning */
    bool is_held;      /* it is over, but for what the guest held */
    uint64_t deadline; /* of the loop's time; 0: none */
    uv_timer_t timer;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Its answer, and its end. */
static void finish(struct waiter *waiter, const char *note, const struct err *err)
{
    LIST_REMOVE(waiter, link);
    waiter->guest->waiter_count--;
    waiter->spec.done(waiter->spec.data, waiter->guest, note, err);
    uv_close((uv_handle_t *)&waiter->timer, on_closed);
}

/* Why it does not run, for somebody who started it. */
static void tell_why_not(const struct guest *guest, struct err *err)
{
    const struct store_instance *last = &guest->instance;
    const char *reason = words_name(&words_reason, (int)last->reason);

    if (guest->state == STATE_stopping || guest->state == STATE_stuck ||
        last->reason == REASON_killed) {
        (void)err_set(err, -ECANCELED, "guest '%s' was stopped before it ran", guest->name);
    } else if (last->reason == REASON_denied && guest->doom.code != 0) {
        *err = guest->doom;
    } else if (last->reason == REASON_config_error && last->message[0] != '\0') {
        (void)err_set(err, -ENOEXEC, "%s", last->message);
    } else {
        (void)err_set(err, -ECHILD, "guest '%s' failed (%s): %s", guest->name,
                      reason != NULL ? reason : "unknown", last->message);
    }
    if (guest->state == STATE_backoff) {
        size_t used = strlen(err->msg);

        (void)snprintf(err->msg + used, sizeof(err->msg) - used, "; it is tried again in %lld ms",
                       (long long)guest->instance.retry_ms);
    }
}

/* Is it over with this waiter in the guest's present state? */
static bool check_up(struct waiter *waiter, struct err *err, const char **note)
{
    const struct guest *guest = waiter->guest;

    switch (guest->state) {
    case STATE_starting:
        return false;
    case STATE_running:
    case STATE_paused:
    case STATE_unreachable:
        return true;
    case STATE_stopped:
    case STATE_backoff:
        if (guest->was_granted && guest->instance.reason != REASON_killed &&
            !reason_is_failure(guest->instance.reason)) {
            *note = "it has ended already";
            return true;
        }
        tell_why_not(guest, err);
        return true;
    case STATE_defined:
    case STATE_stopping:
    case STATE_failed:
    case STATE_stuck:
    case STATE_COUNT:
        tell_why_not(guest, err);
        return true;
    }
    return true;
}

static bool check_gone(struct waiter *waiter, struct err *err)
{
    const struct guest *guest = waiter->guest;

    if (guest->instance.id != waiter->instance) {
        return true; /* somebody has started it anew */
    }
    if (guest->state == STATE_stuck) {
        (void)err_set(err, -ETIMEDOUT,
                      "guest '%s' was killed, but its process %d does not end; it is stuck",
                      guest->name, guest->instance.pid);
        return true;
    }
    return !state_has_process(guest->state);
}

/* Nothing happens to it any more unless somebody starts it. */
static bool is_at_rest(enum guest_state state)
{
    return !state_has_process(state) && state != STATE_backoff;
}

static bool check_state(struct waiter *waiter, struct err *err)
{
    const struct guest *guest = waiter->guest;
    const char *reason = words_name(&words_reason, (int)guest->instance.reason);
    const char *message = guest->instance.message;

    if (guest->state == waiter->spec.state) {
        return true;
    }
    if (!waiter->spec.or_rest || !is_at_rest(guest->state)) {
        return false;
    }
    (void)err_set(err, -EALREADY, "guest '%s' is %s%s%s%s%s%s until somebody starts it",
                  guest->name, words_name(&words_state, (int)guest->state),
                  reason != NULL ? " (" : "", reason != NULL ? reason : "",
                  reason != NULL && *message != '\0' ? ": " : "", reason != NULL ? message : "",
                  reason != NULL ? ")" : "");
    return true;
}

/* Whether it has ended and what it held is on its way back: who hears of the end may take it. */
static bool is_coming_back(const struct waiter *waiter)
{
    const struct guest *guest = waiter->guest;
    int64_t instance = waiter->spec.kind == WAIT_GONE ? waiter->instance : guest->instance.id;
    bool has_ended = guest->instance.id != instance || !state_has_process(guest->state);

    return has_ended && guest_is_releasing(guest->all, guest->name, instance);
}

static bool is_over(struct waiter *waiter, struct err *err, const char **note)
{
    switch (waiter->spec.kind) {
    case WAIT_UP:
        return check_up(waiter, err, note);
    case WAIT_GONE:
        return check_gone(waiter, err);
    case WAIT_STATE:
        return check_state(waiter, err);
    }
    return true;
}

/* Wait for the next change; no longer than until the deadline, if it has one. */
static void wait_on(struct waiter *waiter)
{
    uint64_t now = uv_now(waiter->guest->all->env.loop);

    waiter->is_held = false;
    if (waiter->deadline == 0) {
        (void)uv_timer_stop(&waiter->timer);
    } else {
        (void)uv_timer_start(&waiter->timer, on_time,
                             waiter->deadline > now ? waiter->deadline - now : 0, 0);
    }
}

/* Its answer, if it is time for that. */
static void look(struct waiter *waiter)
{
    struct err err = {0};
    const char *note = NULL;

    if (!is_over(waiter, &err, &note)) {
        if (waiter->is_held) {
            wait_on(waiter);
        }
    } else if (!is_coming_back(waiter)) {
        finish(waiter, note, err.code != 0 ? &err : NULL);
    } else if (!waiter->is_held) {
        waiter->is_held = true;
        (void)uv_timer_start(&waiter->timer, on_time, RELEASE_WAIT_MS, 0);
    }
}

/* A lock or a device that does not come back soon is nobody's reason to wait. */
static void tell_what_is_held(struct waiter *waiter)
{
    struct err err = {0};
    const char *note = NULL;

    if (!is_over(waiter, &err, &note)) {
        wait_on(waiter);
        return;
    }
    finish(waiter, note != NULL ? note : "not all that it held is free yet",
           err.code != 0 ? &err : NULL);
}

static void on_time(uv_timer_t *timer)
{
    struct waiter *waiter = timer->data;
    struct guest *guest = waiter->guest;
    struct err err = {0};

    if (waiter->is_held) {
        tell_what_is_held(waiter);
        return;
    }
    (void)err_set(&err, -ETIMEDOUT, "guest '%s' is still %s", guest->name,
                  words_name(&words_state, (int)guest->state));
    if (guest->state == STATE_stopping && !guest->is_shot) {
        (void)err_set(&err, -ETIMEDOUT,
                      "guest '%s' is still stopping; `qvmctl kill %s` ends it by force",
                      guest->name, guest->name);
    }
    finish(waiter, NULL, &err);
}

/* Who watched and went away makes room for others. Not in a callback of a waiter. */
static void drop_unwanted(struct guest *guest)
{
    struct waiter *waiter = LIST_FIRST(&guest->waiters);
    struct err err = {0};

    (void)err_set(&err, -ECANCELED, "nobody waits for it any more");
    while (waiter != NULL) {
        struct waiter *next = LIST_NEXT(waiter, link);

        if (waiter->spec.kind == WAIT_STATE && !guest->all->env.is_wanted(waiter->spec.data)) {
            finish(waiter, NULL, &err);
        }
        waiter = next;
    }
}

void guest_wait_for(struct guest *guest, const struct waiter_spec *spec)
{
    struct waiter *waiter = NULL;
    struct err err = {0};

    if (spec->kind == WAIT_STATE && guest->waiter_count >= GUEST_WAITERS_MAX) {
        drop_unwanted(guest);
    }
    /* Who only watches must not keep others from starting and stopping. */
    if (spec->kind == WAIT_STATE && guest->waiter_count >= GUEST_WAITERS_MAX) {
        (void)err_set(&err, -EAGAIN, "too many calls wait for guest '%s'", guest->name);
    } else if ((waiter = calloc(1, sizeof(*waiter))) == NULL) {
        (void)err_set(&err, -ENOMEM, "out of memory");
    }
    if (waiter == NULL) {
        spec->done(spec->data, guest, NULL, &err);
        return;
    }
    waiter->guest = guest;
    waiter->spec = *spec;
    waiter->instance = guest->instance.id;
    waiter->timer.data = waiter;
    (void)uv_timer_init(guest->all->env.loop, &waiter->timer); /* cannot fail */
    LIST_INSERT_HEAD(&guest->waiters, waiter, link);
    guest->waiter_count++;
    if (spec->timeout_ms > 0) {
        waiter->deadline = uv_now(guest->all->env.loop) + (uint64_t)spec->timeout_ms;
        wait_on(waiter);
    }
    look(waiter);
}

void guest_wake(struct guest *guest)
{
    struct waiter *waiter = LIST_FIRST(&guest->waiters);

    while (waiter != NULL) {
        struct waiter *next = LIST_NEXT(waiter, link);

        look(waiter);
        waiter = next;
    }
}

void guest_wake_all(struct guest *guest, int code, const char *why)
{
    struct waiter *waiter;
    struct err err = {0};

    (void)err_set(&err, code, "%s", why);
    while ((waiter = LIST_FIRST(&guest->waiters)) != NULL) {
        finish(waiter, NULL, &err);
    }
}

void guest_wait(struct guest *guest, enum guest_state state, bool or_rest, int64_t timeout_ms,
                guest_done_fn done, void *data)
{
    guest_wait_for(guest, &(struct waiter_spec){.kind = WAIT_STATE,
                                                .state = state,
                                                .or_rest = or_rest,
                                                .timeout_ms = timeout_ms,
                                                .done = done,
                                                .data = data});
}

/* Of an instance that is over: as its start would have been answered. */
static void tell_old_start(const struct guest *guest, int64_t instance, guest_done_fn done,
                           void *data)
{
    struct store *store = guest->all->env.store;
    struct store_instance old = {0};
    struct err err = {0};
    bool ran = false;
    int r = store_instance_ran(store, instance, &ran, &err);

    if (r == 0 && ran) {
        done(data, guest, "it ran, and has ended since then", NULL);
        return;
    }
    if (r == 0) {
        r = store_instance_get(store, instance, &old, &err);
    }
    if (r == 0) {
        const char *reason = words_name(&words_reason, (int)old.reason);

        (void)err_set(&err, old.reason == REASON_config_error ? -ENOEXEC : -ECHILD,
                      "guest '%s' failed (%s): %.800s", guest->name,
                      reason != NULL ? reason : "unknown", old.message);
    }
    done(data, guest, NULL, &err);
}

void guest_await_start(struct guest *guest, int64_t instance, int64_t timeout_ms,
                       guest_done_fn done, void *data)
{
    if (guest->instance.id == instance && state_has_process(guest->state)) {
        guest_wait_for(guest,
                       &(struct waiter_spec){
                           .kind = WAIT_UP, .timeout_ms = timeout_ms, .done = done, .data = data});
    } else {
        tell_old_start(guest, instance, done, data);
    }
}
