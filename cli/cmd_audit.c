/* qvmctl audit: who changed what, and what was refused. */
#include <errno.h>
#include <stdio.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define LIMIT_MAX 1000

static int64_t last_count;

static const struct option_row options[] = {
    {"last", 'n', OPTION_NUMBER, {.number = &last_count}, "COUNT", "only the last so many"},
    {0},
};

static int print_table(const struct cli *cli, const struct msg_audit_list *list)
{
    static const struct table_column columns[] = {
        {"TIME", false, 0},  {"UID", true, 0},     {"ROLE", false, 0},    {"METHOD", false, 0},
        {"GUEST", false, 0}, {"RESULT", false, 0}, {"MESSAGE", false, 0},
    };
    struct table table;
    int r;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < list->records_count; i++) {
        const struct msg_audit_record *record = &list->records[i];

        table_text(&table, record->time);
        table_number(&table, record->uid, false);
        table_text(&table, record->role);
        table_text(&table, record->method);
        table_text(&table, record->guest);
        table_text(&table, record->result);
        table_text(&table, record->message);
    }
    r = table_print(&table, !cli->no_headers, stdout);
    table_fini(&table);
    return r;
}

static int print_line(enum msg_struct type, const void *object)
{
    auto_free char *line = msg_encode(type, object);

    if (line == NULL) {
        return -ENOMEM;
    }
    (void)puts(line); /* main() looks at stdout's errors */
    return 0;
}

static int print(const struct cli *cli, const struct msg_audit_list *list)
{
    int r = 0;

    if (cli->format == FORMAT_TABLE) {
        return print_table(cli, list);
    }
    if (cli->format == FORMAT_JSON) {
        return print_line(MSG_audit_list, list);
    }
    for (size_t i = 0; r == 0 && i < list->records_count; i++) {
        r = print_line(MSG_audit_record, &list->records[i]);
    }
    return r;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    const struct msg_audit_params params = {.limit = last_count};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_audit_list list = {0};
    struct err err = {0};
    int r;

    (void)argc, (void)argv;
    if (last_count > LIMIT_MAX) {
        return cli_usage("--last wants a number up to %d", LIMIT_MAX);
    }
    r = client_init(&client, cli, patience, &err);
    if (r == 0) {
        r = client_ask(&client, METHOD_audit, &params, &list, &err);
    }
    if (r == 0 && print(cli, &list) != 0) {
        r = err_set(&err, -ENOMEM, "out of memory");
    }
    msg_fini(MSG_audit_list, &list);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}

const struct command command_audit = {
    .name = "audit",
    .synopsis = "[-n COUNT]",
    .help = "who changed what, and what was refused (for admins)",
    .options = options,
    .formats = FORMATS_DATA,
    .run = run,
};
