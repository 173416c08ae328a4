/* qvmctl wait: until guests are in a state. */
#include <stdio.h>

#include "cli/batch.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/outcome.h"

static bool any, keep;

static const struct option_row options[] = {
    {"any", 0, OPTION_FLAG, {.flag = &any}, NULL, "until one of them is"},
    {"keep", 0, OPTION_FLAG, {.flag = &keep}, NULL, "also when a guest rests in another state"},
    {0},
};

static int refuse_state(const char *state)
{
    char list[256] = "";
    size_t used = 0;

    for (int i = 0; i < words_state.count && used < sizeof(list); i++) {
        used +=
            (size_t)snprintf(list + used, sizeof(list) - used, " %s", words_name(&words_state, i));
    }
    return cli_usage("there is no state '%s'; there are%s", state, list);
}

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_wait_params params = {.state = words_find(&words_state, argv[argc - 1]),
                                     .or_rest = !keep,
                                     .timeout_ms = cli->timeout_ms};

    if (params.state < 0) {
        return refuse_state(argv[argc - 1]);
    }
    argv[argc - 1] = NULL;
    return outcome_batch(cli,
                         &(struct batch){
                             BATCH_REQUEST(METHOD_wait, &params),
                             .name_slot = &params.name,
                             .patience_ms = cli->timeout_ms != 0 ? cli->timeout_ms + CLIENT_GRACE_MS
                                                                 : CLIENT_FOR_EVER,
                             .is_for_each = true,
                             .is_one = true,
                             .any = any,
                         },
                         NULL, argv, argc - 1);
}

const struct command command_wait = {
    .name = "wait",
    .synopsis = "[--any] [--keep] NAME ... STATE | --all STATE",
    .help = "wait until guests are in a state",
    .options = options,
    .least = 2,
    .most = COMMAND_ANY_COUNT + 1,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .run = run,
};
