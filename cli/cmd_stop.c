/* qvmctl stop: press the power button and wait until the guests are gone. */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/outcome.h"

static bool by_force;

static const struct option_row options[] = {
    {"kill", 0, OPTION_FLAG, {.flag = &by_force}, NULL, "end by force what has not ended in time"},
    {0},
};

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_stop_params params = {.timeout_ms = cli->timeout_ms, .kill = by_force};

    /* qvmd keeps the time; after SIGKILL it needs a while to see that a process is stuck */
    int64_t grace = by_force ? CLIENT_READ_MS : CLIENT_GRACE_MS;

    return outcome_each(cli, cli->timeout_ms != 0 ? cli->timeout_ms + grace : CLIENT_FOR_EVER,
                        METHOD_stop, &params, &params.name, NULL, argv, argc);
}

const struct command command_stop = {
    .name = "stop",
    .synopsis = "[--kill] NAME ... | --all",
    .help = "press the power button; wait until the guests are gone",
    .options = options,
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .all_means = names_can_end,
    .run = run,
};
