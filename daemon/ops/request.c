/* Calls with a request_id: done once, however often they are made.
 *
 * What is written: the call with what it does, in one transaction (store_request_ride), and its
 * answer when it is given. In between, whoever repeats the call waits with the first. When qvmd
 * died in between, what was begun is told from the state of the guest and of its instance; what
 * was not begun is begun now. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/clock.h"
#include "daemon/ops/inside.h"
#include "daemon/store/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"

#define ANSWER_MAX 65536 /* bytes of an answer that is kept; a longer one is made again */

struct repeat {
    LIST_ENTRY(repeat) link;
    struct reply *reply;
};

struct ops_call {
    LIST_ENTRY(ops_call) link;
    struct ops *ops;
    struct store_request row;
    bool is_written;  /* it stands in the store */
    bool is_entering; /* its method runs: the answer is only put down */
    bool is_answered;
    char *json;     /* the answer, or */
    struct err err; /* the refusal */
    LIST_HEAD(, repeat) repeats;
};

/* ---- who is meant ---- */

/* FNV-1a: it tells one's own calls apart, and is no defence against anybody. */
static void make_digest(const char *text, char digest[STORE_DIGEST_SIZE])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    size_t size = strlen(text);

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    }
    (void)snprintf(digest, STORE_DIGEST_SIZE, "%zu-%016llx", size, (unsigned long long)hash);
}

static int describe(const struct reply *reply, const struct msg_request *request, const char *id,
                    struct store_request *row, struct err *err)
{
    const struct msg_method_info *method = &msg_methods[request->method];
    auto_free char *text = msg_encode(method->params, request->params);

    if (text == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    *row = (struct store_request){.uid = reply_peer(reply)->uid, .begun_ns = clock_real_ns()};
    (void)snprintf(row->id, sizeof(row->id), "%s", id);
    (void)snprintf(row->method, sizeof(row->method), "%s", method->name);
    make_digest(text, row->digest);
    return 0;
}

static int check_same(const struct store_request *one, const struct store_request *other,
                      struct err *err)
{
    if (strcmp(one->method, other->method) != 0 || strcmp(one->digest, other->digest) != 0) {
        return err_set(err, -EINVAL, "request_id '%s' stands for another call already: %s%s",
                       one->id, one->method,
                       strcmp(one->method, other->method) == 0 ? " with other parameters" : "");
    }
    return 0;
}

/* ---- answers ---- */

/* "NAME SENTENCE" of an error; a result begins with a brace. */
static char *format_answer(const struct ops_call *call)
{
    char *text = NULL;

    if (call->json != NULL) {
        return strlen(call->json) <= ANSWER_MAX ? strdup(call->json) : NULL;
    }
    return asprintf(&text, "%s %s", error_by_code(call->err.code)->name, call->err.msg) < 0 ? NULL
                                                                                            : text;
}

static void answer_again(struct reply *reply, const char *answer)
{
    const char *sentence = strchr(answer, ' ');
    char name[64];
    struct err err = {0};
    const struct error_word *word;

    if (answer[0] == '{' || sentence == NULL) {
        reply_json(reply, answer);
        return;
    }
    (void)snprintf(name, sizeof(name), "%.*s", (int)(sentence - answer), answer);
    word = error_by_name(name);
    (void)err_set(&err, word != NULL ? word->code : -EIO, "%s", sentence + 1);
    reply_error(reply, &err);
}

static void answer_repeats(struct ops_call *call)
{
    struct repeat *repeat;

    while ((repeat = LIST_FIRST(&call->repeats)) != NULL) {
        LIST_REMOVE(repeat, link);
        if (call->json != NULL) {
            reply_json(repeat->reply, call->json);
        } else {
            reply_error(repeat->reply, &call->err);
        }
        free(repeat);
    }
}

/* Is this how it ended, or only how long somebody waited? */
static bool is_final(const struct ops_call *call)
{
    return !call->ops->is_ending && (call->json != NULL || call->err.code != -ETIMEDOUT);
}

/* Before it is given: what somebody has heard is what everybody hears who repeats the call. */
static void keep_answer(struct ops_call *call)
{
    struct store *store = call->ops->env.store;
    bool is_written = call->is_written || (call->is_entering && store_request_is_written(store));
    struct err err = {0};

    /* A refusal before anything was done is forgotten: the next one may go better. */
    if (!is_final(call) || (call->json == NULL && !is_written)) {
        return;
    }
    call->row.answer = format_answer(call);
    if (store_request_finish(store, &call->row, &err) < 0) {
        log_warn("ops: an answer is not kept id=%s why=\"%s\"", call->row.id, err.msg);
    }
}

static void finish(struct ops_call *call)
{
    LIST_REMOVE(call, link);
    answer_repeats(call);
    store_request_fini(&call->row);
    free(call->json);
    free(call);
}

static void on_answer(void *data, const char *json, const struct err *err)
{
    struct ops_call *call = data;

    call->is_answered = true;
    if (err != NULL) {
        call->err = *err;
    } else if (json == NULL || (call->json = strdup(json)) == NULL) {
        (void)err_set(&call->err, -ENOMEM, "out of memory");
    }
    keep_answer(call);
    if (!call->is_entering) {
        finish(call);
    }
}

static bool is_about_instance(enum msg_method method)
{
    switch (method) {
    case METHOD_stop:
    case METHOD_kill:
    case METHOD_pause:
    case METHOD_resume:
    case METHOD_reset:
    case METHOD_reboot:
    case METHOD_dump:
    case METHOD_sendkey:
    case METHOD_sendbreak:
    case METHOD_point:
    case METHOD_console_size:
    case METHOD_balloon:
    case METHOD_resize:
    case METHOD_helper:
        return true;
    default:
        return false;
    }
}

/* The instance that is meant by a call that ends one, or does something to it. */
static int64_t find_instance(const struct ops *ops, const struct msg_request *request)
{
    const char *name = msg_name_of(msg_methods[request->method].params, request->params);
    const struct guest *guest = name != NULL ? guest_find(ops->env.guests, name) : NULL;

    return guest != NULL && is_about_instance((enum msg_method)request->method)
               ? guest_instance(guest)
               : 0;
}

/* ---- what an earlier qvmd had begun ---- */

static void tell_done(struct reply *reply, const struct guest *guest, const char *note)
{
    struct guest_times times;
    struct msg_guest info;
    struct msg_outcome outcome = {.note = lend(note)};

    if (guest != NULL) {
        guest_describe(guest, &times, &info);
        outcome.guest = &info;
    }
    reply_result(reply, MSG_outcome, &outcome);
}

/* Where it can be told; false: it is to be done (again). */
static bool tell_from_state(struct ops *ops, struct reply *reply, const struct msg_request *request,
                            const struct store_request *row)
{
    const char *name = msg_name_of(msg_methods[request->method].params, request->params);
    struct guest *guest = name != NULL ? guest_find(ops->env.guests, name) : NULL;
    const struct msg_start_params *start = request->params;
    const struct msg_drain_params *drain = request->params;
    struct msg_drain now;
    struct err err = {0};

    switch (request->method) {
    case METHOD_define:
    case METHOD_set:
        tell_done(reply, guest, guest == NULL ? "it was undefined since then" : NULL);
        return true;
    case METHOD_undefine:
        tell_done(reply, NULL, NULL);
        return true;
    case METHOD_start:
        if (row->instance != 0 && guest != NULL) {
            guest_await_start(guest, row->instance, start->timeout_ms, ops_on_done, reply);
            return true;
        }
        return false;
    case METHOD_stop:
    case METHOD_kill:
    case METHOD_pause:
    case METHOD_resume:
    case METHOD_reset:
    case METHOD_reboot:
        if (guest == NULL || guest_instance(guest) != row->instance) {
            tell_done(reply, guest, "it was started again or undefined since then");
            return true;
        }
        return false;
    case METHOD_start_enabled:
        ops_await_enabled(ops, reply, request->params);
        return true;
    case METHOD_drain:
        if (drain->end) {
            reply_result(reply, MSG_outcomes, &(struct msg_outcomes){0});
            return true;
        }
        if (!guests_describe_drain(ops->env.guests, &now)) {
            (void)err_set(&err, -ECANCELED, "the drain was ended since then");
            reply_error(reply, &err);
            return true;
        }
        return false;
    default:
        return false;
    }
}

/* Do it, or with `is_known`: tell it if it was begun already. */
static void enter(struct ops *ops, struct reply *reply, const struct msg_request *request,
                  const struct store_request *row, bool is_known, op_fn op)
{
    struct ops_call *call = calloc(1, sizeof(*call));
    struct err err = {0};

    if (call == NULL) {
        (void)err_set(&err, -ENOMEM, "out of memory");
        reply_error(reply, &err);
        return;
    }
    call->ops = ops;
    call->row = *row;
    call->row.answer = NULL;
    call->is_written = is_known;
    LIST_INIT(&call->repeats);
    LIST_INSERT_HEAD(&ops->calls, call, link);
    reply_listen(reply, on_answer, call);
    call->is_entering = true;
    if (!is_known || !tell_from_state(ops, reply, request, row)) {
        store_request_ride(ops->env.store, &call->row);
        op(ops, reply, request->params);
        call->is_written = store_request_leave(ops->env.store) || is_known;
    }
    call->is_entering = false;
    if (call->is_answered) {
        finish(call);
    }
}

/* ---- the door ---- */

static struct ops_call *find_call(struct ops *ops, const struct store_request *row)
{
    struct ops_call *call;

    LIST_FOREACH(call, &ops->calls, link)
    {
        if (call->row.uid == row->uid && strcmp(call->row.id, row->id) == 0) {
            return call;
        }
    }
    return NULL;
}

static int wait_with(struct ops_call *call, const struct store_request *row, struct reply *reply,
                     struct err *err)
{
    struct repeat *repeat;
    int r = check_same(&call->row, row, err);

    if (r < 0) {
        return r;
    }
    repeat = calloc(1, sizeof(*repeat));
    if (repeat == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    repeat->reply = reply;
    LIST_INSERT_HEAD(&call->repeats, repeat, link);
    return 0;
}

void ops_request(struct ops *ops, struct reply *reply, const struct msg_request *request,
                 const char *id, op_fn op)
{
    struct store_request row = {0}, found = {0};
    struct ops_call *call;
    struct err err = {0};
    int r = describe(reply, request, id, &row, &err);

    if (r == 0 && (call = find_call(ops, &row)) != NULL) {
        r = wait_with(call, &row, reply, &err);
        if (r == 0) {
            return;
        }
    }
    if (r == 0) {
        r = store_request_get(ops->env.store, row.uid, id, row.begun_ns, &found, &err);
        if (r == -ENOENT) {
            row.instance = find_instance(ops, request);
            enter(ops, reply, request, &row, false, op);
            return;
        }
    }
    if (r == 0) {
        r = check_same(&found, &row, &err);
    }
    if (r < 0) {
        reply_error(reply, &err);
    } else if (found.answer != NULL) {
        answer_again(reply, found.answer);
    } else {
        enter(ops, reply, request, &found, true, op);
    }
    store_request_fini(&found);
}
