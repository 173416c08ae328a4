/* What the policy makes of an end, and the wait before the next try. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/guest/inside.h"
#include "daemon/guest/policy.h"
#include "daemon/host/clock.h"
#include "proto/base/log.h"

/* How long its process has been there, by a clock that neither jumps nor ends with qvmd. */
static int64_t ran_ms(const struct guest *guest)
{
    int64_t begun_ms = process_began_ms(guest->instance.start_ticks);
    int64_t now_ms = clock_boot_ns() / 1000000;

    return guest->instance.start_ticks != 0 && now_ms > begun_ms ? now_ms - begun_ms : 0;
}

static struct policy_verdict judge(const struct guest *guest, enum guest_reason reason, int64_t ran)
{
    return policy_judge(&guest->all->env.restarts, &guest->settings,
                        &(struct policy_end){.reason = reason,
                                             .desired = guest->desired,
                                             .is_draining = guest->all->drain.reason != REASON_none,
                                             .ran_ms = ran,
                                             .tries = guest->instance.tries});
}

static void say_given_up(const struct policy_verdict *verdict, const char *why, char *words)
{
    (void)snprintf(words, STORE_MESSAGE_SIZE, "given up after %lld tries in a row: %.900s",
                   (long long)verdict->tries, why);
}

void guest_judge(const struct guest *guest, struct life_step *step, char *words)
{
    enum guest_reason drain = guest->all->drain.reason;
    struct policy_verdict verdict;

    if (drain != REASON_none && !reason_is_failure(step->reason)) {
        step->reason = drain;
    }
    verdict = judge(guest, step->reason, ran_ms(guest));
    step->event = reason_is_failure(step->reason) ? EVENT_died : EVENT_ended;
    if (verdict.what == POLICY_RETRY && state_move(guest->state, EVENT_retry) >= 0) {
        step->event = EVENT_retry;
        step->tries = verdict.tries;
        step->retry_ms = verdict.wait_ms;
    } else if (verdict.what == POLICY_GIVE_UP) {
        step->event = EVENT_died;
        step->tries = verdict.tries;
        say_given_up(&verdict, step->message, words);
        step->message = words;
    }
}

/* ---- the wait ---- */

static void leave(struct guest *guest, const char *message)
{
    struct life_step step = {.event = reason_is_failure(guest->instance.reason) || message != NULL
                                          ? EVENT_died
                                          : EVENT_stop,
                             .message = message,
                             .tries = guest->instance.tries};
    struct err err = {0};

    if (guest_life(guest, &step, &err) < 0) {
        log_error("guest: not left guest=%s why=\"%s\"", guest->name, err.msg);
    }
}

static void on_due(uv_timer_t *timer)
{
    struct guest *guest = timer->data;
    struct policy_verdict verdict;
    char words[STORE_MESSAGE_SIZE];
    struct err err = {0};
    int r = guest_begin(guest, EVENT_due, 0, &err);

    if (r == 0) {
        return;
    }
    log_warn("guest: not started again guest=%s why=\"%s\"", guest->name, err.msg);
    verdict = judge(guest, REASON_denied, 0);
    if (r == -EROFS || verdict.what == POLICY_REST) {
        guest_retry_later(guest); /* no fault of the guest's */
    } else if (verdict.what == POLICY_RETRY) {
        guest->instance.tries = verdict.tries;
        guest->instance.retry_ms = verdict.wait_ms;
        guest_retry_later(guest);
    } else {
        say_given_up(&verdict, err.msg, words);
        leave(guest, words);
    }
}

void guest_retry_later(struct guest *guest)
{
    guest_deadline(guest, (uint64_t)guest->instance.retry_ms, on_due);
}

void guest_retry_adopt(struct guest *guest)
{
    int64_t ended_ns = 0;
    int64_t left_ms = guest->instance.retry_ms;

    if (strcmp(guest->instance.boot_id, guest->all->boot_id) != 0) {
        leave(guest, NULL); /* what comes after a boot is said by `enabled` */
        return;
    }
    if (clock_parse(guest->instance.ended, &ended_ns) == 0) {
        left_ms = policy_left_ms(left_ms, ended_ns, clock_real_ns());
    }
    guest_deadline(guest, (uint64_t)left_ms, on_due);
    guest_retry_check(guest);
}

void guest_retry_check(struct guest *guest)
{
    enum guest_reason reason = guest->instance.reason;

    if (guest->state != STATE_backoff) {
        return;
    }
    if (guest->desired != STATE_running || guest->all->drain.reason != REASON_none ||
        (!reason_is_restarted(reason, (enum guest_restart)guest->settings.restart) &&
         !(reason == REASON_reboot && guest->settings.on_reboot == (int)ON_REBOOT_restart))) {
        leave(guest, NULL);
    }
}

int64_t guest_retry_left_ms(const struct guest *guest)
{
    return (int64_t)uv_timer_get_due_in(&guest->timer);
}
