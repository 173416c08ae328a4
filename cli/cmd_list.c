/* qvmctl list: one row a guest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

static const struct table_column columns[] = {
    {"NAME", false, 0},    {"STATE", false, 0},   {"PID", true, 0},      {"VCPUS", true, 0},
    {"MEMORY", true, 0},   {"CPUS", false, 0},    {"DEVICES", true, 0},  {"UPTIME", true, 0},
    {"RESTARTS", true, 0}, {"OWNER", false, 0},   {"ENABLED", false, 0}, {"RESTART", false, 0},
    {"REASON", false, 0},  {"MESSAGE", false, 0},
};
#define NARROW (ARRAY_LEN(columns) - 4) /* without -w */

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
        table_text(table, guest->enabled ? "yes" : "no");
        table_text(table, words_name(&words_restart, guest->restart));
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

static int print_json(const struct cli *cli, const struct msg_guest_list *list)
{
    auto_free char *whole = cli->format == FORMAT_JSON ? msg_encode(MSG_guest_list, list) : NULL;

    if (whole != NULL) {
        (void)puts(whole); /* main() looks at stdout's errors */
        return STATUS_OK;
    }
    for (size_t i = 0; i < list->guests_count; i++) {
        auto_free char *line = msg_encode(MSG_guest, &list->guests[i]);

        (void)puts(line != NULL ? line : "null");
    }
    return STATUS_OK;
}

static int print(const struct cli *cli, const struct msg_guest_list *list)
{
    if (cli->format == FORMAT_TABLE) {
        return print_table(cli, list);
    }
    if (cli->format != FORMAT_NAME) {
        return print_json(cli, list);
    }
    for (size_t i = 0; i < list->guests_count; i++) {
        text_print(stdout, list->guests[i].name);
        (void)putchar('\n');
    }
    return STATUS_OK;
}

/* Move those that are meant to the front, in their order; returns how many they are. What means
 * nobody is said and counted. */
static size_t put_meant_first(const struct msg_guest_list *list, char **arguments, int count,
                              size_t *missing)
{
    auto_free bool *hits = calloc((size_t)count + 1, sizeof(*hits));
    size_t kept = 0;

    for (size_t i = 0; hits != NULL && i < list->guests_count; i++) {
        struct msg_guest guest = list->guests[i];
        bool is_meant = count == 0;

        for (int j = 0; j < count; j++) {
            if (names_match(arguments[j], guest.name)) {
                is_meant = hits[j] = true;
            }
        }
        if (is_meant) {
            list->guests[i] = list->guests[kept];
            list->guests[kept++] = guest;
        }
    }
    for (int j = 0; hits != NULL && j < count; j++) {
        if (!hits[j]) {
            *missing += 1;
            (void)names_fail(arguments[j]);
        }
    }
    return kept;
}

/* qvmd knows nothing of patterns: take all guests, and show those that are meant. */
static int choose_and_print(const struct cli *cli, char **arguments, int count,
                            const struct msg_guest_list *list)
{
    size_t missing = 0;
    struct msg_guest_list meant = {
        .guests = list->guests,
        .guests_count = put_meant_first(list, arguments, count, &missing),
    };
    int status = meant.guests_count > 0 || missing == 0 ? print(cli, &meant) : STATUS_OK;

    return status != STATUS_OK ? status
           : missing == 0      ? STATUS_OK
           : count == 1        ? cli_status(-ENOENT)
                               : STATUS_SOME_FAILED;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    bool is_open = names_are_open(cli, argv, (size_t)argc);
    struct msg_list_params params = {.names = argv, .names_count = is_open ? 0 : (size_t)argc};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_reply struct msg_reply reply = {0};
    struct msg_guest_list list = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err);

    if (r == 0) {
        r = client_call(&client, METHOD_list, &params, &reply, &err);
    }
    if (r == 0 && cli->format == FORMAT_JSON && (!is_open || cli->all)) {
        client_print(&reply);
        return STATUS_OK;
    }
    if (r == 0) {
        r = msg_reply_read(&reply, MSG_guest_list, &list, &err);
    }
    if (r != 0) {
        return cli_fail(&err);
    }
    r = is_open ? choose_and_print(cli, argv, argc, &list) : print(cli, &list);
    msg_fini(MSG_guest_list, &list);
    return r;
}

const struct command command_list = {
    .name = "list",
    .synopsis = "[NAME ... | --all]",
    .help = "the guests and what they are doing",
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .run = run,
};
