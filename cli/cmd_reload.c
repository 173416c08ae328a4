/* qvmctl reload: qvmd reads its configuration again. */
#include <stdio.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_reply struct msg_reply reply = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_reloaded reloaded = {0};
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err);

    (void)argc, (void)argv;
    r = r == 0 ? client_call(&client, METHOD_reload, &(struct msg_none){}, &reply, &err) : r;
    if (r == 0 && cli->format != FORMAT_TABLE) {
        client_print(&reply);
        return STATUS_OK;
    }
    r = r == 0 ? msg_reply_read(&reply, MSG_reloaded, &reloaded, &err) : r;
    if (r != 0) {
        return cli_fail(&err);
    }
    if (reloaded.note != NULL) {
        text_print(stdout, reloaded.note);
        (void)puts(""); /* main() looks at stdout's errors */
    }
    msg_fini(MSG_reloaded, &reloaded);
    return STATUS_OK;
}

const struct command command_reload = {
    .name = "reload",
    .synopsis = "",
    .help = "let qvmd read qvmd.conf again (for admins)",
    .formats = FORMATS_DATA,
    .run = run,
};
