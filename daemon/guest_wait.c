/* Calls that wait for something to become of a guest. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/guest_inside.h"
#include "proto/base/log.h"

struct waiter {
    LIST_ENTRY(waiter) link;
    struct guest *guest;
    struct waiter_spec spec;
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
}

/* Is it over with this waiter in the guest's present state? */
static bool check_up(struct waiter *waiter, struct err *err, const char **note)
{
    const struct guest *guest = waiter->guest;

    switch (guest->state) {
    case STATE_starting:
    case STATE_backoff:
        return false;
    case STATE_running:
    case STATE_paused:
    case STATE_unreachable:
        return true;
    case STATE_stopped:
        if (guest->was_granted && guest->instance.reason != REASON_killed) {
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

    if (guest->state == STATE_stuck) {
        (void)err_set(err, -ETIMEDOUT,
                      "guest '%s' was killed, but its process %d does not end; it is stuck",
                      guest->name, guest->instance.pid);
        return true;
    }
    return !state_has_process(guest->state);
}

static bool check(struct waiter *waiter, struct err *err, const char **note)
{
    switch (waiter->spec.kind) {
    case WAIT_UP:
        return check_up(waiter, err, note);
    case WAIT_GONE:
        return check_gone(waiter, err);
    case WAIT_STATE:
        return waiter->guest->state == waiter->spec.state;
    }
    return true;
}

static void on_time(uv_timer_t *timer)
{
    struct waiter *waiter = timer->data;
    struct guest *guest = waiter->guest;
    struct err err = {0};

    if (waiter->spec.kill) {
        log_info("guest: kill after the time to stop is over guest=%s", guest->name);
        guest_shoot(guest);
        return; /* and waits until it is gone, or stuck */
    }
    (void)err_set(&err, -ETIMEDOUT, "guest '%s' is still %s", guest->name,
                  words_name(&words_state, (int)guest->state));
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
    const char *note = NULL;

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
    waiter->timer.data = waiter;
    (void)uv_timer_init(guest->all->env.loop, &waiter->timer); /* cannot fail */
    LIST_INSERT_HEAD(&guest->waiters, waiter, link);
    guest->waiter_count++;
    if (check(waiter, &err, &note)) {
        finish(waiter, note, err.code != 0 ? &err : NULL);
    } else if (spec->timeout_ms > 0) {
        (void)uv_timer_start(&waiter->timer, on_time, (uint64_t)spec->timeout_ms, 0);
    }
}

void guest_wake(struct guest *guest)
{
    struct waiter *waiter = LIST_FIRST(&guest->waiters);

    while (waiter != NULL) {
        struct waiter *next = LIST_NEXT(waiter, link);
        struct err err = {0};
        const char *note = NULL;

        if (check(waiter, &err, &note)) {
            finish(waiter, note, err.code != 0 ? &err : NULL);
        }
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

void guest_wait(struct guest *guest, enum guest_state state, int64_t timeout_ms, guest_done_fn done,
                void *data)
{
    guest_wait_for(guest, &(struct waiter_spec){.kind = WAIT_STATE,
                                                .state = state,
                                                .timeout_ms = timeout_ms,
                                                .done = done,
                                                .data = data});
}
