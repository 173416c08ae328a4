/* qvmctl show: everything about guests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

static void print_guest(const struct msg_guest *guest)
{
    bool is_live = state_has_process((enum guest_state)guest->state);

    report_text("name", guest->name);
    report_text("state", words_name(&words_state, guest->state));
    report_text("wanted", words_name(&words_state, guest->desired));
    report_text("reason", words_name(&words_reason, guest->reason));
    report_text("message", guest->message);
    report_number("instance", guest->instance);
    report_number("pid", guest->pid);
    report_number("vcpus", guest->vcpus);
    report_size("memory", guest->memory);
    report_text("cpus", guest->cpus);
    report_number("devices", guest->devices);
    report_text("started", guest->started);
    report_span("uptime", is_live ? guest->uptime_ms : 0);
    report_text("ended", guest->ended);
    if (!is_live && guest->ended != NULL) {
        report_count("exit status", guest->exit_status);
    }
    report_number("reboots", guest->reboots);
    report_number("restarts", guest->restarts);
    report_number("generation", guest->generation);
    report_text("owner", guest->owner);
}

static void print_definition(const struct msg_definition *definition, bool with_texts)
{
    report_heading("definition");
    for (size_t i = 0; i < definition->words_count; i++) {
        report_text(i == 0 ? "words" : "", definition->words[i]);
    }
    for (size_t i = 0; i < definition->sources_count; i++) {
        char number[TEXT_SHORT_SIZE];

        (void)snprintf(number, sizeof(number), "@%zu", i);
        report_text(number, definition->sources[i].name);
        report_text("", definition->sources[i].directory);
    }
    for (size_t i = 0; i < definition->env_count; i++) {
        char *name = NULL;

        if (asprintf(&name, "$%s", definition->env[i].name) >= 0) {
            report_text(name, definition->env[i].value);
            free(name);
        }
    }
    for (size_t i = 0; with_texts && i < definition->sources_count; i++) {
        char *rest = definition->sources[i].text, *line;

        report_heading(definition->sources[i].name);
        while ((line = strsep(&rest, "\n")) != NULL && (*line != '\0' || rest != NULL)) {
            text_print(stdout, line);
            (void)putchar('\n');
        }
    }
}

static void print_claims(const struct msg_claim *claims, size_t count)
{
    static const struct table_column columns[] = {
        {"KIND", false, 0}, {"AMOUNT", true, 0}, {"ACCESS", false, 0}, {"ID", false, 0}};
    struct table table;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < count; i++) {
        char size[TEXT_SHORT_SIZE];
        bool is_file = claims[i].kind == RESOURCE_file || claims[i].kind == RESOURCE_stream;

        text_size(size, claims[i].amount);
        table_text(&table, words_name(&words_resource_kind, claims[i].kind));
        if (claims[i].kind == RESOURCE_memory) {
            table_text(&table, size);
        } else {
            table_number(&table, claims[i].amount, true);
        }
        table_text(&table, !is_file ? NULL : claims[i].is_writable ? "write" : "read");
        table_text(&table, claims[i].id);
    }
    report_heading("holds");
    (void)table_print(&table, true, stdout); /* a show without this table is better than none */
    table_fini(&table);
}

static void print_vdev(const struct msg_vdev_state *vdev)
{
    report_heading(vdev->name);
    for (size_t i = 0; i < vdev->values_count; i++) {
        report_text(vdev->values[i].name, vdev->values[i].value);
    }
}

static int print(const struct cli *cli, const char *name, const char *json, bool is_first)
{
    struct msg_show show = {0};
    struct err err = {0};

    if (cli->format == FORMAT_JSON || cli->format == FORMAT_JSONL) {
        (void)puts(json); /* main() looks at stdout's errors */
        return STATUS_OK;
    }
    if (msg_decode(MSG_show, json, strlen(json), false, &show, &err) != 0) {
        return cli_fail(&err);
    }
    if (cli->format == FORMAT_NAME) {
        text_print(stdout, name);
        (void)putchar('\n');
    } else {
        if (!is_first) {
            (void)putchar('\n');
        }
        if (show.guest != NULL) {
            print_guest(show.guest);
        }
        if (show.definition != NULL) {
            print_definition(show.definition, cli->wide);
        }
        if (show.claims_count > 0) {
            print_claims(show.claims, show.claims_count);
        }
        for (size_t i = 0; i < show.vdevs_count; i++) {
            print_vdev(&show.vdevs[i]);
        }
    }
    msg_fini(MSG_show, &show);
    return STATUS_OK;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_client struct client client = CLIENT_CLOSED;
    struct err err = {0};
    int failed = 0, status = STATUS_OK;

    if (client_init(&client, cli, patience, &err) != 0) {
        return cli_fail(&err);
    }
    for (int i = 0; i < argc && status != STATUS_UNREACHABLE; i++) {
        struct msg_guest_params params = {.name = argv[i]};
        auto_reply struct msg_reply reply = {0};
        int r = client_call(&client, METHOD_show, &params, &reply, &err);

        status = r == 0 ? print(cli, argv[i], reply.result, i == 0) : cli_fail(&err);
        failed += status != STATUS_OK;
    }
    return failed == 0                                 ? STATUS_OK
           : argc == 1 || status == STATUS_UNREACHABLE ? status
                                                       : STATUS_SOME_FAILED;
}

const struct command command_show = {
    .name = "show",
    .synopsis = "[-w] NAME ...",
    .help = "everything about guests; -w: with their configuration",
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .run = run,
};
