/* qvmctl log: what guests' qvms had to say, or the guests themselves. */
#include <stddef.h>

#include "cli/command.h"
#include "cli/logs.h"

static struct logs_wanted wanted = {.lines = -1};

static const struct option_row options[] = {
    {"follow", 'f', OPTION_FLAG, {.flag = &wanted.follow}, NULL, "and what it says from now on"},
    {"lines",
     'n',
     OPTION_NUMBER,
     {.number = &wanted.lines},
     "LINES",
     "only the last so many lines"},
    {"console",
     0,
     OPTION_FLAG,
     {.flag = &wanted.console},
     NULL,
     "what the guest said, not its qvm"},
    {"size", 0, OPTION_NUMBER, {.number = &wanted.size}, "BYTES", "the last so many bytes (65536)"},
    {0},
};

static int run(const struct cli *cli, int argc, char **argv)
{
    if (wanted.size > LOGS_SIZE_MAX) {
        return cli_usage("--size wants a number up to %d", LOGS_SIZE_MAX);
    }
    if (wanted.lines == 0 || wanted.lines > LOGS_LINES_MAX) {
        return cli_usage("--lines wants a number from 1 to %d", LOGS_LINES_MAX);
    }
    return logs_run(cli, &wanted, argv, argc);
}

const struct command command_log = {
    .name = "log",
    .synopsis = "[-f] [-n LINES] [--console] [--size BYTES] NAME ... | --all",
    .help = "what guests' qvms had to say, or the guests themselves",
    .options = options,
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_DATA,
    .takes_guests = true,
    .run = run,
};
