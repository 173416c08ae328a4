/* qvmctl start: a guest of a file, or guests that are defined. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/batch.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/files.h"
#include "cli/names.h"
#include "cli/outcome.h"
#include "cli/sources.h"
#include "proto/base/err.h"

static bool with_console, until_end, only_enabled;

static const struct option_row options[] = {
    {"console", 'c', OPTION_FLAG, {.flag = &with_console}, NULL, "then attach to its console"},
    {"wait", 0, OPTION_FLAG, {.flag = &until_end}, NULL, "then wait until it has ended"},
    {"enabled", 0, OPTION_FLAG, {.flag = &only_enabled}, NULL, "those that start with the host"},
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

/* Start the guests `names`; `definitions` has one for each, or is NULL. */
static int start(const struct cli *cli, char **names, int count,
                 struct msg_definition *const *definitions)
{
    struct msg_start_params params = {.timeout_ms = cli->timeout_ms};
    struct batch batch = {
        BATCH_REQUEST(METHOD_start, &params),
        .name_slot = &params.name,
        .definitions = definitions,
        .definition_slot = &params.definition,
        .patience_ms = cli->timeout_ms != 0 ? cli->timeout_ms + CLIENT_GRACE_MS : CLIENT_FOR_EVER,
        .is_for_each = true,
        .is_heavy = true,
    };
    auto_client struct client events = CLIENT_CLOSED;
    struct err err = {0};
    int status;

    if (until_end && subscribe(cli, &events, names[0], &err) != 0) {
        return cli_fail(&err);
    }
    status = outcome_batch(cli, &batch, with_console ? OUTCOME_SILENT : NULL, names, count);
    if (status == STATUS_OK && with_console) {
        status = console_open(cli, names[0],
                              &(struct console_options){.escape = CONSOLE_ESCAPE, .linger_ms = -1});
    }
    return status == STATUS_OK && until_end ? await_end(&events, names[0]) : status;
}

static int start_files(const struct cli *cli, char **arguments, int count)
{
    struct files files;
    struct err err = {0};
    int status = files_read(&files, arguments, count, &err) == 0 ? STATUS_OK : cli_fail(&err);

    if (status == STATUS_OK && files.count > 0) {
        status = start(cli, files.names, (int)files.count, files.definitions);
    }
    status = err.code == 0 ? files_status(&files, status) : status;
    files_fini(&files);
    return status;
}

static int start_file(const struct cli *cli, char **words, int count)
{
    struct sources sources;
    struct msg_definition *definition = &sources.definition;
    struct err err = {0};
    char *names[] = {sources.name, NULL};
    int status = sources_read(&sources, words, count, &err) == 0 ? start(cli, names, 1, &definition)
                                                                 : cli_fail(&err);

    sources_fini(&sources);
    return status;
}

/* Those that are enabled, in their order, as at a boot of the host. */
static int start_enabled(const struct cli *cli)
{
    struct msg_start_enabled_params params = {.timeout_ms = cli->timeout_ms};

    return outcome_several(
        cli, cli->timeout_ms != 0 ? cli->timeout_ms + CLIENT_GRACE_MS : CLIENT_FOR_EVER,
        METHOD_start_enabled, &params);
}

static int run(const struct cli *cli, int argc, char **argv)
{
    bool are_files = files_are_meant(argv, argc);
    bool is_file = argc > 0 && (argv[0][0] == '@' || sources_is_file(argv[0]));
    bool is_open = !is_file && names_are_open(cli, argv, (size_t)argc);

    if (with_console && cli->format != FORMAT_TABLE) {
        return cli_usage("-c cannot be used with -o");
    }
    if ((with_console || until_end) && (are_files || is_open || (!is_file && argc > 1))) {
        return cli_usage("-c and --wait want one guest, by its name or FILE");
    }
    if (only_enabled) {
        return argc == 0 && !cli->all && !with_console && !until_end
                   ? start_enabled(cli)
                   : cli_usage("--enabled goes with no names, --all, -c or --wait");
    }
    if (argc == 0 && !cli->all) {
        return cli_usage("too few arguments: qvmctl start NAME");
    }
    return are_files ? start_files(cli, argv, argc)
           : is_file ? start_file(cli, argv, argc)
                     : start(cli, argv, argc, NULL);
}

const struct command command_start = {
    .name = "start",
    .synopsis = "[-c] [--wait] FILE [WORD ...] | FILE ... | NAME ... | --all | --enabled",
    .help = "start guests of files, or guests that are defined",
    .options = options,
    .least = 0,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .all_means = names_can_start,
    .run = run,
};
