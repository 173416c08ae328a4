/* qvmctl host: what the machine has, whoever uses it. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define HUGE_SIZE 256

/* "512 of 2MiB (3 free), ...": into `text`, empty when there are none. */
static void huge_text(const struct msg_huge_pages *pages, size_t count, char text[HUGE_SIZE])
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < count && used < HUGE_SIZE; i++) {
        char size[TEXT_SHORT_SIZE];

        text_size(size, pages[i].size);
        if (pages[i].total > 0) {
            used += (size_t)snprintf(text + used, HUGE_SIZE - used,
                                     "%s%" PRId64 " of %s (%" PRId64 " free)", used > 0 ? ", " : "",
                                     pages[i].total, size, pages[i].free);
        }
    }
}

static int print_nodes(const struct msg_host *host)
{
    static const struct table_column columns[] = {
        {"NODE", true, 0}, {"CPUS", false, 0},       {"MEMORY", true, 0},
        {"FREE", true, 0}, {"HUGE PAGES", false, 0}, {"DISTANCES", false, 0}};
    struct table table;
    int r;

    report_heading("nodes");
    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < host->nodes_count; i++) {
        const struct msg_host_node *node = &host->nodes[i];
        char memory[TEXT_SHORT_SIZE], left[TEXT_SHORT_SIZE], huge[HUGE_SIZE];

        text_size(memory, node->memory);
        text_size(left, node->free);
        huge_text(node->huge_pages, node->huge_pages_count, huge);
        table_number(&table, node->node, false);
        table_text(&table, node->cpus);
        table_text(&table, memory);
        table_text(&table, left);
        table_text(&table, huge);
        table_text(&table, node->distances);
    }
    r = table_print(&table, true, stdout);
    table_fini(&table);
    return r;
}

static int print_caches(const struct msg_host *host)
{
    static const struct table_column columns[] = {
        {"CACHE", true, 0}, {"OF", false, 0}, {"SIZE", true, 0}, {"CPUS", false, 0}};
    struct table table;
    int r;

    report_heading("caches");
    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < host->caches_count; i++) {
        const struct msg_host_cache *cache = &host->caches[i];
        char size[TEXT_SHORT_SIZE];

        text_size(size, cache->size);
        table_number(&table, cache->level, false);
        table_text(&table, cache->type);
        table_text(&table, size);
        table_text(&table, cache->cpus);
    }
    r = table_print(&table, true, stdout);
    table_fini(&table);
    return r;
}

#define TEXT(member)  REPORT_MEMBER_TEXT(struct msg_host, member)
#define COUNT(member) REPORT_MEMBER_COUNT(struct msg_host, member)
#define SIZE(member)  REPORT_MEMBER_SIZE(struct msg_host, member)

static const struct report_row host_rows[] = {
    {"kernel", TEXT(kernel)},     {"processor", TEXT(model)},   {"packages", COUNT(packages)},
    {"cores", COUNT(cores)},      {"cpus", COUNT(cpus)},        {"online", TEXT(online)},
    {"isolated", TEXT(isolated)}, {"tickless", TEXT(tickless)}, {"memory", SIZE(memory)},
    {"free", SIZE(free)},
};

static const struct report_row device_rows[] = {
    {"devices", COUNT(devices)},
    {"iommu groups", COUNT(iommu_groups)},
    {"not followed", TEXT(deaf)},
};

static int print(const struct msg_host *host)
{
    char huge[HUGE_SIZE];
    int r;

    report_rows(host_rows, ARRAY_LEN(host_rows), host);
    huge_text(host->huge_pages, host->huge_pages_count, huge);
    report_text("huge pages", huge);
    report_rows(device_rows, ARRAY_LEN(device_rows), host);
    r = print_nodes(host);
    return r == 0 && host->caches_count > 0 ? print_caches(host) : r;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_reply struct msg_reply reply = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_host host = {0};
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err);

    (void)argc, (void)argv;
    r = r == 0 ? client_call(&client, METHOD_host, &(struct msg_none){}, &reply, &err) : r;
    if (r == 0 && cli->format != FORMAT_TABLE) {
        client_print(&reply);
        return STATUS_OK;
    }
    r = r == 0 ? msg_reply_read(&reply, MSG_host, &host, &err) : r;
    if (r == 0 && print(&host) != 0) {
        r = err_set(&err, -ENOMEM, "out of memory");
    }
    msg_fini(MSG_host, &host);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}

const struct command command_host = {
    .name = "host",
    .synopsis = "",
    .help = "what the machine has: CPUs, caches, nodes, memory, huge pages",
    .formats = FORMATS_DATA,
    .run = run,
};
