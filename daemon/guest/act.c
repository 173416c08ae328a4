/* What operators want to be done to a VM that runs: its qvm does it, and answers.
 *
 * A wish is known to the qvm by its key. So it is sent again when the connection was lost, and a
 * call that is repeated after a crash of qvmd is done once. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/crash_point.h"
#include "daemon/guest/inside.h"
#include "proto/base/cleanup.h"

#define KEY_SIZE  161
#define NOTE_SIZE 4352
#define KEYS_SIZE 64
#define VDEV_SIZE 64

struct act {
    LIST_ENTRY(act) link;
    struct guest *guest;
    struct guest_act_spec spec;
    enum msg_control wish;
    int64_t serial;
    char key[KEY_SIZE];
    char note[NOTE_SIZE];
    char keys[KEYS_SIZE];
    char vdev[VDEV_SIZE];
    int fd; /* goes with it; -1: none */
    uid_t uid;
    guest_done_fn done;
    void *data;
    uv_timer_t timer;
};

static const struct {
    enum msg_control wish;
    enum guest_state needs, done; /* STATE_COUNT as the second: it is never done already */
    const char *note;             /* when it is */
    const char *asked;            /* event; NULL: the state says it */
} kinds[] = {
    [GUEST_PAUSE] = {CONTROL_pause, STATE_running, STATE_paused, "it was paused already", NULL},
    [GUEST_RESUME] = {CONTROL_resume, STATE_paused, STATE_running, "it was running already", NULL},
    [GUEST_RESET] = {CONTROL_reset_button, STATE_running, STATE_COUNT, NULL, "reset"},
    [GUEST_DUMP] = {CONTROL_dump, STATE_running, STATE_COUNT, NULL, NULL},
    [GUEST_SENDKEY] = {CONTROL_sendkey, STATE_running, STATE_COUNT, NULL, NULL},
    [GUEST_SENDBREAK] = {CONTROL_sendbreak, STATE_running, STATE_COUNT, NULL, NULL},
    [GUEST_POINT] = {CONTROL_point, STATE_running, STATE_COUNT, NULL, NULL},
    [GUEST_CONSOLE_SIZE] = {CONTROL_console_size, STATE_running, STATE_COUNT, NULL, NULL},
    [GUEST_BALLOON] = {CONTROL_balloon, STATE_running, STATE_COUNT, NULL, NULL},
    [GUEST_RESIZE] = {CONTROL_resize, STATE_running, STATE_COUNT, NULL, NULL},
    [GUEST_REBOOT] = {CONTROL_reboot, STATE_running, STATE_COUNT, NULL, "reboot"},
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void finish(struct act *act, const char *note, const struct err *err)
{
    LIST_REMOVE(act, link);
    act->guest->act_count--;
    cleanup_close(&act->fd);
    act->done(act->data, act->guest, note, err);
    uv_close((uv_handle_t *)&act->timer, on_closed);
}

/* Without a conversation it waits for the next one. */
static int send_wish(struct act *act, struct err *err)
{
    struct msg_act packet = {
        .serial = act->serial, .key = act->key, .keys = act->keys, .vdev = act->vdev};
    int r = 0;

    packet.size = act->spec.size;
    packet.x = act->spec.x;
    packet.y = act->spec.y;
    if (act->wish == CONTROL_reboot) {
        packet.timeout_ms = act->spec.timeout_ms;
    }
    if (act->guest->worker != NULL) {
        r = worker_send(act->guest->worker, act->wish, &packet, &act->fd, act->fd >= 0, err);
    }
    crash_point("wish sent");
    return r == -ENOTCONN || r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

static void on_time(uv_timer_t *timer)
{
    struct act *act = timer->data;
    struct err err = {0};

    if (act->wish == CONTROL_reboot && act->spec.force) {
        act->wish = CONTROL_reset_button;
        if (send_wish(act, &err) == 0) {
            (void)uv_timer_start(&act->timer, on_time, GUEST_ACT_MS, 0);
            return;
        }
    } else if (act->wish == CONTROL_reboot) {
        (void)err_set(&err, -ETIMEDOUT,
                      "guest '%s' has not switched itself off to be rebooted; `qvmctl reset %s` "
                      "does it by force",
                      act->guest->name, act->guest->name);
    } else {
        (void)err_set(&err, -ETIMEDOUT, "the qvm of guest '%s' has not done it yet",
                      act->guest->name);
    }
    finish(act, NULL, &err);
}

/* Whether it can be wanted now; 1: it is so already. */
static int check_state(const struct guest *guest, enum guest_act_kind kind, struct err *err)
{
    if (guest->state == kinds[kind].needs ||
        ((kind == GUEST_RESET || kind == GUEST_DUMP) && guest->state == STATE_paused)) {
        return 0;
    }
    if (guest->state == kinds[kind].done) {
        return 1;
    }
    return err_set(err, -EALREADY, "guest '%s' is %s%s", guest->name,
                   words_name(&words_state, (int)guest->state),
                   kind == GUEST_REBOOT && guest->state == STATE_paused
                       ? "; resume it first, or reset it"
                       : "");
}

static void make_key(struct act *act)
{
    if (act->spec.request_id != NULL && act->spec.request_id[0] != '\0') {
        (void)snprintf(act->key, sizeof(act->key), "%lu/%s", (unsigned long)act->uid,
                       act->spec.request_id);
    } else {
        (void)snprintf(act->key, sizeof(act->key), "%" PRId64, act->serial);
    }
}

static struct act *create(struct guest *guest, const struct guest_caller *caller,
                          const struct guest_act_spec *spec, struct err *err)
{
    struct act *act = NULL;

    if (guest->act_count >= GUEST_ACTS_MAX) {
        (void)err_set(err, -EAGAIN, "too many calls wait for the qvm of guest '%s'", guest->name);
    } else if ((act = calloc(1, sizeof(*act))) == NULL) {
        (void)err_set(err, -ENOMEM, "out of memory");
    }
    if (act == NULL) {
        return NULL;
    }
    act->guest = guest;
    act->spec = *spec;
    act->wish = kinds[spec->kind].wish;
    act->serial = ++guest->all->last_act;
    act->uid = caller->uid;
    make_key(act);
    act->spec.request_id = NULL; /* it is the caller's */
    (void)snprintf(act->keys, sizeof(act->keys), "%s", spec->keys != NULL ? spec->keys : "");
    act->spec.keys = NULL;
    (void)snprintf(act->vdev, sizeof(act->vdev), "%s", spec->vdev != NULL ? spec->vdev : "");
    act->spec.vdev = NULL;
    act->fd = spec->kind == GUEST_DUMP ? fcntl(spec->fd, F_DUPFD_CLOEXEC, 0) : -1;
    (void)snprintf(act->note, sizeof(act->note), "%s", spec->note != NULL ? spec->note : "");
    if (spec->kind == GUEST_DUMP) {
        act->spec.timeout_ms = GUEST_DUMP_MS;
    } else if (spec->kind != GUEST_REBOOT) {
        act->spec.timeout_ms = GUEST_ACT_MS;
    } else if (spec->timeout_ms == 0) {
        act->spec.timeout_ms = guest_stop_ms(guest);
    }
    act->timer.data = act;
    (void)uv_timer_init(guest->all->env.loop, &act->timer); /* cannot fail */
    LIST_INSERT_HEAD(&guest->acts, act, link);
    guest->act_count++;
    return act;
}

void guest_act(struct guest *guest, const struct guest_caller *caller,
               const struct guest_act_spec *spec, guest_done_fn done, void *data)
{
    struct act *act;
    struct err err = {0};
    int r = check_state(guest, spec->kind, &err);

    if (r != 0) {
        done(data, guest, r > 0 ? kinds[spec->kind].note : NULL, r < 0 ? &err : NULL);
        return;
    }
    act = create(guest, caller, spec, &err);
    if (act == NULL) {
        done(data, guest, NULL, &err);
        return;
    }
    act->done = done;
    act->data = data;
    if (kinds[spec->kind].asked != NULL) { /* written first: see request.c */
        guest_tell(guest, WHAT_asked, kinds[spec->kind].asked, caller->uid);
        crash_point("wish written");
    }
    if (send_wish(act, &err) < 0) {
        finish(act, NULL, &err);
        return;
    }
    uv_update_time(guest->all->env.loop); /* what was done in this turn is not part of the wait */
    (void)uv_timer_start(&act->timer, on_time, (uint64_t)act->spec.timeout_ms, 0);
}

uid_t guest_act_uid(const struct guest *guest, enum guest_act_kind kind)
{
    const struct act *act;

    LIST_FOREACH(act, &guest->acts, link)
    {
        if (act->spec.kind == kind) {
            return act->uid;
        }
    }
    return 0;
}

void guest_on_acted(struct guest *guest, const struct msg_acted *acted)
{
    const struct error_word *word;
    struct act *act;
    struct err err = {0};

    LIST_FOREACH(act, &guest->acts, link)
    {
        if (act->serial != acted->serial) {
            continue;
        }
        if (acted->error != NULL) {
            word = error_by_name(acted->error);
            (void)err_set(&err, word != NULL ? word->code : -EIO, "%s",
                          acted->message != NULL ? acted->message : acted->error);
        }
        finish(act, act->note[0] != '\0' ? act->note : acted->message,
               acted->error != NULL ? &err : NULL);
        return;
    }
}

void guest_acts_again(struct guest *guest)
{
    struct act *act = LIST_FIRST(&guest->acts);

    while (act != NULL) {
        struct act *next = LIST_NEXT(act, link);
        struct err err = {0};

        if (send_wish(act, &err) < 0) {
            finish(act, NULL, &err);
        }
        act = next;
    }
}

/* A reset that ends the process, and a reboot that is to, are done by that. */
static bool is_done_by_end(const struct act *act, enum guest_reason reason)
{
    return (act->spec.kind == GUEST_REBOOT || act->spec.kind == GUEST_RESET) &&
           reason == REASON_reboot;
}

void guest_acts_end(struct guest *guest)
{
    const struct store_instance *last = &guest->instance;
    struct act *act;

    while ((act = LIST_FIRST(&guest->acts)) != NULL) {
        struct err err = {0};

        if (is_done_by_end(act, last->reason)) {
            finish(act, "its process has ended with that, as it was told to", NULL);
            continue;
        }
        (void)err_set(&err, reason_is_failure(last->reason) ? -ECHILD : -ECANCELED,
                      "guest '%s' has ended (%s)%s%s", guest->name,
                      words_name(&words_reason, (int)last->reason),
                      last->message[0] != '\0' ? ": " : "", last->message);
        finish(act, NULL, &err);
    }
}

void guest_acts_fail(struct guest *guest, int code, const char *why)
{
    struct act *act;
    struct err err = {0};

    (void)err_set(&err, code, "%s", why);
    while ((act = LIST_FIRST(&guest->acts)) != NULL) {
        finish(act, NULL, &err);
    }
}
