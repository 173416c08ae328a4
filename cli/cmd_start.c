/* qvmctl start: a guest of a file, or guests that are defined. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/outcome.h"
#include "cli/sources.h"
#include "proto/base/err.h"

static bool with_console, until_end;

static const struct option_row options[] = {
    {"console", 'c', OPTION_FLAG, {.flag = &with_console}, NULL, "then attach to its console"},
    {"wait", 0, OPTION_FLAG, {.flag = &until_end}, NULL, "then wait until it has ended"},
    {0},
};

/* From now on, what happens to `name` comes to `client`. */
static int subscribe(const struct cli *cli, struct client *client, char *name, struct err *err)
{
    struct msg_events_params params = {.guest = name, .limit = 1};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_FOR_EVER;
    struct msg_event_list list = {0};
    int r = client_init(client, cli, patience, err);

    r = r == 0 ? client_ask(client, METHOD_subscribe, &params, &list, err) : r;
    msg_fini(MSG_event_list, &list);
    return r;
}

/* Read events until the guest has ended; its status is ours. */
static int await_end(struct client *client, const char *name)
{
    auto_reply struct msg_reply reply = {0};
    struct err err = {0};
    int state = -1;

    while (state != STATE_stopped && state != STATE_failed) {
        const struct msg_event *event;

        msg_reply_fini(&reply);
        if (client_receive(client, &reply, &err) != 0) {
            if (err.code == -ETIMEDOUT) {
                (void)err_set(&err, -ETIMEDOUT, "guest '%s' has not ended in time", name);
            }
            return cli_fail(&err);
        }
        event = reply.event;
        if (event != NULL && event->state != NULL && event->guest != NULL &&
            strcmp(event->guest, name) == 0) {
            state = words_find(&words_state, event->state);
        }
    }
    if (state == STATE_failed) {
        const char *why = reply.event->message != NULL ? reply.event->message : reply.event->reason;

        (void)err_set(&err, -EIO, "guest '%s' failed%s%s", name, why != NULL ? ": " : "",
                      why != NULL ? why : "");
        return cli_fail(&err);
    }
    return STATUS_OK;
}

/* Start the guests `names`; `definition` belongs to the only one, or is NULL. */
static int start(const struct cli *cli, char **names, int count, struct msg_definition *definition)
{
    struct msg_start_params params = {.definition = definition, .timeout_ms = cli->timeout_ms};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms + CLIENT_GRACE_MS : CLIENT_FOR_EVER;
    auto_client struct client events = CLIENT_CLOSED;
    struct err err = {0};
    int status;

    if (until_end && subscribe(cli, &events, names[0], &err) != 0) {
        return cli_fail(&err);
    }
    status = outcome_each(cli, patience, METHOD_start, &params, &params.name,
                          with_console ? OUTCOME_SILENT : NULL, names, count);
    if (status == STATUS_OK && with_console) {
        status = console_open(cli, names[0], &(struct console_options){.escape = CONSOLE_ESCAPE});
    }
    return status == STATUS_OK && until_end ? await_end(&events, names[0]) : status;
}

static int start_file(const struct cli *cli, char **words, int count)
{
    struct sources sources;
    struct err err = {0};
    char *names[] = {sources.name, NULL};
    int status = sources_read(&sources, words, count, &err) == 0
                     ? start(cli, names, 1, &sources.definition)
                     : cli_fail(&err);

    sources_fini(&sources);
    return status;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    bool is_file = argv[0][0] == '@' || sources_is_file(argv[0]);

    if (with_console && cli->format != FORMAT_TABLE) {
        return cli_usage("-c cannot be used with -o");
    }
    if (!is_file && argc > 1 && (with_console || until_end)) {
        return cli_usage("-c and --wait want one guest");
    }
    return is_file ? start_file(cli, argv, argc) : start(cli, argv, argc, NULL);
}

const struct command command_start = {
    .name = "start",
    .synopsis = "[-c] [--wait] FILE [WORD ...] | NAME ...",
    .help = "start a guest of a file, or guests that are defined",
    .options = options,
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .run = run,
};
