/* qvmctl resize: have a guest find that the image of a disk was made larger. */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/outcome.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    struct msg_resize_params params = {.vdev = argv[argc - 1]};

    return outcome_each(cli, patience, METHOD_resize, &params, &params.name, OUTCOME_SILENT, argv,
                        1);
}

const struct command command_resize = {
    .name = "resize",
    .synopsis = "NAME VDEV",
    .help = "have a guest find that the image of a disk was made larger",
    .least = 2,
    .most = 2,
    .formats = FORMATS_TABLE,
    .all_means = names_can_reset, /* of these the shells offer names */
    .run = run,
};
