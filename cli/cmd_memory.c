/* qvmctl memory: who has how much of the host's memory. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/division.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"

/* `partition` NULL: of none. */
static void add_row(struct table *table, const struct msg_partition *partition, const char *guest,
                    int64_t pid, int64_t memory)
{
    char size[TEXT_SHORT_SIZE];

    text_size(size, memory);
    table_text(table, partition != NULL ? partition->name : NULL);
    division_add_memory(table, partition);
    table_text(table, guest);
    table_number(table, pid, true);
    table_text(table, size);
}

static int print(const struct cli *cli, const struct msg_partitions *division)
{
    static const struct table_column columns[] = {{"PARTITION", false, 0}, {"NODE", true, 0},
                                                  {"PAGES", true, 0},      {"GUEST", false, 0},
                                                  {"PID", true, 0},        {"MEMORY", true, 0}};
    int64_t left = division->memory;
    struct table table;
    int r;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < division->partitions_count; i++) {
        const struct msg_partition *partition = &division->partitions[i];

        for (size_t j = 0; j < division->shares_count; j++) {
            const struct msg_share *share = &division->shares[j];

            if (strcmp(share->partition, partition->name) == 0) {
                add_row(&table, partition, share->guest, share->pid, share->memory);
            }
        }
        add_row(&table, partition, "(left)", 0, partition->memory - partition->memory_claimed);
        left -= partition->memory;
    }
    if (left > 0) {
        add_row(&table, NULL, "(host's own)", 0, left);
    }
    r = table_print(&table, !cli->no_headers, stdout);
    table_fini(&table);
    return r;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    (void)argc, (void)argv;
    return division_show(cli, print);
}

const struct command command_memory = {
    .name = "memory",
    .synopsis = "",
    .help = "which guests have how much of the host's memory, and what is left",
    .formats = FORMATS_DATA,
    .run = run,
};
