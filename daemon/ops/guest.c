/* Methods about guests: what they are and what becomes of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ops/inside.h"
#include "daemon/store/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"

/* Answer with the guest as it is now, and perhaps a remark. */
static void reply_outcome(struct reply *reply, const struct guest *guest, const char *note)
{
    struct guest_times times;
    struct msg_guest info;
    struct msg_outcome outcome = {.guest = &info, .note = lend(note)};

    guest_describe(guest, &times, &info);
    reply_result(reply, MSG_outcome, &outcome);
}

void ops_on_done(void *data, const struct guest *guest, const char *note, const struct err *err)
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

/* Whether each @N among the words has its source. */
static int check_words(const struct msg_definition *definition, struct err *err)
{
    for (size_t i = 0; i < definition->words_count; i++) {
        const char *word = definition->words[i];
        char *end;

        if (word[0] != '@') {
            continue;
        }
        if (word[1] < '0' || word[1] > '9' ||
            strtoul(word + 1, &end, 10) >= definition->sources_count || *end != '\0') {
            return err_set(err, -EINVAL, "definition: '%s' names no source of the definition",
                           word);
        }
    }
    return 0;
}

/* Define what the request holds; false: the refusal was sent. */
static bool define(struct ops *ops, struct reply *reply, const char *name,
                   const struct msg_definition *definition, enum guest_define_for purpose,
                   struct guest **guest, const char **note)
{
    struct guest_caller caller = ops_caller(reply);
    struct err err = {0};

    if (check_words(definition, &err) < 0 ||
        guest_define(ops->env.guests, name, definition, purpose, &caller, guest, note, &err) < 0) {
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

void op_set(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_set_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);
    struct err err = {0};

    if (guest == NULL) {
        return;
    }
    if (guest_set(guest, wanted->values, wanted->values_count, &caller, &err) < 0) {
        reply_error(reply, &err);
    } else {
        reply_outcome(reply, guest, NULL);
    }
}

void op_undefine(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_change_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);
    struct err err = {0};

    if (guest == NULL) {
        return;
    }
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
        struct err err = {0};

        /* What could not be started anyway is not defined either. */
        if (guest_find(ops->env.guests, wanted->name) == NULL &&
            guests_check_drain(ops->env.guests, &err) < 0) {
            reply_error(reply, &err);
            return;
        }
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
    guest_start(guest, &caller, wanted->timeout_ms, ops_on_done, reply);
}

void op_stop(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_stop_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);

    if (guest != NULL) {
        guest_stop(guest, &caller, wanted->timeout_ms, wanted->kill, ops_on_done, reply);
    }
}

void op_kill(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_change_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);

    if (guest != NULL) {
        guest_kill(guest, &caller, ops_on_done, reply);
    }
}

void op_wait(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_wait_params *wanted = params;
    struct guest *guest = ops_guest(ops, reply, wanted->name, false);

    if (guest != NULL) {
        guest_wait(guest, (enum guest_state)wanted->state, wanted->or_rest, wanted->timeout_ms,
                   ops_on_done, reply);
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
