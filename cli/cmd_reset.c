/* qvmctl reset: press the reset button. */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/outcome.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_change_params params = {0};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;

    return outcome_each(cli, patience, METHOD_reset, &params, &params.name, "reset", argv, argc);
}

const struct command command_reset = {
    .name = "reset",
    .synopsis = "NAME ... | --all",
    .help = "press the reset button: guests begin anew at once",
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .all_means = names_can_reset,
    .run = run,
};
