/* qvmctl helper: have another helper for a vdev whose helper is gone. */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/outcome.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    struct msg_helper_params params = {.vdev = argv[argc - 1]};

    return outcome_each(cli, patience, METHOD_helper, &params, &params.name, OUTCOME_SILENT, argv,
                        1);
}

const struct command command_helper = {
    .name = "helper",
    .synopsis = "NAME VDEV",
    .help = "have another helper for a vdev whose helper is gone",
    .least = 2,
    .most = 2,
    .formats = FORMATS_TABLE,
    .all_means = names_can_reset, /* of these the shells offer names */
    .run = run,
};
