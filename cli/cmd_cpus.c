/* qvmctl cpus: what each CPU of the host is for, and which guest has it for itself. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/division.h"
#include "cli/table.h"
#include "proto/base/cleanup.h"

/* A number, or none if the kernel did not say it. */
static void add_place(struct table *table, int64_t number)
{
    if (number >= 0) {
        table_number(table, number, false);
    } else {
        table_text(table, NULL);
    }
}

static int print(const struct cli *cli, const struct msg_partitions *division)
{
    static const struct table_column columns[] = {
        {"CPU", true, 0},     {"NODE", true, 0},       {"PACKAGE", true, 0},
        {"CORE", true, 0},    {"USE", false, 0},       {"HOUSEKEEPING", false, 0},
        {"KERNEL", false, 0}, {"PARTITION", false, 0}, {"GUEST", false, 0},
        {"PID", true, 0},
    };
    struct table table;
    int r;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < division->cpus_count; i++) {
        const struct msg_host_cpu *cpu = &division->cpus[i];

        table_number(&table, cpu->cpu, false);
        add_place(&table, cpu->node);
        add_place(&table, cpu->package);
        add_place(&table, cpu->core);
        table_text(&table, cpu->use);
        table_text(&table, cpu->housekeeping ? "yes" : NULL);
        table_text(&table, cpu->isolated && cpu->tickless ? "isolated,tickless"
                           : cpu->isolated                ? "isolated"
                           : cpu->tickless                ? "tickless"
                                                          : NULL);
        table_text(&table, cpu->partition);
        table_text(&table, cpu->guest);
        table_number(&table, cpu->pid, true);
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

const struct command command_cpus = {
    .name = "cpus",
    .synopsis = "",
    .help = "what each CPU of the host is for, and whose it is",
    .formats = FORMATS_DATA,
    .run = run,
};
