/* qvmctl define: tell qvmd of a guest without starting it. */
#include "cli/batch.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/outcome.h"
#include "cli/sources.h"
#include "proto/base/err.h"

/* Define the guests `names`, each as its definition says. */
static int define(const struct cli *cli, char **names, int count,
                  struct msg_definition *const *definitions)
{
    struct msg_define_params params = {0};

    return outcome_batch(cli,
                         &(struct batch){
                             BATCH_REQUEST(METHOD_define, &params),
                             .name_slot = &params.name,
                             .definitions = definitions,
                             .definition_slot = &params.definition,
                             .patience_ms = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS,
                             .is_heavy = true,
                         },
                         "defined", names, count);
}

static int define_files(const struct cli *cli, char **arguments, int count)
{
    struct files files;
    struct err err = {0};
    int status = files_read(&files, arguments, count, &err) == 0 ? STATUS_OK : cli_fail(&err);

    if (status == STATUS_OK && files.count > 0) {
        status = define(cli, files.names, (int)files.count, files.definitions);
    }
    status = err.code == 0 ? files_status(&files, status) : status;
    files_fini(&files);
    return status;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    struct sources sources;
    struct err err = {0};
    char *names[] = {sources.name, NULL};
    int status;

    if (files_are_meant(argv, argc)) {
        return define_files(cli, argv, argc);
    }
    if (sources_read(&sources, argv, argc, &err) == 0) {
        struct msg_definition *definition = &sources.definition;

        status = define(cli, names, 1, &definition);
    } else {
        status = cli_fail(&err);
    }
    sources_fini(&sources);
    return status;
}

const struct command command_define = {
    .name = "define",
    .synopsis = "FILE [WORD ...] | FILE ...",
    .help = "define guests, or define them anew, without starting them",
    .least = 1,
    .most = -1,
    .formats = FORMATS_ALL,
    .run = run,
};
