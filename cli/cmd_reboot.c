/* qvmctl reboot: press the power button, and begin anew when the guest is off. */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/outcome.h"

static bool by_force;

static const struct option_row options[] = {
    {"force", 0, OPTION_FLAG, {.flag = &by_force}, NULL, "reset what has not rebooted in time"},
    {0},
};

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_reboot_params params = {.timeout_ms = cli->timeout_ms, .force = by_force};

    /* qvmd keeps the time; a reset after it takes a while, too */
    int64_t grace = by_force ? CLIENT_READ_MS : CLIENT_GRACE_MS;

    return outcome_each(cli, cli->timeout_ms != 0 ? cli->timeout_ms + grace : CLIENT_FOR_EVER,
                        METHOD_reboot, &params, &params.name, "rebooted", argv, argc);
}

const struct command command_reboot = {
    .name = "reboot",
    .synopsis = "[--force] NAME ... | --all",
    .help = "press the power button, and begin anew when the guest is off",
    .options = options,
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .all_means = names_can_pause,
    .run = run,
};
