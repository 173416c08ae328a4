/* qvmctl show: everything about guests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/batch.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/figures.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

static bool vdevs_alone;

static const struct option_row options[] = {
    {"vdevs",
     0,
     OPTION_FLAG,
     {.flag = &vdevs_alone},
     NULL,
     "the state of the VM and its vdevs alone"},
    {0},
};

#define VALUE_WIDTH 60 /* columns of a value beside its name that a page has */

static bool is_live(const void *body)
{
    return state_has_process((enum guest_state)((const struct msg_guest *)body)->state);
}

static bool has_ended(const void *body)
{
    return !is_live(body) && ((const struct msg_guest *)body)->ended != NULL;
}

#define TEXT(member)        REPORT_MEMBER_TEXT(struct msg_guest, member)
#define NUMBER(member)      REPORT_MEMBER_NUMBER(struct msg_guest, member)
#define WORD(member, words) REPORT_MEMBER_WORD(struct msg_guest, member, words)

static const struct report_row guest_rows[] = {
    {"name", TEXT(name)},
    {"state", WORD(state, words_state)},
    {"wanted", WORD(desired, words_state)},
    {"reason", WORD(reason, words_reason)},
    {"message", TEXT(message)},
    {"instance", NUMBER(instance)},
    {"pid", NUMBER(pid)},
    {"vcpus", NUMBER(vcpus)},
    {"memory", REPORT_MEMBER_SIZE(struct msg_guest, memory)},
    {"cpus", TEXT(cpus)},
    {"devices", NUMBER(devices)},
    {"started", TEXT(started)},
    {"uptime", REPORT_MEMBER_SPAN(struct msg_guest, uptime_ms), .is_shown = is_live},
    {"ended", TEXT(ended)},
    {"exit status", REPORT_MEMBER_COUNT(struct msg_guest, exit_status), .is_shown = has_ended},
    {"reboots", NUMBER(reboots)},
    {"last reset", TEXT(last_reset)},
    {"restarts", NUMBER(restarts)},
    {"tries in a row", NUMBER(tries)},
    {"next try", TEXT(next_start)},
    {"generation", NUMBER(generation)},
    {"owner", TEXT(owner)},
};

static const struct report_row settings_rows[] = {
    {"restart", REPORT_MEMBER_WORD(struct msg_settings, restart, words_restart)},
    {"on-reboot", REPORT_MEMBER_WORD(struct msg_settings, on_reboot, words_on_reboot)},
    {"delay", REPORT_MEMBER_SPAN(struct msg_settings, delay_ms)},
    {"stop-timeout", REPORT_MEMBER_SPAN(struct msg_settings, stop_timeout_ms)},
    {"give-up", REPORT_MEMBER_COUNT(struct msg_settings, give_up)},
};

/* By the names that `set` takes. */
static void print_settings(const struct msg_settings *settings)
{
    report_heading("settings");
    report_text("enabled", settings->enabled ? "yes" : "no");
    for (size_t i = 0; i < settings->after_count; i++) {
        report_text(i == 0 ? "after" : "", settings->after[i]);
    }
    report_rows(settings_rows, ARRAY_LEN(settings_rows), settings);
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
    static const struct table_column columns[] = {{"KIND", false, 0},
                                                  {"AMOUNT", true, 0},
                                                  {"ACCESS", false, 0},
                                                  {"WHERE", false, 0},
                                                  {"ID", false, 0}};
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
        table_text(&table, claims[i].where);
        table_text(&table, claims[i].id);
    }
    report_heading("holds");
    (void)table_print(&table, true, stdout); /* a show without this table is better than none */
    table_fini(&table);
}

static void print_helpers(const struct msg_helper *helpers, size_t count)
{
    static const struct table_column columns[] = {
        {"VDEV", false, 0}, {"STATE", false, 0}, {"PID", true, 0}, {"SERVES", false, 0}};
    struct table table;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < count; i++) {
        table_text(&table, helpers[i].vdev);
        table_text(&table, helpers[i].state);
        table_number(&table, helpers[i].pid, true);
        table_text(&table, helpers[i].id);
    }
    report_heading("helpers");
    (void)table_print(&table, true, stdout); /* as above */
    table_fini(&table);
}

/* An RFC 3339 time without its fraction: 20 columns. */
static void add_time(struct table *table, const char *time)
{
    char text[TEXT_SHORT_SIZE];

    (void)snprintf(text, sizeof(text), "%.19sZ", time != NULL ? time : "");
    table_text(table, time != NULL ? text : NULL);
}

static void print_history(const struct msg_instance *history, size_t count, bool is_wide)
{
    static const struct table_column columns[] = {
        {"RUN", true, 0},    {"STATE", false, 0}, {"REASON", false, 0},  {"STARTED", false, 0},
        {"ENDED", false, 0}, {"PID", true, 0},    {"MESSAGE", false, 0},
    };
    struct table table;

    table_init(&table, columns, ARRAY_LEN(columns) - (is_wide ? 0 : 1));
    for (size_t i = 0; i < count; i++) {
        table_number(&table, history[i].id, false);
        table_text(&table, words_name(&words_state, history[i].state));
        table_text(&table, words_name(&words_reason, history[i].reason));
        add_time(&table, history[i].started);
        add_time(&table, history[i].ended);
        table_number(&table, history[i].pid, true);
        if (is_wide) {
            table_text(&table, history[i].message);
        }
    }
    report_heading("history");
    (void)table_print(&table, true, stdout); /* the rest is worth having without it */
    table_fini(&table);
}

static void print_stats(const struct msg_guest_stats *stats)
{
    static const struct report_row rows[] = {
        {"touched", REPORT_MEMBER_SIZE(struct msg_guest_stats, memory_touched)},
        {"own memory", REPORT_MEMBER_SIZE(struct msg_guest_stats, memory_own)},
        {"swapped", REPORT_MEMBER_SIZE(struct msg_guest_stats, memory_swapped)},
        {"console", REPORT_MEMBER_SIZE(struct msg_guest_stats, console_bytes)},
    };
    char time[TEXT_SHORT_SIZE];

    report_heading("figures");
    figures_time(time, stats->cpu_ns);
    report_text("cpu time", time);
    report_rows(rows, ARRAY_LEN(rows), stats);
    (void)putchar('\n');
    figures_print_threads(stats);
}

/* Long values, such as registers, only with -w. */
static void print_vdev(const struct msg_vdev_state *vdev, bool is_wide)
{
    report_heading(vdev->name);
    for (size_t i = 0; i < vdev->values_count; i++) {
        const struct msg_value *value = &vdev->values[i];

        if (is_wide || text_width(value->value) <= VALUE_WIDTH) {
            report_text(value->name, value->value);
        }
    }
}

static void print_log(char *const *lines, size_t count)
{
    report_heading("log");
    for (size_t i = 0; i < count; i++) {
        text_print(stdout, lines[i]);
        (void)putchar('\n');
    }
}

static void print(const struct cli *cli, const struct msg_show *show, bool is_first)
{
    if (!is_first) {
        (void)putchar('\n');
    }
    if (vdevs_alone) {
        report_text("name", show->guest != NULL ? show->guest->name : "");
        for (size_t i = 0; i < show->vdevs_count; i++) {
            print_vdev(&show->vdevs[i], cli->wide);
        }
        return;
    }
    if (show->guest != NULL) {
        report_rows(guest_rows, ARRAY_LEN(guest_rows), show->guest);
    }
    if (show->settings != NULL) {
        print_settings(show->settings);
    }
    if (show->definition != NULL) {
        print_definition(show->definition, cli->wide);
    }
    if (show->claims_count > 0) {
        print_claims(show->claims, show->claims_count);
    }
    if (show->helpers_count > 0) {
        print_helpers(show->helpers, show->helpers_count);
    }
    if (show->stats != NULL) {
        print_stats(show->stats);
    }
    for (size_t i = 0; i < show->vdevs_count; i++) {
        print_vdev(&show->vdevs[i], cli->wide);
    }
    if (show->history_count > 0) {
        print_history(show->history, show->history_count, cli->wide);
    }
    if (show->log_count > 0) {
        print_log(show->log, show->log_count);
    }
}

struct showing {
    const struct cli *cli;
    bool is_first;
};

static int on_show(void *context, const char *name, const char *json)
{
    struct showing *showing = context;
    struct msg_show show = {0};
    struct err err = {0};

    if (msg_decode(MSG_show, json, strlen(json), false, &show, &err) != 0) {
        return cli_fail(&err);
    }
    if (showing->cli->format == FORMAT_NAME) {
        text_print(stdout, name);
        (void)putchar('\n'); /* main() looks at stdout's errors */
    } else if (showing->cli->format == FORMAT_TABLE) {
        print(showing->cli, &show, showing->is_first);
    }
    showing->is_first = false;
    msg_fini(MSG_show, &show);
    return STATUS_OK;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    struct showing showing = {.cli = cli, .is_first = true};
    struct msg_guest_params params = {0};

    return batch_run(cli,
                     &(struct batch){
                         BATCH_REQUEST(METHOD_show, &params),
                         .name_slot = &params.name,
                         .patience_ms = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS,
                         .in_order = true,
                         .is_heavy = true,
                         .on_result = on_show,
                         .context = &showing,
                     },
                     argv, argc);
}

const struct command command_show = {
    .name = "show",
    .synopsis = "[-w] [--vdevs] NAME ... | --all",
    .help = "everything about guests; -w: with their configuration",
    .options = options,
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .run = run,
};
