/* qvmctl metrics: figures for Prometheus. */
#include <stdio.h>

#include "cli/client.h"
#include "cli/command.h"
#include "proto/base/err.h"

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_metrics_text metrics = {0};
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err);

    (void)argc, (void)argv;
    r = r == 0 ? client_ask(&client, METHOD_metrics, &(struct msg_none){}, &metrics, &err) : r;
    if (r != 0) {
        return cli_fail(&err);
    }
    (void)fputs(metrics.text, stdout); /* main() looks at stdout's errors */
    msg_fini(MSG_metrics_text, &metrics);
    return STATUS_OK;
}

const struct command command_metrics = {
    .name = "metrics",
    .synopsis = "",
    .help = "figures of the host and its guests, as text for Prometheus",
    .formats = FORMATS_TABLE,
    .run = run,
};
