/* qvmctl drain: stop all guests in their order, and start none until that is ended. */
#include <stdbool.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/outcome.h"

static bool by_force, is_shutdown, is_end;

static const struct option_row options[] = {
    {"kill", 0, OPTION_FLAG, {.flag = &by_force}, NULL, "end by force what has not ended in time"},
    {"host-shutdown", 0, OPTION_FLAG, {.flag = &is_shutdown}, NULL, "because the host goes down"},
    {"end", 0, OPTION_FLAG, {.flag = &is_end}, NULL, "end it: guests may be started again"},
    {0},
};

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_drain_params params = {
        .timeout_ms = cli->timeout_ms,
        .kill = by_force,
        .reason = is_shutdown ? REASON_host_shutdown : REASON_drain,
        .end = is_end,
    };

    int64_t grace;

    (void)argc, (void)argv;
    if (is_end && (by_force || is_shutdown)) {
        return cli_usage("--end goes alone");
    }
    /* qvmd keeps the time; after SIGKILL it needs a while to see that a process is stuck */
    grace = by_force ? CLIENT_READ_MS : CLIENT_GRACE_MS;
    return outcome_several(cli, cli->timeout_ms != 0 ? cli->timeout_ms + grace : CLIENT_FOR_EVER,
                           METHOD_drain, &params);
}

const struct command command_drain = {
    .name = "drain",
    .synopsis = "[--kill] [--host-shutdown] | --end",
    .help = "stop all guests in their order; start none until that is ended",
    .options = options,
    .formats = FORMATS_ALL,
    .run = run,
};
