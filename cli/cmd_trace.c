/* qvmctl trace: what guests leave their vCPUs for, as it happens. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/figures.h"
#include "cli/names.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define INTERVAL_MS 1000

static int64_t interval_ms, times;
static bool follows;

static const struct option_row options[] = {
    {"follow", 'f', OPTION_FLAG, {.flag = &follows}, NULL, "again and again, until interrupted"},
    {"interval", 'i', OPTION_SPAN, {.number = &interval_ms}, "SECONDS", "how long one look is (1)"},
    {"times", 'n', OPTION_NUMBER, {.number = &times}, "COUNT", "so many looks"},
    {0},
};

static const struct table_column columns[] = {
    {"NAME", false, 0}, {"VCPU", true, 0},     {"WHAT", false, 0},
    {"TIMES", true, 0}, {"A SECOND", true, 0},
};

/* What two samples of one guest differ in. */
struct span {
    const char *name;
    bool has_vcpu; /* otherwise it is the whole guest's */
    int64_t vcpu;
    double seconds;
};

static void add(struct table *table, const struct span *span, const char *kind, const char *what,
                int64_t difference)
{
    char text[TEXT_SHORT_SIZE * 4], rate[TEXT_SHORT_SIZE];

    if (difference <= 0) {
        return; /* what did not happen is not told */
    }
    (void)snprintf(text, sizeof(text), "%s%.63s", kind, what);
    (void)snprintf(rate, sizeof(rate), "%.0f", (double)difference / span->seconds);
    table_text(table, span->name);
    if (span->has_vcpu) {
        table_number(table, span->vcpu, false);
    } else {
        table_text(table, "-");
    }
    table_text(table, text);
    table_number(table, difference, false);
    table_text(table, rate);
}

static int64_t value_of(const struct msg_counter *counters, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(counters[i].name, name) == 0) {
            return counters[i].value;
        }
    }
    return 0;
}

static void add_vcpu(struct table *table, const struct span *span, const struct msg_vcpu_stats *now,
                     const struct msg_vcpu_stats *before)
{
    add(table, span, "", "entries", now->exits - before->exits);
    for (size_t i = 0; i < now->by_reason_count; i++) {
        const struct msg_counter *one = &now->by_reason[i];

        add(table, span, "exit ", one->name,
            one->value - value_of(before->by_reason, before->by_reason_count, one->name));
    }
    for (size_t i = 0; i < now->kvm_count; i++) {
        const struct msg_counter *one = &now->kvm[i];

        add(table, span, "kvm ", one->name,
            one->value - value_of(before->kvm, before->kvm_count, one->name));
    }
    add(table, span, "", "cpu ns", now->cpu_ns - before->cpu_ns);
}

static void add_guest(struct table *table, const struct msg_guest_stats *now,
                      const struct msg_guest_stats *before)
{
    struct span span = {.name = now->name, .has_vcpu = true};

    if (before == NULL || before->instance != now->instance || now->clock_ns <= before->clock_ns) {
        return;
    }
    span.seconds = (double)(now->clock_ns - before->clock_ns) / 1e9;
    for (size_t i = 0; i < now->vcpus_count && i < before->vcpus_count; i++) {
        span.vcpu = now->vcpus[i].vcpu;
        add_vcpu(table, &span, &now->vcpus[i], &before->vcpus[i]);
    }
    span.has_vcpu = false;
    for (size_t i = 0; i < now->counters_count; i++) {
        const struct msg_counter *one = &now->counters[i];

        add(table, &span, "vm ", one->name,
            one->value - value_of(before->counters, before->counters_count, one->name));
    }
}

static int print(const struct cli *cli, const struct msg_stats_list *now,
                 const struct msg_stats_list *before)
{
    struct table table;
    int r;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < now->guests_count; i++) {
        add_guest(&table, &now->guests[i], figures_find(before, now->guests[i].name));
    }
    r = table_print(&table, !cli->no_headers, stdout);
    table_fini(&table);
    return r;
}

/* Look, wait, look: as often as it is wanted. */
static int trace(const struct cli *cli, struct client *client, int64_t patience,
                 const struct msg_list_params *wanted, struct err *err)
{
    int64_t looks = follows ? INT64_MAX : times > 0 ? times : 1;
    struct msg_stats_list before = {0};
    int r = client_ask(client, METHOD_stats, wanted, &before, err);

    for (int64_t i = 0; r == 0 && i < looks; i++) {
        struct msg_stats_list now = {0};

        (void)poll(NULL, 0, (int)(interval_ms != 0 ? interval_ms : INTERVAL_MS));
        if (cli->timeout_ms == 0) {
            client_set_patience(client, patience); /* for each look anew */
        }
        r = client_ask(client, METHOD_stats, wanted, &now, err);
        if (r == 0 && i > 0) {
            (void)putchar('\n'); /* main() looks at stdout's errors */
        }
        if (r == 0 && print(cli, &now, &before) < 0) {
            r = err_set(err, -ENOMEM, "out of memory");
        }
        msg_fini(MSG_stats_list, &before);
        before = now;
        if (fflush(stdout) != 0) {
            break; /* main() says it */
        }
    }
    msg_fini(MSG_stats_list, &before);
    return r;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_client struct client client = CLIENT_CLOSED;
    struct names names = {0};
    struct err err = {0};
    int status, r = client_init(&client, cli, patience, &err);

    r = r == 0 ? names_ask(&names, cli, argv, (size_t)argc, &client, &err) : r;
    if (r == 0 && names.count > 0) {
        r = trace(cli, &client, patience,
                  &(struct msg_list_params){.names = names.list, .names_count = names.count}, &err);
    }
    status = r == 0 ? names_status(&names, 0, STATUS_OK) : cli_fail(&err);
    names_fini(&names);
    return status;
}

const struct command command_trace = {
    .name = "trace",
    .synopsis = "[-f | -n COUNT] [-i SECONDS] NAME ... | --all",
    .help = "what vCPUs leave guests for: exits by reason, interrupts, time",
    .options = options,
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_TABLE,
    .takes_guests = true,
    .all_means = names_can_end,
    .run = run,
};
