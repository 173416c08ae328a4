/* qvmctl balloon: have a guest give memory back to the host. */
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/outcome.h"
#include "proto/conf/value.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    struct msg_balloon_params params = {0};
    uint64_t size;

    if (conf_parse_number(argv[argc - 1], strlen(argv[argc - 1]), CONF_DECIMAL, &size) != 0 ||
        size > INT64_MAX) {
        return cli_usage("'%s' is no size in bytes, such as 512M", argv[argc - 1]);
    }
    params.size = (int64_t)size;
    return outcome_each(cli, patience, METHOD_balloon, &params, &params.name, OUTCOME_SILENT, argv,
                        1);
}

const struct command command_balloon = {
    .name = "balloon",
    .synopsis = "NAME SIZE",
    .help = "have a guest give that much of its memory back to the host",
    .least = 2,
    .most = 2,
    .formats = FORMATS_TABLE,
    .all_means = names_can_reset, /* of these the shells offer names */
    .run = run,
};
