/* The life of a guest, one step at a time: written, told, waited for, in that order. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/guest/device.h"
#include "daemon/guest/events.h"
#include "daemon/guest/inside.h"
#include "daemon/host/clock.h"
#include "daemon/worker/spare.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"

/* What is new in the instance's row after this step. */
static int write_state(struct guest *guest, bool frees_all, struct err *err)
{
    struct store *store = guest->all->env.store;
    const struct store_instance *now = &guest->instance;
    int r;

    if (state_has_process(guest->state)) {
        r = store_instance_set_state(store, now->id, guest->state, err);
        if (r == 0 && now->kill_due_ns != 0) {
            r = store_instance_set_kill_due(store, now->id, now->kill_due_ns, err);
        }
        return r == 0 && now->reason != REASON_none
                   ? store_instance_set_reason(store, now->id, now->reason, err)
                   : r;
    }
    r = store_instance_end(store, now->id,
                           &(struct store_end){.state = guest->state,
                                               .reason = now->reason,
                                               .message = now->message,
                                               .exit_status = now->exit_status,
                                               .ended = now->ended,
                                               .tries = now->tries,
                                               .retry_ms = now->retry_ms},
                           err);
    return r == 0 && frees_all ? reserve_free(store, now->id, err) : r;
}

uid_t guests_pick_uid(const struct guests *guests, int64_t instance)
{
    const struct guests_env *env = &guests->env;
    const struct guest *guest;

    for (uint64_t i = 0; i < env->uid_count; i++) {
        uid_t uid = env->uid_first + (uid_t)(((uint64_t)instance + i) % env->uid_count);
        bool is_free = !spares_has_uid(guests->spares, uid);

        TAILQ_FOREACH(guest, &guests->list, link)
        {
            is_free = is_free && !(state_has_process(guest->state) && guest->instance.uid == uid);
        }
        if (is_free && !guests_cgroup_is_busy(guests, uid)) {
            return uid;
        }
    }
    return (uid_t)-1;
}

/* A new instance in place of the last one. */
static int write_begin(struct guest *guest, uid_t spare_uid, struct store_instance *instance,
                       struct err *err)
{
    struct store *store = guest->all->env.store;
    int r = store_guest_set_desired(store, guest->name, STATE_running, err);

    if (r == 0) {
        r = store_instance_begin(store, instance, err);
    }
    if (r == 0 && geteuid() == 0) {
        instance->uid = spare_uid != 0 ? spare_uid : guests_pick_uid(guest->all, instance->id);
        if (instance->uid == (uid_t)-1) {
            return err_set(err, -EAGAIN, "all %llu uids for guests are in use",
                           (unsigned long long)guest->all->env.uid_count);
        }
        r = store_instance_set_uid(store, instance->id, instance->uid, err);
    }
    return r;
}

static void describe_event(const struct guest *guest, const struct life_step *step,
                           struct msg_event *event)
{
    const struct store_instance *now = &guest->instance;

    *event = (struct msg_event){
        .what = events_what(WHAT_state),
        .guest = lend(guest->name),
        .instance = now->id,
        .pid = now->pid,
        .state = lend(words_name(&words_state, (int)guest->state)),
        .uid = step->uid,
    };
    if (!state_has_process(guest->state)) {
        event->reason = lend(words_name(&words_reason, (int)now->reason));
        event->message = now->message[0] != '\0' ? lend(now->message) : NULL;
    }
}

/* Only a wish waits for the disk. That of a start reaches it with the claims, before anything is
 * granted; that of a kill after SIGKILL, in the same turn. */
static bool waits_for_disk(const struct life_step *step)
{
    return step->event == EVENT_stop && step->reason != REASON_killed;
}

/* The step in one transaction; nothing is written on failure. */
static int write_step(struct guest *guest, const struct life_step *step,
                      struct store_instance *begun, struct msg_event *event,
                      char time[EVENTS_TIME_SIZE], struct err *err)
{
    struct store *store = guest->all->env.store;
    auto_tx struct store_tx tx = {0};
    int r =
        waits_for_disk(step) ? store_begin(store, &tx, err) : store_begin_light(store, &tx, err);

    if (r == 0 && step->event == EVENT_stop) {
        r = store_guest_set_desired(store, guest->name, guest->desired, err);
    }
    if (r == 0 && step->is_wanted && guest->has_turn) {
        r = store_turn_end(store, guest->name, err);
    }
    if (r == 0 && begun != NULL) {
        r = write_begin(guest, step->spare_uid, begun, err);
        event->instance = begun->id;
    } else if (r == 0) {
        r = write_state(guest, step->frees_all, err);
    }
    if (r == 0) {
        r = events_write(guest->all->env.events, event, time, err);
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

static void end_instance(struct guest *guest, const struct life_step *step)
{
    struct store_instance *now = &guest->instance;

    now->reason = step->reason;
    now->exit_status = step->exit_status;
    (void)snprintf(now->message, sizeof(now->message), "%s",
                   step->message != NULL ? step->message : "");
    (void)clock_now_text(now->ended);
}

/* What is known of it now that it has no process (any more). */
static void rest_instance(struct guest *guest, const struct life_step *step, bool had_process)
{
    struct store_instance *now = &guest->instance;

    if (had_process) {
        end_instance(guest, step);
    } else if (step->message != NULL) {
        (void)snprintf(now->message, sizeof(now->message), "%s", step->message);
    }
    now->tries = step->tries;
    now->retry_ms = step->retry_ms;
}

static void begin_instance(const struct guest *guest, const struct life_step *step,
                           struct store_instance *begun)
{
    *begun = (struct store_instance){.uid = geteuid(), .state = STATE_starting, .exit_status = -1};
    (void)snprintf(begun->guest, sizeof(begun->guest), "%s", guest->name);
    (void)snprintf(begun->boot_id, sizeof(begun->boot_id), "%s", guest->all->boot_id);
    (void)snprintf(begun->nonce, sizeof(begun->nonce), "%s", guest->instance.nonce);
    (void)clock_now_text(begun->started);
    if (step->event == EVENT_due) {
        begun->restarts = guest->instance.restarts + 1;
        begun->tries = guest->instance.tries;
    }
}

/* `start` or `due`: all of it is written, or it does not begin. The nonce stands in the instance
 * already. */
static int life_begin(struct guest *guest, const struct life_step *step, struct err *err)
{
    enum guest_state before = guest->state;
    struct store_instance begun;
    struct msg_event event;
    char time[EVENTS_TIME_SIZE];
    int r;

    begin_instance(guest, step, &begun);
    guest->state = STATE_starting;
    describe_event(guest, step, &event);
    event.pid = 0;
    r = write_step(guest, step, &begun, &event, time, err);
    if (r < 0) {
        guest->state = before;
        return r;
    }
    guest->instance = begun;
    guest->last_reset[0] = '\0';
    guest->desired = STATE_running;
    guest->is_desired_unwritten = guest->is_state_unwritten = false;
    guest_no_deadline(guest);
    events_publish(guest->all->env.events, &event);
    guest_wake(guest);
    return 0;
}

int guest_life(struct guest *guest, const struct life_step *step, struct err *err)
{
    int next = state_move(guest->state, step->event);
    struct msg_event event;
    struct err why = {0};
    char time[EVENTS_TIME_SIZE];

    if (next < 0) {
        return err_set(err, -EALREADY, "guest '%s' is %s", guest->name,
                       words_name(&words_state, (int)guest->state));
    }
    if (next == STATE_starting) {
        return life_begin(guest, step, err);
    }
    if (guest->state == STATE_backoff) {
        guest_no_deadline(guest);
    }
    if (!state_has_process((enum guest_state)next)) {
        rest_instance(guest, step, state_has_process(guest->state));
    } else if (step->reason != REASON_none) {
        guest->instance.reason = step->reason;
    }
    if (step->event == EVENT_stop && step->is_wanted) {
        guest->desired = STATE_stopped;
    }
    guest->state = (enum guest_state)next;
    guest->instance.state = guest->state;
    describe_event(guest, step, &event);
    guest->is_state_unwritten = write_step(guest, step, NULL, &event, time, &why) < 0;
    if (guest->is_state_unwritten) {
        log_error("guest: cannot write the state guest=%s state=%s why=\"%s\"", guest->name,
                  words_name(&words_state, next), why.msg);
        guest->is_desired_unwritten = guest->is_desired_unwritten || step->event == EVENT_stop;
        events_tell(guest->all->env.events, &event); /* kept in memory with its number */
    } else {
        events_publish(guest->all->env.events, &event);
    }
    if (guest->state == STATE_backoff) {
        guest_retry_later(guest);
    }
    guest_wake(guest);
    return 0;
}

void guest_want(struct guest *guest, enum guest_state desired)
{
    struct store *store = guest->all->env.store;
    auto_tx struct store_tx tx = {0};
    struct err err = {0};
    int r = store_begin(store, &tx, &err);

    guest->desired = desired;
    if (r == 0) {
        r = store_guest_set_desired(store, guest->name, desired, &err);
    }
    if (r == 0 && guest->has_turn) {
        r = store_turn_end(store, guest->name, &err);
    }
    guest->is_desired_unwritten = (r == 0 ? store_commit(&tx, &err) : r) < 0;
    if (guest->is_desired_unwritten) {
        log_error("guest: cannot write what is wanted guest=%s why=\"%s\"", guest->name, err.msg);
    }
}

static void write_again(struct guest *guest)
{
    struct store *store = guest->all->env.store;

    if (guest->is_desired_unwritten) {
        guest->is_desired_unwritten =
            store_guest_set_desired(store, guest->name, guest->desired, NULL) < 0;
    }
    if (guest->is_state_unwritten) {
        guest->is_state_unwritten = write_state(guest, false, NULL) < 0;
        if (!guest->is_state_unwritten && !state_has_process(guest->state)) {
            guest_remove_dir(guest->all, guest->name, guest->instance.id);
        }
    }
}

int guests_need_store(struct guests *guests, struct err *err)
{
    struct guest *guest;

    if (store_degraded(guests->env.store) != NULL && store_retry(guests->env.store, err) < 0) {
        return -EROFS;
    }
    guests_tell_of_store(guests);
    TAILQ_FOREACH(guest, &guests->list, link)
    {
        write_again(guest);
    }
    guest_release_again(guests); /* what failed because of the store, or of a lock */
    guests_devices_sweep(guests);
    return 0;
}

void guest_tell(struct guest *guest, enum event_what what, const char *message, uid_t uid)
{
    struct msg_event event;

    describe_event(guest, &(struct life_step){.uid = uid}, &event);
    event.what = events_what(what);
    event.reason = NULL;
    event.message = lend(message);
    events_tell(guest->all->env.events, &event);
}
