/* Methods about all guests at once: start those that are enabled, drain the host. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/ops/inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"

struct asking {
    struct ops *ops;
    struct reply *reply;
};

/* What is answered of one guest; `time` and `info` live as long as `outcome`. */
static void describe(const struct guests *guests, const struct guest_result *result,
                     struct guest_times *times, struct msg_guest *info,
                     struct msg_named_outcome *outcome)
{
    const struct guest *guest = guest_find(guests, result->name);

    *outcome = (struct msg_named_outcome){
        .name = lend(result->name), .note = result->note[0] != '\0' ? lend(result->note) : NULL};
    if (guest != NULL) {
        guest_describe(guest, times, info);
        outcome->guest = info;
    }
    if (result->err.code != 0) {
        outcome->error = lend(error_by_code(result->err.code)->name);
        outcome->message = lend(result->err.msg);
    }
}

static void on_done(void *data, const struct guest_result *results, size_t count)
{
    auto_free struct asking *asking = data;
    auto_free struct msg_named_outcome *outcomes = calloc(count + 1, sizeof(*outcomes));
    auto_free struct msg_guest *infos = calloc(count + 1, sizeof(*infos));
    auto_free struct guest_times *times = calloc(count + 1, sizeof(*times));
    struct msg_outcomes answer = {.outcomes = outcomes, .outcomes_count = count};
    struct err err = {0};

    if (results == NULL || outcomes == NULL || infos == NULL || times == NULL) {
        (void)err_set(&err, -ENOMEM, "out of memory");
        reply_error(asking->reply, &err);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        describe(asking->ops->env.guests, &results[i], &times[i], &infos[i], &outcomes[i]);
    }
    reply_result(asking->reply, MSG_outcomes, &answer);
}

/* NULL: the refusal was sent. */
static struct asking *ask(struct ops *ops, struct reply *reply)
{
    struct asking *asking = malloc(sizeof(*asking));
    struct err err = {0};

    if (asking == NULL) {
        (void)err_set(&err, -ENOMEM, "out of memory");
        reply_error(reply, &err);
        return NULL;
    }
    *asking = (struct asking){.ops = ops, .reply = reply};
    return asking;
}

void op_start_enabled(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_start_enabled_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct asking *asking;
    struct err err = {0};

    if (guests_check_drain(ops->env.guests, &err) < 0) {
        reply_error(reply, &err);
    } else if ((asking = ask(ops, reply)) != NULL) {
        guests_start_enabled(ops->env.guests, &caller, wanted->timeout_ms, on_done, asking);
    }
}

void ops_await_enabled(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_start_enabled_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct asking *asking = ask(ops, reply);

    if (asking != NULL) {
        guests_await_enabled(ops->env.guests, &caller, wanted->timeout_ms, on_done, asking);
    }
}

static void end_drain(struct ops *ops, struct reply *reply)
{
    struct guest_caller caller = ops_caller(reply);
    struct err err = {0};

    if (guests_drain_end(ops->env.guests, &caller, &err) < 0) {
        reply_error(reply, &err);
    } else {
        reply_result(reply, MSG_outcomes, &(struct msg_outcomes){0});
    }
}

void op_drain(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_drain_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct guests_drain drain = {.reason = (enum guest_reason)wanted->reason,
                                 .kill = wanted->kill,
                                 .timeout_ms = wanted->timeout_ms};
    struct asking *asking;
    struct err err = {0};

    if (drain.reason == REASON_none) {
        drain.reason = REASON_drain;
    }
    if (drain.reason != REASON_drain && drain.reason != REASON_host_shutdown) {
        (void)err_set(&err, -EINVAL, "'reason' must be drain or host-shutdown");
        reply_error(reply, &err);
    } else if (wanted->end) {
        end_drain(ops, reply);
    } else if ((asking = ask(ops, reply)) != NULL) {
        guests_drain(ops->env.guests, &caller, &drain, on_done, asking);
    }
}
