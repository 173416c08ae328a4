/* qvmctl sendkey: press keys of a guest's keyboard. */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/keys.h"
#include "cli/names.h"
#include "proto/base/err.h"

#define KEYS_AT_ONCE 256

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_client struct client client = CLIENT_CLOSED;
    struct err err = {0};
    int status = keys_check(argv + 1, argc - 1);

    if (status != STATUS_OK) {
        return status;
    }
    if (client_init(&client, cli, patience, &err) != 0 ||
        keys_press(&client, argv[0], argv + 1, argc - 1, &err) != 0) {
        return cli_fail(&err);
    }
    return STATUS_OK;
}

const struct command command_sendkey = {
    .name = "sendkey",
    .synopsis = "NAME KEY ...",
    .help = "press keys of a guest's keyboard: a, ret, ctrl-alt-delete",
    .least = 2,
    .most = 1 + KEYS_AT_ONCE,
    .formats = FORMATS_TABLE,
    .all_means = names_can_reset, /* of these the shells offer names */
    .run = run,
};
