/* qvmctl partition: the parts of the host, and what is left of them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/division.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"

static int print(const struct cli *cli, const struct msg_partitions *division)
{
    static const struct table_column columns[] = {
        {"PARTITION", false, 0}, {"MEMORY LEFT", true, 0}, {"VCPUS LEFT", true, 0},
        {"SHARED", false, 0},    {"EXCLUSIVE", false, 0},  {"NODE", true, 0},
        {"PAGES", true, 0},      {"RT", true, 0},          {"LINE", true, 0},
    };
    struct table table;
    int r;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < division->partitions_count; i++) {
        const struct msg_partition *partition = &division->partitions[i];
        char memory[TEXT_SHORT_SIZE], all[TEXT_SHORT_SIZE], text[2 * TEXT_SHORT_SIZE + 2];

        text_size(memory, partition->memory - partition->memory_claimed);
        text_size(all, partition->memory);
        (void)snprintf(text, sizeof(text), "%s/%s", memory, all);
        table_text(&table, partition->name);
        table_text(&table, text);
        (void)snprintf(text, sizeof(text), "%" PRId64 "/%" PRId64,
                       partition->vcpus - partition->vcpus_claimed, partition->vcpus);
        table_text(&table, text);
        table_text(&table, partition->shared);
        table_text(&table, partition->exclusive);
        division_add_memory(&table, partition);
        table_number(&table, partition->rt_priority, true);
        table_number(&table, partition->line, true);
    }
    r = table_print(&table, !cli->no_headers, stdout);
    table_fini(&table);
    return r;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    if (argc > 1 || (argc == 1 && strcmp(argv[0], "list") != 0)) {
        return cli_usage("partition knows 'list' alone");
    }
    return division_show(cli, print);
}

const struct command command_partition = {
    .name = "partition",
    .synopsis = "[list]",
    .most = 1,
    .help = "the parts of the host for guests, and what is left of them",
    .formats = FORMATS_DATA,
    .run = run,
};
