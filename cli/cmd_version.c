/* qvmctl version. */
#include <stdio.h>

#include "cli/command.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    (void)cli, (void)argc, (void)argv;
    (void)puts("qvmctl " QVM_VERSION);
    return STATUS_OK;
}

const struct command command_version = {
    .name = "version",
    .synopsis = "",
    .help = "the version of qvmctl (that of qvmd: `qvmctl info`)",
    .formats = FORMATS_TABLE,
    .run = run,
};
