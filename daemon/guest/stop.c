/* From `stop` or `kill` to the end of the process. */
#include <errno.h>
#include <string.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/crash_point.h"
#include "daemon/guest/inside.h"
#include "daemon/host/clock.h"
#include "proto/base/log.h"

#define NS_PER_MS 1000000

/* Of a guest whose end may be hurried: more takes the kernel long to free. */
#define HURRY_MEMORY_MAX (INT64_C(1) << 30)

void guest_deadline(struct guest *guest, uint64_t timeout_ms, uv_timer_cb on_due)
{
    uv_update_time(guest->all->env.loop); /* what was done in this turn is not part of the wait */
    (void)uv_timer_start(&guest->timer, on_due, timeout_ms, 0); /* fails only when closing */
}

void guest_no_deadline(struct guest *guest)
{
    (void)uv_timer_stop(&guest->timer);
}

void guest_stand_back(const struct guest *guest, int nice)
{
    struct err err = {0};

    if (guest->all->env.guest_nice != 0 && worker_set_nice(guest->worker, nice, &err) < 0) {
        log_debug("guest: not nice guest=%s why=\"%s\"", guest->name, err.msg);
    }
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

    guest_stand_back(guest, 0); /* its end takes CPU time, and frees what it holds */
    if (worker_signal(guest->worker, SIGKILL, &err) < 0) {
        log_info("guest: not signalled guest=%s why=\"%s\"", guest->name, err.msg);
    }
    if (guest->all->env.is_urgent && guest->memory <= HURRY_MEMORY_MAX &&
        worker_hurry(guest->worker, &err) < 0) {
        log_debug("guest: not hurried guest=%s why=\"%s\"", guest->name, err.msg);
    }
    cgroup_kill(guest->cgroup_fd); /* and whoever else belongs to the instance */
    crash_point("SIGKILL sent");
    guest_deadline(guest, GUEST_STUCK_MS, on_stuck);
}

/* The next qvmd is to go on with it, and not to press the power button. */
static void write_shot(struct guest *guest)
{
    struct store *store = guest->all->env.store;
    auto_tx struct store_tx tx = {0};
    struct err err = {0};
    int r;

    if (guest->instance.reason == REASON_killed) {
        return; /* with the wish, most often */
    }
    guest->instance.reason = REASON_killed;
    r = store_begin_light(store, &tx, &err);
    if (r == 0) {
        r = store_instance_set_reason(store, guest->instance.id, REASON_killed, &err);
    }
    if (r < 0 || store_commit(&tx, &err) < 0) {
        guest->is_state_unwritten = true;
        log_error("guest: cannot write that it is killed guest=%s why=\"%s\"", guest->name,
                  err.msg);
    }
}

void guest_shoot(struct guest *guest)
{
    guest->is_shot = true;
    guest_ask_drop(guest);
    write_shot(guest);
    if (guest->worker != NULL) {
        send_kill(guest);
    }
    (void)store_flush(guest->all->env.store, NULL); /* what it says of its failure it says itself */
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
    crash_point("power button pressed");
}

/* Write the wish with the move (`shot`: what is to follow is SIGKILL). False: there is nothing to
 * end, and `done` was called. */
static bool begin_stop(struct guest *guest, const struct guest_caller *caller, bool shot,
                       guest_done_fn done, void *data)
{
    struct life_step step = {.event = EVENT_stop,
                             .uid = caller->uid,
                             .is_wanted = true,
                             .reason = shot ? REASON_killed : REASON_none,
                             .exit_status = -1};
    struct err err = {0};

    if (!state_has_process(guest->state) && guest->state != STATE_backoff) {
        guest_want(guest, STATE_stopped);
        guests_leave_turn(guest);
        done(data, guest, "it was not running", NULL);
        return false;
    }
    if (guest->state == STATE_backoff) {
        step.reason = guest->instance.reason;
        (void)guest_life(guest, &step, &err);
        guests_leave_turn(guest);
        done(data, guest, NULL, NULL);
        return false;
    }
    if (guest_life(guest, &step, &err) < 0) {
        done(data, guest, NULL, &err);
        return false;
    }
    guests_leave_turn(guest);
    return true;
}

static void on_force(uv_timer_t *timer)
{
    struct guest *guest = timer->data;

    log_info("guest: kill after the time to stop is over guest=%s", guest->name);
    guest_shoot(guest);
}

void guest_force_later(struct guest *guest)
{
    int64_t left_ns = guest->instance.kill_due_ns - clock_boot_ns();

    if (guest->instance.kill_due_ns != 0 && !guest->is_shot) {
        guest_deadline(guest, left_ns > 0 ? (uint64_t)(left_ns / NS_PER_MS) : 0, on_force);
    }
}

/* To be written with the wish: who wants it sooner than others has his way. */
static void want_force(struct guest *guest, int64_t timeout_ms)
{
    int64_t due_ns = clock_boot_ns() + timeout_ms * NS_PER_MS;

    if (guest->instance.kill_due_ns == 0 || due_ns < guest->instance.kill_due_ns) {
        guest->instance.kill_due_ns = due_ns;
    }
}

int64_t guest_stop_ms(const struct guest *guest)
{
    return guest->settings.stop_timeout_ms > 0 ? guest->settings.stop_timeout_ms : GUEST_STOP_MS;
}

void guest_stop(struct guest *guest, const struct guest_caller *caller, int64_t timeout_ms,
                bool kill, guest_done_fn done, void *data)
{
    bool was_starting = guest->state == STATE_starting;
    int64_t patience_ms = timeout_ms > 0 ? timeout_ms : guest_stop_ms(guest);

    if (kill && state_has_process(guest->state)) {
        want_force(guest, patience_ms);
    }
    if (!begin_stop(guest, caller, was_starting || guest->is_shot, done, data)) {
        return;
    }
    if (was_starting) {
        guest_shoot(guest); /* no guest instruction has run: there is nobody to hear a button */
    } else if (!guest->is_shot) {
        guest_no_deadline(guest);
        press_power(guest);
        guest_force_later(guest);
    }
    guest_wait_for(guest, &(struct waiter_spec){.kind = WAIT_GONE,
                                                .timeout_ms = kill ? 0 : patience_ms,
                                                .done = done,
                                                .data = data});
}

void guest_kill(struct guest *guest, const struct guest_caller *caller, guest_done_fn done,
                void *data)
{
    if (begin_stop(guest, caller, true, done, data)) {
        guest_shoot(guest);
        guest_wait_for(guest, &(struct waiter_spec){.kind = WAIT_GONE, .done = done, .data = data});
    }
}
