/* qvmctl info: the daemon, its host, and what guests may have. */
#include <inttypes.h>
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

/* What somebody has, of how much; a bound of 0 is none. */
static void add_share(struct table *table, int64_t has, int64_t most, bool is_size)
{
    char text[2 * TEXT_SHORT_SIZE + 2], has_text[TEXT_SHORT_SIZE], most_text[TEXT_SHORT_SIZE];

    if (is_size) {
        text_size(has_text, has);
        text_size(most_text, most);
    } else {
        (void)snprintf(has_text, sizeof(has_text), "%" PRId64, has);
        (void)snprintf(most_text, sizeof(most_text), "%" PRId64, most);
    }
    (void)snprintf(text, sizeof(text), "%s/%s", has_text, most != 0 ? most_text : "-");
    table_text(table, text);
}

static void print_drain(const struct msg_drain *drain)
{
    auto_free char *text = NULL;

    if (asprintf(&text, "since %s (%s), %" PRId64 " guests left; nothing is started", drain->since,
                 words_name(&words_reason, drain->reason), drain->left) >= 0) {
        report_text("drain", text);
    }
}

static void print_quotas(const struct msg_quota *quotas, size_t count)
{
    static const struct table_column columns[] = {
        {"UID", true, 0}, {"GUESTS", true, 0}, {"VCPUS", true, 0}, {"MEMORY", true, 0}};
    struct table table;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < count; i++) {
        table_number(&table, quotas[i].uid, false);
        add_share(&table, quotas[i].guests, quotas[i].guests_max, false);
        add_share(&table, quotas[i].vcpus, quotas[i].vcpus_max, false);
        add_share(&table, quotas[i].memory, quotas[i].memory_max, true);
    }
    report_heading("owners (what their guests have / may have)");
    (void)table_print(&table, true, stdout); /* the rest is worth having without it */
    table_fini(&table);
}

#define TEXT(member)   REPORT_MEMBER_TEXT(struct msg_info, member)
#define NUMBER(member) REPORT_MEMBER_NUMBER(struct msg_info, member)
#define COUNT(member)  REPORT_MEMBER_COUNT(struct msg_info, member)

static const struct report_row info_rows[] = {
    {"qvmd", TEXT(version)},
    {"pid", NUMBER(pid)},
    {"started", TEXT(started)},
    {"socket", TEXT(socket)},
    {"store", TEXT(store)},
    {"degraded", TEXT(degraded)},
    {"kvm", TEXT(kvm)},
    {"vhost-net", TEXT(vhost)},
    {"guests", COUNT(guests)},
    {"with a process", COUNT(live)},
    {"last event", COUNT(last_event)},
};

static void print(const struct msg_info *info)
{
    report_rows(info_rows, ARRAY_LEN(info_rows), info);
    if (info->drain != NULL) {
        print_drain(info->drain);
    }
    for (size_t i = 0; i < info->not_enforced_count; i++) {
        report_text(i == 0 ? "not enforced" : "", info->not_enforced[i]);
    }
    report_text("not followed", info->deaf);
    if (info->pools_count > 0) {
        print_pools(info->pools, info->pools_count);
    }
    if (info->quotas_count > 0) {
        print_quotas(info->quotas, info->quotas_count);
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
        client_print(&reply);
        return STATUS_OK;
    }
    if (r == 0) {
        r = msg_reply_read(&reply, MSG_info, &info, &err);
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
