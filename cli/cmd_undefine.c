/* qvmctl undefine: forget guests that do not run. */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/outcome.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_change_params params = {0};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;

    return outcome_each(cli, patience, METHOD_undefine, &params, &params.name, "undefined", argv,
                        argc);
}

const struct command command_undefine = {
    .name = "undefine",
    .synopsis = "NAME ... | --all",
    .help = "forget guests that do not run",
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .run = run,
};
