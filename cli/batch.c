/* The same request for many guests. */
#include "cli/batch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/names.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

struct answer {
    bool is_there;
    char *result; /* kept until its turn; NULL: refused, or given out */
};

struct run {
    const struct cli *cli;
    const struct batch *batch;
    struct client client;
    struct names names;
    struct answer *answers; /* one for each name */
    int64_t first_id;
    size_t sent, received, given_out, printed, succeeded, failed;
    int status; /* of the last that failed */
    bool is_json_list;
    char request_id[2 * (CLI_REQUEST_ID_MAX + 1)]; /* ID/NAME */
};

static void run_fini(struct run *run)
{
    for (size_t i = 0; run->answers != NULL && i < run->names.count; i++) {
        free(run->answers[i].result);
    }
    free(run->answers);
    names_fini(&run->names);
    client_fini(&run->client);
}

/* For somebody who interrupts what changes guests. */
static void tell_progress(const struct run *run)
{
    static const char more[] = "what was asked for goes on: see `qvmctl list`";

    if (msg_methods[run->batch->method].role == MSG_ROLE_VIEWER) {
        return;
    }
    if (run->names.count == 1) {
        cli_tell_when_interrupted("guest '%s' has not answered; %s", run->names.list[0], more);
    } else {
        cli_tell_when_interrupted("%zu of %zu guests were asked, %zu have answered; %s", run->sent,
                                  run->names.count, run->received, more);
    }
}

static void note_status(struct run *run, int status)
{
    if (status == STATUS_OK) {
        run->succeeded++;
    } else {
        run->failed++;
        run->status = status;
    }
}

/* A request that cannot be made is a refusal of that guest alone; an error is one of the
 * connection. */
static int send_next(struct run *run, struct err *err)
{
    const struct batch *batch = run->batch;
    size_t index = run->sent++;
    int r;

    *batch->name_slot = run->names.list[index];
    if (run->cli->request_id != NULL) {
        (void)snprintf(run->request_id, sizeof(run->request_id), "%s/%s", run->cli->request_id,
                       run->names.list[index]);
        (void)msg_set_request_id(msg_methods[batch->method].params, batch->params,
                                 run->request_id); /* what only reads has none */
    }
    if (batch->definitions != NULL) {
        *batch->definition_slot = batch->definitions[index];
    }
    if (batch->is_for_each) {
        client_set_patience(&run->client, batch->patience_ms);
    }
    tell_progress(run);
    r = client_send(&run->client, batch->method, batch->params, err);
    if (r != -EINVAL) { /* not UTF-8 */
        return r;
    }
    run->answers[index].is_there = true;
    run->received++;
    note_status(run, cli_fail(err));
    return 0;
}

static void print_json(struct run *run, const char *text)
{
    if (run->is_json_list) {
        (void)fputs(run->printed++ > 0 ? "," : "[", stdout); /* main() looks at stdout's errors */
    }
    (void)fputs(text, stdout);
    (void)fputs(run->is_json_list ? "" : "\n", stdout);
}

static bool is_json(const struct run *run)
{
    return run->is_json_list || run->cli->format == FORMAT_JSONL;
}

/* An outcome with its guest's name, to be freed; NULL: it is none. */
static char *name_outcome(char *name, const char *result)
{
    struct msg_outcome outcome = {0};
    struct err err = {0};
    char *text;

    if (msg_decode(MSG_outcome, result, strlen(result), false, &outcome, &err) != 0) {
        return NULL; /* on_result says it */
    }
    text = msg_encode(
        MSG_named_outcome,
        &(struct msg_named_outcome){.name = name, .guest = outcome.guest, .note = outcome.note});
    msg_fini(MSG_outcome, &outcome);
    return text;
}

static void give_out(struct run *run, char *name, const char *result)
{
    bool is_outcome = msg_methods[run->batch->method].result == MSG_outcome;
    auto_free char *named = is_json(run) && is_outcome ? name_outcome(name, result) : NULL;

    if (is_json(run) || run->cli->format == FORMAT_JSON) {
        print_json(run, named != NULL ? named : result);
    }
    note_status(run, run->batch->on_result(run->batch->context, name, result));
    cli_flush();
}

/* Whether the sentence says which guest it is about; one that begins with FILE:LINE stands alone.
 */
static bool is_named(const char *name, const char *sentence)
{
    char quoted[GUEST_NAME_MAX + 3];

    (void)snprintf(quoted, sizeof(quoted), "'%s'", name);
    return strncmp(sentence, "guest '", 7) == 0 || strstr(sentence, quoted) != NULL ||
           cli_begins_with_place(sentence);
}

static void give_out_refusal(struct run *run, char *name, const struct msg_reply *reply)
{
    struct err refusal;
    auto_free char *named = NULL;

    if (is_json(run)) {
        named =
            msg_encode(MSG_named_outcome, &(struct msg_named_outcome){.name = name,
                                                                      .error = reply->error_name,
                                                                      .message = reply->message});
    }
    if (named != NULL) {
        print_json(run, named);
        cli_flush();
    }
    (void)err_set(&refusal, reply->code, "%s", reply->message);
    if (run->names.count > 1 && !is_named(name, reply->message)) {
        (void)err_set(&refusal, reply->code, "%s: %s", name, reply->message);
    }
    note_status(run, cli_fail(&refusal));
}

/* What is complete, in the order of the names. */
static void give_out_in_order(struct run *run)
{
    for (; run->given_out < run->sent && run->answers[run->given_out].is_there; run->given_out++) {
        struct answer *answer = &run->answers[run->given_out];

        if (answer->result != NULL) {
            give_out(run, run->names.list[run->given_out], answer->result);
            free(take_ptr(answer->result));
        }
    }
}

/* The time is over: say for whom, and not once for each. */
static int fail_in_time(const struct run *run, struct err *err)
{
    char list[ERR_MSG_SIZE / 2] = "";
    size_t used = 0;

    for (size_t i = 0; i < run->names.count && used < sizeof(list); i++) {
        if (!run->answers[i].is_there) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, " %s", run->names.list[i]);
        }
    }
    return err_set(err, -ETIMEDOUT, "the time is over, and it is not so yet of%s%s", list,
                   used >= sizeof(list) ? " ..." : "");
}

/* The next answer. An error is one of the connection. */
static int receive_next(struct run *run, struct err *err)
{
    auto_reply struct msg_reply reply = {0};
    auto_free char *text = NULL;
    size_t index;
    int r;

    do {
        msg_reply_fini(&reply);
        r = client_receive(&run->client, &reply, err);
        if (r != 0) {
            return r;
        }
        if (reply.event == NULL && reply.id == 0 && reply.code != 0) {
            return err_set(err, reply.code, "%s", reply.message); /* it could not read so far */
        }
        index = (size_t)(reply.id - run->first_id);
    } while (reply.event != NULL || index >= run->sent || run->answers[index].is_there);
    if (run->batch->is_one && reply.code == -ETIMEDOUT && run->names.count > 1) {
        return fail_in_time(run, err);
    }
    text = reply.result != NULL ? msg_reply_text(&reply) : NULL;
    if (reply.result != NULL && text == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    run->answers[index].is_there = true;
    run->received++;
    tell_progress(run);
    if (run->cli->timeout_ms == 0) {
        client_set_patience(&run->client, run->batch->patience_ms);
    }
    if (reply.result == NULL) {
        give_out_refusal(run, run->names.list[index], &reply);
    } else if (run->batch->in_order) {
        run->answers[index].result = take_ptr(text);
    } else {
        give_out(run, run->names.list[index], text);
    }
    return 0;
}

/* Whether the one question has its answer: what is asked of the other guests does not matter. */
static bool is_decided(const struct run *run)
{
    return run->batch->is_one &&
           (run->batch->any ? run->succeeded : run->failed + run->names.missed) > 0;
}

static int ask_each(struct run *run, struct err *err)
{
    const struct batch *batch = run->batch;
    size_t most = batch->is_heavy ? BATCH_HEAVY_ONCE_MAX : BATCH_AT_ONCE_MAX;
    int r = 0;

    while (r == 0 && run->received < run->names.count && !is_decided(run)) {
        size_t done = batch->in_order ? run->given_out : run->received;

        r = run->sent < run->names.count && run->sent - done < most ? send_next(run, err)
                                                                    : receive_next(run, err);
        give_out_in_order(run);
    }
    return r;
}

static int prepare(struct run *run, char *const *arguments, size_t count, struct err *err)
{
    const struct batch *batch = run->batch;
    int64_t asking = run->cli->timeout_ms != 0 ? run->cli->timeout_ms : CLIENT_READ_MS;
    bool is_open = names_are_open(run->cli, arguments, count);
    int r = client_init(&run->client, run->cli, is_open ? asking : batch->patience_ms, err);

    r = r == 0 ? names_ask(&run->names, run->cli, arguments, count, &run->client, err) : r;
    if (r != 0) {
        return r;
    }
    if (run->cli->timeout_ms == 0) { /* the time counts from here, not from the question above */
        client_set_patience(&run->client, batch->patience_ms);
    }
    run->first_id = run->client.last_id + 1;
    run->is_json_list = run->cli->format == FORMAT_JSON && (count > 1 || is_open);
    if (batch->is_one && run->names.count > BATCH_AT_ONCE_MAX) {
        return err_set(err, -EMSGSIZE, "at most %d guests can be waited for at once",
                       BATCH_AT_ONCE_MAX);
    }
    run->answers = calloc(run->names.count + 1, sizeof(*run->answers));
    return run->answers != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int final_status(const struct run *run)
{
    if (!run->batch->is_one) {
        return names_status(&run->names, run->failed, run->status);
    }
    if (run->failed + run->names.missed == 0 || (run->batch->any && run->succeeded > 0)) {
        return STATUS_OK;
    }
    return run->failed > 0 ? run->status : cli_status(-ENOENT);
}

int batch_run(const struct cli *cli, const struct batch *batch, char *const *arguments, int count)
{
    __attribute__((cleanup(run_fini))) struct run run = {
        .cli = cli, .batch = batch, .client = CLIENT_CLOSED};
    struct err err = {0};
    int r = prepare(&run, arguments, (size_t)count, &err);

    (void)signal(SIGPIPE, SIG_IGN); /* who reads no more does not keep the others from their turn */
    if (r == 0 && run.names.count + run.names.missed == 0) {
        cli_note(cli, "there is no guest to do that with");
        return cli->strict ? STATUS_WRONG_STATE : STATUS_OK;
    }
    r = r == 0 ? ask_each(&run, &err) : r;
    if (run.is_json_list) {
        (void)puts(run.printed > 0 ? "]" : "[]");
    }
    cli_tell_when_interrupted(NULL);
    return r != 0 ? cli_fail(&err) : final_status(&run);
}
