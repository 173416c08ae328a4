/* qvmctl log: the end of what a guest's qvm had to say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define SIZE_MAX_ASKED 131072

static int64_t size;

static const struct option_row options[] = {
    {"size", 0, OPTION_NUMBER, {.number = &size}, "BYTES", "the last so many bytes (65536)"},
    {0},
};

/* For a human harmlessly, line by line; for a program as it is. */
static int print(const struct msg_log_data *log)
{
    auto_free char *text = calloc(1, log->data_size + 1);
    char *rest = text, *line;

    if (!isatty(STDOUT_FILENO)) {
        (void)fwrite(log->data, 1, log->data_size, stdout); /* main() looks at stdout's errors */
        return STATUS_OK;
    }
    if (text != NULL && log->data_size > 0) {
        memcpy(text, log->data, log->data_size);
    }
    for (size_t i = 0; text != NULL && i < log->data_size; i++) {
        if (text[i] == '\0') {
            text[i] = '?';
        }
    }
    while (rest != NULL && (line = strsep(&rest, "\n")) != NULL && (*line != '\0' || rest)) {
        text_print(stdout, line);
        (void)putchar('\n');
    }
    return STATUS_OK;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    struct msg_log_params params = {.name = argv[0], .size = size};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_reply struct msg_reply reply = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_log_data log = {0};
    struct err err = {0};
    int r;

    (void)argc;
    if (size > SIZE_MAX_ASKED) {
        return cli_usage("--size wants a number up to %d", SIZE_MAX_ASKED);
    }
    r = client_init(&client, cli, patience, &err);
    r = r == 0 ? client_call(&client, METHOD_log, &params, &reply, &err) : r;
    if (r == 0 && cli->format != FORMAT_TABLE) {
        (void)puts(reply.result);
        return STATUS_OK;
    }
    if (r == 0) {
        r = msg_decode(MSG_log_data, reply.result, strlen(reply.result), false, &log, &err);
    }
    if (r != 0) {
        return cli_fail(&err);
    }
    r = print(&log);
    msg_fini(MSG_log_data, &log);
    return r;
}

const struct command command_log = {
    .name = "log",
    .synopsis = "[--size BYTES] NAME",
    .help = "the end of what a guest's qvm had to say",
    .options = options,
    .least = 1,
    .most = 1,
    .formats = FORMATS_DATA,
    .run = run,
};
