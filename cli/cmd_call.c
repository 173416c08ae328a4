/* qvmctl call: any method with any parameters. */
#include <stdio.h>

#include "cli/client.h"
#include "cli/command.h"
#include "proto/base/err.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_FOR_EVER;
    auto_reply struct msg_reply reply = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err);

    if (r == 0) {
        r = client_call_json(&client, argv[0], argc > 1 ? argv[1] : "{}", &reply, &err);
    }
    if (r != 0) {
        return cli_fail(&err);
    }
    client_print(&reply);
    return STATUS_OK;
}

const struct command command_call = {
    .name = "call",
    .synopsis = "METHOD [JSON]",
    .help = "call a method of qvm-api(7) and print its result",
    .least = 1,
    .most = 2,
    .formats = FORMATS_DATA,
    .run = run,
};
