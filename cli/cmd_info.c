/* qvmctl info: the daemon, its host, and what guests may have. */
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

static void add_amount(struct table *table, int kind, int64_t amount)
{
    char size[TEXT_SHORT_SIZE];

    text_size(size, amount);
    if (kind == RESOURCE_memory) {
        table_text(table, size);
    } else {
        table_number(table, amount, false);
    }
}

static void print_pools(const struct msg_pool *pools, size_t count)
{
    static const struct table_column columns[] = {{"POOL", false, 0},
                                                  {"KIND", false, 0},
                                                  {"TOTAL", true, 0},
                                                  {"CLAIMED", true, 0},
                                                  {"LEFT", true, 0}};
    struct table table;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < count; i++) {
        table_text(&table, pools[i].id);
        table_text(&table, words_name(&words_resource_kind, pools[i].kind));
        add_amount(&table, pools[i].kind, pools[i].total);
        add_amount(&table, pools[i].kind, pools[i].claimed);
        add_amount(&table, pools[i].kind, pools[i].total - pools[i].claimed);
    }
    report_heading("pools");
    (void)table_print(&table, true, stdout); /* the rest is worth having without it */
    table_fini(&table);
}

static void print(const struct msg_info *info)
{
    report_text("qvmd", info->version);
    report_number("pid", info->pid);
    report_text("started", info->started);
    report_text("socket", info->socket);
    report_text("store", info->store);
    report_text("degraded", info->degraded);
    report_text("kvm", info->kvm);
    report_count("guests", info->guests);
    report_count("with a process", info->live);
    report_count("last event", info->last_event);
    for (size_t i = 0; i < info->not_enforced_count; i++) {
        report_text(i == 0 ? "not enforced" : "", info->not_enforced[i]);
    }
    if (info->pools_count > 0) {
        print_pools(info->pools, info->pools_count);
    }
}

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_reply struct msg_reply reply = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_info info = {0};
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err);

    (void)argc, (void)argv;
    r = r == 0 ? client_call(&client, METHOD_info, &(struct msg_none){}, &reply, &err) : r;
    if (r == 0 && cli->format != FORMAT_TABLE) {
        (void)puts(reply.result); /* main() looks at stdout's errors */
        return STATUS_OK;
    }
    if (r == 0) {
        r = msg_decode(MSG_info, reply.result, strlen(reply.result), false, &info, &err);
    }
    if (r != 0) {
        return cli_fail(&err);
    }
    print(&info);
    msg_fini(MSG_info, &info);
    return STATUS_OK;
}

const struct command command_info = {
    .name = "info",
    .synopsis = "",
    .help = "the daemon, its host, and what guests may have and have",
    .formats = FORMATS_DATA,
    .run = run,
};
