/* qvmctl disable: start guests no longer with the host. */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/outcome.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    struct msg_value value = outcome_value("enabled", "no");
    struct msg_set_params params = {.values = &value, .values_count = 1};

    return outcome_each(cli, patience, METHOD_set, &params, &params.name, "disabled", argv, argc);
}

const struct command command_disable = {
    .name = "disable",
    .synopsis = "NAME ... | --all",
    .help = "start guests no longer with the host",
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .takes_guests = true,
    .formats = FORMATS_ALL,
    .run = run,
};
