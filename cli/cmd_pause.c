/* qvmctl pause: hold guests' vCPUs. */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/outcome.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_change_params params = {0};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;

    return outcome_each(cli, patience, METHOD_pause, &params, &params.name, NULL, argv, argc);
}

const struct command command_pause = {
    .name = "pause",
    .synopsis = "NAME ... | --all",
    .help = "hold guests' vCPUs; resume lets them go on",
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .all_means = names_can_pause,
    .run = run,
};
