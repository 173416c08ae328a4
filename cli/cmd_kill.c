/* qvmctl kill: end guests by force. */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/outcome.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_change_params params = {0};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;

    return outcome_each(cli, patience, METHOD_kill, &params, &params.name, NULL, argv, argc);
}

const struct command command_kill = {
    .name = "kill",
    .synopsis = "NAME ... | --all",
    .help = "end guests by force",
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .all_means = names_can_end,
    .run = run,
};
