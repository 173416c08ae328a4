/* qvmctl events: what happened, and what happens. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define LIMIT_MAX 10000

static bool follow;
static int64_t since, last_count;

static const struct option_row options[] = {
    {"follow", 'f', OPTION_FLAG, {.flag = &follow}, NULL, "and each new one as it happens"},
    {"since", 0, OPTION_NUMBER, {.number = &since}, "SEQ", "only those behind event SEQ"},
    {"last", 'n', OPTION_NUMBER, {.number = &last_count}, "COUNT", "only the last so many"},
    {0},
};

/* Widths that a table and the rows after it agree on. */
static const struct table_column columns[] = {
    {"SEQ", true, 6},    {"TIME", false, 24},   {"GUEST", false, 12}, {"WHAT", false, 12},
    {"STATE", false, 8}, {"REASON", false, 11}, {"PID", true, 7},     {"MESSAGE", false, 0},
};

static int print_rows(const struct msg_event *events, size_t count, bool with_header)
{
    struct table table;
    int r;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < count; i++) {
        table_number(&table, events[i].seq, false);
        table_text(&table, events[i].time);
        table_text(&table, events[i].guest);
        table_text(&table, events[i].what);
        table_text(&table, events[i].state);
        table_text(&table, events[i].reason);
        table_number(&table, events[i].pid, true);
        table_text(&table, events[i].message);
    }
    r = table_print(&table, with_header, stdout);
    table_fini(&table);
    return r;
}

static int print(const struct cli *cli, const struct msg_event *events, size_t count,
                 bool with_header)
{
    if (cli->format == FORMAT_TABLE) {
        return print_rows(events, count, with_header && !cli->no_headers);
    }
    for (size_t i = 0; i < count; i++) {
        auto_free char *line = msg_encode(MSG_event, &events[i]);

        if (line == NULL) {
            return -ENOMEM;
        }
        (void)puts(line); /* main() looks at stdout's errors */
    }
    return 0;
}

/* Each new event at once; ends with the connection, the time or stdout. */
static int follow_on(const struct cli *cli, struct client *client, struct err *err)
{
    int r = 0;

    while (r == 0) {
        auto_reply struct msg_reply reply = {0};

        if (fflush(stdout) != 0) {
            return 0; /* main() says it */
        }
        r = client_receive(client, &reply, err);
        if (r == -ETIMEDOUT) {
            (void)err_set(err, r, "the time is over");
        }
        if (r == 0 && reply.event != NULL) {
            r = print(cli, reply.event, 1, false);
        }
    }
    return r;
}

static int list_then_follow(const struct cli *cli, struct client *client,
                            const struct msg_events_params *params, struct err *err)
{
    auto_reply struct msg_reply reply = {0};
    struct msg_event_list list = {0};
    int r = client_call(client, follow ? METHOD_subscribe : METHOD_events, params, &reply, err);

    if (r == 0 && cli->format == FORMAT_JSON && !follow) {
        (void)puts(reply.result);
        return 0;
    }
    if (r == 0) {
        r = msg_decode(MSG_event_list, reply.result, strlen(reply.result), false, &list, err);
    }
    if (r == 0) {
        r = print(cli, list.events, list.events_count, true);
    }
    msg_fini(MSG_event_list, &list);
    return r == 0 && follow ? follow_on(cli, client, err) : r;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_events_params params = {
        .since = since, .guest = argc > 0 ? argv[0] : NULL, .limit = last_count};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms
                       : follow             ? CLIENT_FOR_EVER
                                            : CLIENT_READ_MS;
    auto_client struct client client = CLIENT_CLOSED;
    struct err err = {.code = -ENOMEM, .msg = "out of memory"};

    if (last_count > LIMIT_MAX) {
        return cli_usage("--last wants a number up to %d", LIMIT_MAX);
    }
    if (client_init(&client, cli, patience, &err) != 0 ||
        list_then_follow(cli, &client, &params, &err) != 0) {
        return cli_fail(&err);
    }
    return STATUS_OK;
}

const struct command command_events = {
    .name = "events",
    .synopsis = "[-f] [--since SEQ] [-n COUNT] [NAME]",
    .help = "what happened to the guests, and what happens",
    .options = options,
    .most = 1,
    .formats = FORMATS_DATA,
    .run = run,
};
