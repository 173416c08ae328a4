/* Methods about guests: what they are and what becomes of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/lend.h"
#include "daemon/ops_inside.h"
#include "daemon/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

static void audit(const struct reply *reply, const char *what, const char *guest)
{
    const struct peer *peer = reply_peer(reply);

    log_info("audit: %s guest=%s uid=%u pid=%d", what, guest, peer->uid, peer->pid);
}

/* Answer with the guest as it is now, and perhaps a remark. */
static void reply_outcome(struct reply *reply, const struct guest *guest, const char *note)
{
    struct guest_times times;
    struct msg_guest info;
    struct msg_outcome outcome = {.guest = &info, .note = lend(note)};

    guest_describe(guest, &times, &info);
    reply_result(reply, MSG_outcome, &outcome);
}

static void on_done(void *data, const struct guest *guest, const char *note, const struct err *err)
{
    if (err != NULL) {
        reply_error(data, err);
    } else {
        reply_outcome(data, guest, note);
    }
}

static void refuse(struct reply *reply, int code, const char *why)
{
    struct err err = {0};

    (void)err_set(&err, code, "%s", why);
    reply_error(reply, &err);
}

/* Define what the request holds; false: the refusal was sent. */
static bool define(struct ops *ops, struct reply *reply, const char *name,
                   const struct msg_definition *definition, enum guest_define_for purpose,
                   struct guest **guest, const char **note)
{
    struct guest_caller caller = ops_caller(reply);
    struct err err = {0};

    audit(reply, "define", name);
    if (guest_define(ops->env.guests, name, definition, purpose, &caller, guest, note, &err) < 0) {
        log_warn("audit: refused define guest=%s uid=%u why=\"%s\"", name, caller.uid, err.msg);
        reply_error(reply, &err);
        return false;
    }
    return true;
}

void op_define(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_define_params *wanted = params;
    struct guest *guest = NULL;
    const char *note = NULL;

    if (wanted->definition == NULL) {
        refuse(reply, -EINVAL, "definition: must be there");
        return;
    }
    if (define(ops, reply, wanted->name, wanted->definition, GUEST_DEFINE_TO_KEEP, &guest, &note)) {
        reply_outcome(reply, guest, note);
    }
}

void op_undefine(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_guest_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);
    struct err err = {0};

    if (guest == NULL) {
        return;
    }
    audit(reply, "undefine", wanted->name);
    if (guest_undefine(guest, &caller, &err) < 0) {
        reply_error(reply, &err);
    } else {
        reply_result(reply, MSG_outcome, &(struct msg_outcome){0});
    }
}

void op_start(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_start_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct guest *guest = NULL;
    const char *note = NULL;

    if (wanted->definition != NULL) {
        if (!define(ops, reply, wanted->name, wanted->definition, GUEST_DEFINE_TO_START, &guest,
                    &note)) {
            return;
        }
    } else {
        guest = ops_guest(ops, reply, wanted->name, true);
        if (guest == NULL) {
            return;
        }
    }
    audit(reply, "start", wanted->name);
    guest_start(guest, &caller, wanted->timeout_ms, on_done, reply);
}

void op_stop(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_stop_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);

    if (guest != NULL) {
        audit(reply, "stop", wanted->name);
        guest_stop(guest, &caller, wanted->timeout_ms, wanted->kill, on_done, reply);
    }
}

void op_kill(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_guest_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);

    if (guest != NULL) {
        audit(reply, "kill", wanted->name);
        guest_kill(guest, &caller, on_done, reply);
    }
}

void op_wait(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_wait_params *wanted = params;
    struct guest *guest = ops_guest(ops, reply, wanted->name, false);

    if (guest != NULL) {
        guest_wait(guest, (enum guest_state)wanted->state, wanted->timeout_ms, on_done, reply);
    }
}

static bool is_wanted(const struct msg_list_params *wanted, const char *name)
{
    for (size_t i = 0; i < wanted->names_count; i++) {
        if (strcmp(wanted->names[i], name) == 0) {
            return true;
        }
    }
    return wanted->names_count == 0;
}

void op_list(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_list_params *wanted = params;
    size_t most = guests_count(ops->env.guests);
    auto_free struct msg_guest *infos = calloc(most + 1, sizeof(*infos));
    auto_free struct guest_times *times = calloc(most + 1, sizeof(*times));
    struct msg_guest_list list = {.guests = infos};
    const struct guest *guest = NULL;

    if (infos == NULL || times == NULL) {
        refuse(reply, -ENOMEM, "out of memory");
        return;
    }
    for (size_t i = 0; i < wanted->names_count; i++) {
        if (guest_find(ops->env.guests, wanted->names[i]) == NULL) {
            (void)ops_guest(ops, reply, wanted->names[i], false);
            return;
        }
    }
    while ((guest = guest_next(ops->env.guests, guest)) != NULL) {
        if (is_wanted(wanted, guest_name(guest))) {
            guest_describe(guest, &times[list.guests_count], &infos[list.guests_count]);
            list.guests_count++;
        }
    }
    reply_result(reply, MSG_guest_list, &list);
}

/* ---- show ---- */

struct showing {
    struct ops *ops;
    struct reply *reply;
};

static size_t read_claims(const struct reserve_held *held, size_t count, struct msg_claim *claims)
{
    for (size_t i = 0; i < count; i++) {
        claims[i] = (struct msg_claim){
            .kind = (int)held[i].kind,
            .id = held[i].name != NULL ? held[i].name : held[i].id,
            .amount = held[i].amount,
            .is_writable = held[i].is_exclusive,
        };
    }
    return count;
}

static void on_state(void *data, const struct guest *guest, const struct msg_state *state)
{
    struct showing *showing = data;
    struct reserve_held *held = NULL;
    auto_free struct msg_claim *claims = NULL;
    struct msg_definition definition = {0};
    struct guest_times times;
    struct msg_guest info;
    struct msg_show show = {.guest = &info, .definition = &definition};
    const char *text = guest_definition(guest);
    struct err err = {0};
    size_t count = 0;
    int r = msg_decode(MSG_definition, text, strlen(text), false, &definition, &err);

    if (r == 0) {
        r = reserve_list(showing->ops->env.store, guest_instance(guest), &held, &count, &err);
    }
    claims = calloc(count + 1, sizeof(*claims));
    if (r == 0 && claims == NULL) {
        r = err_set(&err, -ENOMEM, "out of memory");
    }
    if (r < 0 || claims == NULL) {
        reply_error(showing->reply, &err);
    } else {
        guest_describe(guest, &times, &info);
        show.claims = claims;
        show.claims_count = read_claims(held, count, claims);
        if (state != NULL) {
            show.vdevs = state->vdevs;
            show.vdevs_count = state->vdevs_count;
        }
        reply_result(showing->reply, MSG_show, &show);
    }
    reserve_held_free(held, count);
    msg_fini(MSG_definition, &definition);
    free(showing);
}

void op_show(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_guest_params *wanted = params;
    struct guest *guest = ops_guest(ops, reply, wanted->name, false);
    struct showing *showing;

    if (guest == NULL) {
        return;
    }
    showing = malloc(sizeof(*showing));
    if (showing == NULL) {
        refuse(reply, -ENOMEM, "out of memory");
        return;
    }
    *showing = (struct showing){.ops = ops, .reply = reply};
    guest_query(guest, on_state, showing);
}
