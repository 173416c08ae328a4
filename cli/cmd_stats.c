/* qvmctl stats: figures of guests, once or again and again. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/figures.h"
#include "cli/names.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define LINE_SIZE 1024

static int64_t interval_ms, times;

static const struct option_row options[] = {
    {"interval", 'i', OPTION_SPAN, {.number = &interval_ms}, "SECONDS", "again after so long"},
    {"times", 'n', OPTION_NUMBER, {.number = &times}, "COUNT", "so many times; 0: for ever"},
    {0},
};

static const struct table_column columns[] = {
    {"NAME", false, 0},  {"STATE", false, 0}, {"CPU%", true, 0},    {"CPU-TIME", true, 0},
    {"VCPUS", true, 0},  {"EXITS", true, 0},  {"EXITS/S", true, 0}, {"TOUCHED", true, 0},
    {"MEMORY", true, 0}, {"OWN", true, 0},    {"CONSOLE", true, 0}, {"THREADS", true, 0},
    {"AGE", true, 0},
};

static void add_size(struct table *table, int64_t bytes)
{
    char text[TEXT_SHORT_SIZE];

    text_size(text, bytes);
    table_text(table, bytes != 0 ? text : NULL);
}

static void add_rate(struct table *table, double rate, const char *format)
{
    char text[TEXT_SHORT_SIZE];

    (void)snprintf(text, sizeof(text), format, rate);
    table_text(table, rate >= 0 ? text : NULL);
}

static void add_row(struct table *table, const struct figures *figures)
{
    const struct msg_guest_stats *now = figures->now;
    bool has_sample = now->clock_ns != 0;
    char time[TEXT_SHORT_SIZE], age[TEXT_SHORT_SIZE];

    figures_time(time, now->cpu_ns);
    text_span(age, now->age_ms);
    table_text(table, now->name);
    table_text(table, words_name(&words_state, now->state));
    add_rate(table, figures->cpu_percent, "%.1f");
    table_text(table, has_sample ? time : NULL);
    table_number(table, (long long)now->vcpus_count, true);
    table_number(table, figures->exits, true);
    add_rate(table, figures->exits_a_second, "%.0f");
    add_size(table, now->memory_touched);
    add_size(table, now->memory);
    add_size(table, now->memory_own);
    add_size(table, now->console_bytes);
    table_number(table, (long long)now->threads_count, true);
    table_text(table, has_sample ? age : NULL);
}

static int print_table(const struct cli *cli, const struct msg_stats_list *now,
                       const struct msg_stats_list *before)
{
    struct table table;
    int r;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < now->guests_count; i++) {
        struct figures figures;

        figures_of(&now->guests[i], figures_find(before, now->guests[i].name), &figures);
        add_row(&table, &figures);
    }
    r = table_print(&table, !cli->no_headers, stdout);
    table_fini(&table);
    return r;
}

/* ---- everything about each guest ---- */

/* "io=500 mmio=3" */
static void list_counters(const struct msg_counter *counters, size_t count, char line[LINE_SIZE])
{
    size_t used = 0;

    line[0] = '\0';
    for (size_t i = 0; i < count && used < LINE_SIZE; i++) {
        used += (size_t)snprintf(line + used, LINE_SIZE - used, "%s%s=%" PRId64, i > 0 ? " " : "",
                                 counters[i].name, counters[i].value);
    }
}

static void print_vcpus(const struct msg_guest_stats *stats)
{
    static const struct table_column vcpu_columns[] = {{"VCPU", true, 0},
                                                       {"CPU-TIME", true, 0},
                                                       {"EXITS", true, 0},
                                                       {"BY REASON", false, 0},
                                                       {"KVM", false, 0}};
    struct table table;

    table_init(&table, vcpu_columns, ARRAY_LEN(vcpu_columns));
    for (size_t i = 0; i < stats->vcpus_count; i++) {
        const struct msg_vcpu_stats *vcpu = &stats->vcpus[i];
        char time[TEXT_SHORT_SIZE], reasons[LINE_SIZE], kvm[LINE_SIZE];

        figures_time(time, vcpu->cpu_ns);
        list_counters(vcpu->by_reason, vcpu->by_reason_count, reasons);
        list_counters(vcpu->kvm, vcpu->kvm_count, kvm);
        table_number(&table, vcpu->vcpu, false);
        table_text(&table, time);
        table_number(&table, vcpu->exits, false);
        table_text(&table, reasons);
        table_text(&table, kvm);
    }
    (void)table_print(&table, true, stdout); /* the rest is worth having without it */
    table_fini(&table);
}

static void print_guest(const struct msg_guest_stats *stats)
{
    static const struct report_row rows[] = {
        {"name", REPORT_MEMBER_TEXT(struct msg_guest_stats, name)},
        {"state", REPORT_MEMBER_WORD(struct msg_guest_stats, state, words_state)},
        {"instance", REPORT_MEMBER_NUMBER(struct msg_guest_stats, instance)},
        {"pid", REPORT_MEMBER_NUMBER(struct msg_guest_stats, pid)},
        {"age", REPORT_MEMBER_SPAN(struct msg_guest_stats, age_ms)},
        {"memory", REPORT_MEMBER_SIZE(struct msg_guest_stats, memory)},
        {"touched", REPORT_MEMBER_SIZE(struct msg_guest_stats, memory_touched)},
        {"own", REPORT_MEMBER_SIZE(struct msg_guest_stats, memory_own)},
        {"swapped", REPORT_MEMBER_SIZE(struct msg_guest_stats, memory_swapped)},
        {"charged", REPORT_MEMBER_SIZE(struct msg_guest_stats, memory_charged)},
        {"peak", REPORT_MEMBER_SIZE(struct msg_guest_stats, memory_peak)},
        {"console", REPORT_MEMBER_SIZE(struct msg_guest_stats, console_bytes)},
        {"reboots", REPORT_MEMBER_NUMBER(struct msg_guest_stats, reboots)},
    };
    char time[TEXT_SHORT_SIZE], line[LINE_SIZE];

    report_rows(rows, ARRAY_LEN(rows), stats);
    if (stats->clock_ns == 0) {
        return;
    }
    figures_time(time, stats->cpu_ns);
    report_text("cpu time", time);
    list_counters(stats->counters, stats->counters_count, line);
    report_text("counters", line);
    (void)putchar('\n');
    print_vcpus(stats);
    (void)putchar('\n');
    figures_print_threads(stats);
}

/* ---- the command ---- */

static int print(const struct cli *cli, const struct msg_reply *reply,
                 const struct msg_stats_list *now, const struct msg_stats_list *before)
{
    if (cli->format == FORMAT_JSON) {
        client_print(reply);
        return 0;
    }
    if (cli->format == FORMAT_TABLE && !cli->wide) {
        return print_table(cli, now, before);
    }
    for (size_t i = 0; i < now->guests_count; i++) {
        auto_free char *line = NULL;

        if (cli->format == FORMAT_TABLE) {
            (void)fputs(i > 0 ? "\n" : "", stdout);
            print_guest(&now->guests[i]);
            continue;
        }
        line = msg_encode(MSG_guest_stats, &now->guests[i]);
        if (line == NULL) {
            return -ENOMEM;
        }
        (void)puts(line);
    }
    return 0;
}

static int look(const struct cli *cli, struct client *client, const struct msg_list_params *wanted,
                struct msg_stats_list *before, struct err *err)
{
    auto_reply struct msg_reply reply = {0};
    struct msg_stats_list now = {0};
    int r = client_call(client, METHOD_stats, wanted, &reply, err);

    if (r == 0) {
        r = msg_reply_read(&reply, MSG_stats_list, &now, err);
    }
    if (r == 0 && print(cli, &reply, &now, before) < 0) {
        r = err_set(err, -ENOMEM, "out of memory");
    }
    msg_fini(MSG_stats_list, before);
    *before = now;
    return r;
}

/* Look again and again, as the options want. */
static int look_on(const struct cli *cli, struct client *client, int64_t patience,
                   const struct msg_list_params *wanted, struct err *err)
{
    struct msg_stats_list before = {0};
    int r = look(cli, client, wanted, &before, err);

    for (int64_t i = 1; r == 0 && interval_ms != 0 && (times == 0 || i < times); i++) {
        if (fflush(stdout) != 0) {
            break; /* main() says it */
        }
        (void)poll(NULL, 0, (int)interval_ms); /* a signal ends us */
        if (cli->format == FORMAT_TABLE) {
            (void)putchar('\n');
        }
        if (cli->timeout_ms == 0) {
            client_set_patience(client, patience); /* for each look anew */
        }
        r = look(cli, client, wanted, &before, err);
    }
    msg_fini(MSG_stats_list, &before);
    return r;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    bool are_chosen = argc > 0;
    auto_client struct client client = CLIENT_CLOSED;
    struct names names = {0};
    struct err err = {0};
    int status, r = client_init(&client, cli, patience, &err);

    if (r == 0 && are_chosen) {
        r = names_ask(&names, cli, argv, (size_t)argc, &client, &err);
    }
    if (r == 0 && (!are_chosen || names.count > 0)) {
        r = look_on(cli, &client, patience,
                    &(struct msg_list_params){.names = names.list, .names_count = names.count},
                    &err);
    }
    status = r == 0 ? names_status(&names, 0, STATUS_OK) : cli_fail(&err);
    names_fini(&names);
    return status;
}

const struct command command_stats = {
    .name = "stats",
    .synopsis = "[-w] [-i SECONDS [-n COUNT]] [NAME ... | --all]",
    .help = "figures of guests: CPU time, exits, memory; -w: all of them",
    .options = options,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_DATA,
    .takes_guests = true,
    .run = run,
};
