/* What commands that change a guest say. */
#include "cli/outcome.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/batch.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

static void print_guest(const char *name, const char *done, const struct msg_guest *guest)
{
    const char *state = guest != NULL ? words_name(&words_state, guest->state) : NULL;
    const char *reason = guest != NULL ? words_name(&words_reason, guest->reason) : NULL;

    text_print(stdout, name);
    if (done != NULL || state == NULL) {
        printf(": %s\n", done != NULL ? done : "done");
        return;
    }
    printf(": %s", state);
    if (guest->pid != 0) {
        printf(", pid %" PRId64, guest->pid);
    } else if (reason != NULL) {
        printf(" (%s)", reason);
    }
    (void)putchar('\n');
}

struct telling {
    const struct cli *cli;
    const char *done;
};

static void print(const struct telling *telling, const char *name, const struct msg_guest *guest)
{
    if (telling->cli->format == FORMAT_NAME) {
        text_print(stdout, name);
        (void)putchar('\n'); /* main() looks at stdout's errors */
    } else if (telling->cli->format == FORMAT_TABLE && !telling->cli->quiet &&
               (telling->done == NULL || *telling->done != '\0')) {
        print_guest(name, telling->done, guest);
    }
}

static int on_outcome(void *context, const char *name, const char *json)
{
    const struct telling *telling = context;
    struct msg_outcome outcome = {0};
    struct err err = {0};
    int status = STATUS_OK;

    if (msg_decode(MSG_outcome, json, strlen(json), false, &outcome, &err) != 0) {
        return cli_fail(&err);
    }
    print(telling, name, outcome.guest);
    if (outcome.note != NULL) {
        cli_note(telling->cli, "%s: %s", name, outcome.note);
        status = telling->cli->strict ? STATUS_WRONG_STATE : STATUS_OK;
    }
    msg_fini(MSG_outcome, &outcome);
    return status;
}

int outcome_batch(const struct cli *cli, const struct batch *batch, const char *done, char **names,
                  int count)
{
    struct telling telling = {.cli = cli, .done = done};
    struct batch told = *batch;

    told.on_result = on_outcome;
    told.context = &telling;
    return batch_run(cli, &told, names, count);
}

struct msg_value outcome_value(const char *name, const char *value)
{
    union {
        const char *given;
        char *lent; /* members of messages own their texts, but these are only encoded */
    } n = {.given = name}, v = {.given = value};

    return (struct msg_value){.name = n.lent, .value = v.lent};
}

/* What became of one; returns its status. */
static int tell_one(const struct telling *telling, const struct msg_named_outcome *one)
{
    struct err err = {0};
    const struct error_word *word = one->error != NULL ? error_by_name(one->error) : NULL;

    if (one->error == NULL) {
        print(telling, one->name, one->guest);
        if (one->note != NULL) {
            cli_note(telling->cli, "%s: %s", one->name, one->note);
        }
        return STATUS_OK;
    }
    (void)err_set(&err, word != NULL ? word->code : -EIO, "%s: %s", one->name,
                  one->message != NULL ? one->message : one->error);
    return cli_fail(&err);
}

static int tell_several(const struct cli *cli, const struct msg_outcomes *outcomes)
{
    struct telling telling = {.cli = cli};
    int status = STATUS_OK;
    size_t failed = 0;

    for (size_t i = 0; i < outcomes->outcomes_count; i++) {
        const struct msg_named_outcome *one = &outcomes->outcomes[i];
        auto_free char *line =
            cli->format == FORMAT_JSONL ? msg_encode(MSG_named_outcome, one) : NULL;
        int own = tell_one(&telling, one);

        if (line != NULL) {
            (void)puts(line); /* main() looks at stdout's errors */
        }
        failed += own != STATUS_OK;
        status = own != STATUS_OK ? own : status;
    }
    return failed == 0 || outcomes->outcomes_count == 1 ? status : (int)STATUS_SOME_FAILED;
}

int outcome_several_any(const struct cli *cli, int64_t patience_ms, enum msg_method method,
                        void *params)
{
    auto_free char *id = cli->request_id != NULL ? strdup(cli->request_id) : NULL;
    auto_reply struct msg_reply reply = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_outcomes outcomes = {0};
    struct err err = {0};
    int status;
    int r = client_init(&client, cli, patience_ms, &err);

    cli_tell_when_interrupted("what was asked for goes on: see `qvmctl list`");
    (void)msg_set_request_id(msg_methods[method].params, params, id);
    r = r == 0 ? client_call_any(&client, method, params, &reply, &err) : r;
    cli_tell_when_interrupted(NULL);
    r = r == 0 ? msg_reply_read(&reply, MSG_outcomes, &outcomes, &err) : r;
    if (r != 0) {
        return cli_fail(&err);
    }
    if (cli->format == FORMAT_JSON) {
        client_print(&reply);
    }
    status = tell_several(cli, &outcomes);
    msg_fini(MSG_outcomes, &outcomes);
    return status;
}

int outcome_each_any(const struct cli *cli, int64_t patience_ms, enum msg_method method,
                     void *params, char **name_slot, const char *done, char **names, int count)
{
    return outcome_batch(cli,
                         &(struct batch){.method = method,
                                         .params = params,
                                         .name_slot = name_slot,
                                         .patience_ms = patience_ms,
                                         .is_for_each = true},
                         done, names, count);
}
