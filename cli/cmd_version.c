/* qvmctl version. */
#include <stdio.h>

#include "cli/command.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    (void)argc, (void)argv;
    (void)puts(cli->format == FORMAT_TABLE ? "qvmctl " QVM_VERSION
                                           : "{\"version\":\"" QVM_VERSION "\"}");
    return STATUS_OK;
}

const struct command command_version = {
    .name = "version",
    .synopsis = "",
    .help = "the version of qvmctl (that of qvmd: `qvmctl info`)",
    .formats = FORMATS_DATA,
    .run = run,
};
