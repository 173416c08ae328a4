/* qvmctl list: one row a guest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

static const struct table_column columns[] = {
    {"NAME", false, 0},    {"STATE", false, 0}, {"PID", true, 0},     {"VCPUS", true, 0},
    {"MEMORY", true, 0},   {"CPUS", false, 0},  {"DEVICES", true, 0}, {"UPTIME", true, 0},
    {"RESTARTS", true, 0}, {"OWNER", false, 0}, {"REASON", false, 0}, {"MESSAGE", false, 0},
};
#define NARROW (ARRAY_LEN(columns) - 2) /* without -w */

static void add_row(struct table *table, const struct msg_guest *guest, bool is_wide)
{
    bool is_live = state_has_process((enum guest_state)guest->state);
    char memory[TEXT_SHORT_SIZE], uptime[TEXT_SHORT_SIZE];

    text_size(memory, guest->memory);
    text_span(uptime, guest->uptime_ms);
    table_text(table, guest->name);
    table_text(table, words_name(&words_state, guest->state));
    table_number(table, guest->pid, true);
    table_number(table, guest->vcpus, true);
    table_text(table, guest->memory > 0 ? memory : NULL);
    table_text(table, guest->cpus);
    table_number(table, guest->devices, !is_live);
    table_text(table, is_live ? uptime : NULL);
    table_number(table, guest->restarts, !is_live);
    table_text(table, guest->owner);
    if (is_wide) {
        table_text(table, words_name(&words_reason, guest->reason));
        table_text(table, guest->message);
    }
}

static int print_table(const struct cli *cli, const struct msg_guest_list *list)
{
    struct table table;
    struct err err;
    int r;

    table_init(&table, columns, cli->wide ? ARRAY_LEN(columns) : NARROW);
    for (size_t i = 0; i < list->guests_count; i++) {
        add_row(&table, &list->guests[i], cli->wide);
    }
    r = table_print(&table, !cli->no_headers, stdout);
    table_fini(&table);
    return r == 0 ? STATUS_OK : (err_set(&err, r, "out of memory"), cli_fail(&err));
}

static int print(const struct cli *cli, const struct msg_guest_list *list)
{
    if (cli->format == FORMAT_TABLE) {
        return print_table(cli, list);
    }
    for (size_t i = 0; i < list->guests_count; i++) {
        auto_free char *line = NULL;

        if (cli->format == FORMAT_NAME) {
            text_print(stdout, list->guests[i].name);
        } else {
            line = msg_encode(MSG_guest, &list->guests[i]);
            (void)fputs(line != NULL ? line : "null", stdout); /* main() looks at stdout's errors */
        }
        (void)putchar('\n');
    }
    return STATUS_OK;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_list_params params = {.names = argv, .names_count = (size_t)argc};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_reply struct msg_reply reply = {0};
    struct msg_guest_list list = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err);

    if (r == 0) {
        r = client_call(&client, METHOD_list, &params, &reply, &err);
    }
    if (r == 0 && cli->format == FORMAT_JSON) {
        (void)puts(reply.result);
        return STATUS_OK;
    }
    if (r == 0) {
        r = msg_decode(MSG_guest_list, reply.result, strlen(reply.result), false, &list, &err);
    }
    if (r != 0) {
        return cli_fail(&err);
    }
    r = print(cli, &list);
    msg_fini(MSG_guest_list, &list);
    return r;
}

const struct command command_list = {
    .name = "list",
    .synopsis = "[NAME ...]",
    .help = "the guests and what they are doing",
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .run = run,
};
