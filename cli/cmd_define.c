/* qvmctl define: tell qvmd of a guest without starting it. */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/outcome.h"
#include "cli/sources.h"
#include "proto/base/err.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    struct msg_define_params params = {0};
    struct sources sources;
    struct err err = {0};
    char *names[] = {sources.name, NULL};
    int status;

    if (sources_read(&sources, argv, argc, &err) == 0) {
        params.definition = &sources.definition;
        status =
            outcome_each(cli, patience, METHOD_define, &params, &params.name, "defined", names, 1);
    } else {
        status = cli_fail(&err);
    }
    sources_fini(&sources);
    return status;
}

const struct command command_define = {
    .name = "define",
    .synopsis = "FILE [WORD ...]",
    .help = "define a guest, or define it anew, without starting it",
    .least = 1,
    .most = -1,
    .formats = FORMATS_ALL,
    .run = run,
};
