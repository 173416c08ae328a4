/* From `stop` or `kill` to the end of the process. */
#include <errno.h>
#include <string.h>

#include "daemon/guest_inside.h"
#include "proto/base/log.h"

void guest_deadline(struct guest *guest, uint64_t timeout_ms, uv_timer_cb on_due)
{
    (void)uv_timer_start(&guest->timer, on_due, timeout_ms, 0); /* fails only when closing */
}

void guest_no_deadline(struct guest *guest)
{
    (void)uv_timer_stop(&guest->timer);
}

static void on_stuck(uv_timer_t *timer)
{
    struct guest *guest = timer->data;
    struct err err = {0};

    log_error("guest: outlives SIGKILL guest=%s pid=%d", guest->name, guest->instance.pid);
    if (guest_life(guest, &(struct life_step){.event = EVENT_stick}, &err) < 0) {
        log_debug("guest: no move guest=%s why=\"%s\"", guest->name, err.msg);
    }
}

static void send_kill(struct guest *guest)
{
    struct err err = {0};

    if (worker_signal(guest->worker, SIGKILL, &err) < 0) {
        log_info("guest: not signalled guest=%s why=\"%s\"", guest->name, err.msg);
    }
    guest_deadline(guest, GUEST_STUCK_MS, on_stuck);
}

void guest_shoot(struct guest *guest)
{
    guest->is_shot = true;
    guest_ask_drop(guest);
    if (guest->worker != NULL) {
        send_kill(guest);
    }
}

static void on_doomed_stuck(uv_timer_t *timer)
{
    struct guest *guest = timer->data;
    struct err err = {0};

    /* `stuck` is reached through `stopping` alone. */
    if (guest_life(guest, &(struct life_step){.event = EVENT_stop}, &err) == 0) {
        on_stuck(timer);
    }
}

void guest_doom(struct guest *guest, enum guest_reason reason, const struct err *why)
{
    log_warn("guest: ended before it ran guest=%s why=\"%s\"", guest->name, why->msg);
    if (guest->doom.code == 0) {
        guest->doom = *why;
        guest->doom_reason = reason;
    }
    guest_ask_drop(guest);
    if (guest->worker != NULL) {
        send_kill(guest);
        guest_deadline(guest, GUEST_STUCK_MS, on_doomed_stuck);
    }
}

static void on_denied_late(uv_timer_t *timer)
{
    struct guest *guest = timer->data;

    guest_doom(guest, REASON_denied, &guest->doom);
}

void guest_denied_deadline(struct guest *guest)
{
    guest_deadline(guest, GUEST_DENIED_MS, on_denied_late);
}

static void press_power(struct guest *guest)
{
    struct msg_none none;
    struct err err = {0};

    memset(&none, 0, sizeof(none));
    if (guest->worker == NULL ||
        worker_send(guest->worker, CONTROL_power_button, &none, NULL, 0, &err) < 0) {
        log_warn("guest: power button not pressed guest=%s why=\"%s\"", guest->name, err.msg);
    }
}

/* Write the wish, move. False: there is nothing to end, and `done` was called. */
static bool begin_stop(struct guest *guest, const struct guest_caller *caller, guest_done_fn done,
                       void *data)
{
    struct err err = {0};

    guest_want(guest, STATE_stopped);
    if (guest->state == STATE_backoff) {
        (void)guest_life(
            guest, &(struct life_step){.event = EVENT_stop, .uid = caller->uid, .exit_status = -1},
            &err);
        done(data, guest, NULL, NULL);
        return false;
    }
    if (!state_has_process(guest->state)) {
        done(data, guest, "it was not running", NULL);
        return false;
    }
    if (guest_life(guest, &(struct life_step){.event = EVENT_stop, .uid = caller->uid}, &err) < 0) {
        done(data, guest, NULL, &err);
        return false;
    }
    return true;
}

void guest_stop(struct guest *guest, const struct guest_caller *caller, int64_t timeout_ms,
                bool kill, guest_done_fn done, void *data)
{
    bool was_starting = guest->state == STATE_starting;

    if (!begin_stop(guest, caller, done, data)) {
        return;
    }
    guest_no_deadline(guest);
    if (was_starting) {
        guest_shoot(guest); /* no guest instruction has run: there is nobody to hear a button */
    } else if (!guest->is_shot) {
        press_power(guest);
    }
    guest_wait_for(guest,
                   &(struct waiter_spec){.kind = WAIT_GONE,
                                         .timeout_ms = timeout_ms > 0 ? timeout_ms : GUEST_STOP_MS,
                                         .kill = kill,
                                         .done = done,
                                         .data = data});
}

void guest_kill(struct guest *guest, const struct guest_caller *caller, guest_done_fn done,
                void *data)
{
    if (begin_stop(guest, caller, done, data)) {
        guest_shoot(guest);
        guest_wait_for(guest, &(struct waiter_spec){.kind = WAIT_GONE, .done = done, .data = data});
    }
}
