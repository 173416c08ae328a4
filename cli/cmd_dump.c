/* qvmctl dump: core dumps of guests, which go on. */
#include <stdio.h>
#include <string.h>

#include "cli/batch.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/text.h"
#include "proto/base/err.h"

struct dumping {
    const struct cli *cli;
};

static int on_dumped(void *context, const char *name, const char *json)
{
    const struct dumping *dumping = context;
    struct msg_dumped dumped = {0};
    struct err err = {0};

    if (msg_decode(MSG_dumped, json, strlen(json), false, &dumped, &err) != 0) {
        return cli_fail(&err);
    }
    if (dumping->cli->format == FORMAT_NAME || dumping->cli->format == FORMAT_TABLE) {
        text_print(stdout, name);
        if (dumping->cli->format == FORMAT_TABLE) {
            (void)fputs(": ", stdout); /* main() looks at stdout's errors */
            text_print(stdout, dumped.path);
        }
        (void)putchar('\n');
    }
    msg_fini(MSG_dumped, &dumped);
    return STATUS_OK;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    struct dumping dumping = {.cli = cli};
    struct msg_change_params params = {0};

    return batch_run(cli,
                     &(struct batch){
                         BATCH_REQUEST(METHOD_dump, &params),
                         .name_slot = &params.name,
                         .patience_ms = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_FOR_EVER,
                         .is_for_each = true,
                         .on_result = on_dumped,
                         .context = &dumping,
                     },
                     argv, argc);
}

const struct command command_dump = {
    .name = "dump",
    .synopsis = "NAME ... | --all",
    .help = "write core dumps of guests, which go on afterwards",
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .all_means = names_can_reset,
    .run = run,
};
