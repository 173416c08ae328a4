/* qvmctl wait: until a guest is in a state. */
#include <stdio.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/outcome.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_wait_params params = {.state = words_find(&words_state, argv[1]),
                                     .timeout_ms = cli->timeout_ms};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms + CLIENT_GRACE_MS : CLIENT_FOR_EVER;

    (void)argc;
    if (params.state < 0) {
        char list[256];
        size_t used = 0;

        for (int i = 0; i < words_state.count && used < sizeof(list); i++) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, " %s",
                                     words_name(&words_state, i));
        }
        return cli_usage("there is no state '%s'; there are%s", argv[1], list);
    }
    argv[1] = NULL;
    return outcome_each(cli, patience, METHOD_wait, &params, &params.name, NULL, argv, 1);
}

const struct command command_wait = {
    .name = "wait",
    .synopsis = "NAME STATE",
    .help = "wait until a guest is in a state",
    .least = 2,
    .most = 2,
    .formats = FORMATS_ALL,
    .run = run,
};
