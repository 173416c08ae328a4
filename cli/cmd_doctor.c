/* qvmctl doctor: what is wrong, and what to do. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

static void print(const struct cli *cli, const struct msg_diagnosis *diagnosis)
{
    for (size_t i = 0; i < diagnosis->findings_count; i++) {
        const struct msg_finding *finding = &diagnosis->findings[i];

        printf("%s: %s: ", finding->severity, finding->what); /* main() looks at stdout's errors */
        text_print(stdout, finding->where);
        (void)fputs(": ", stdout);
        text_print(stdout, finding->message);
        (void)fputs("\n    ", stdout);
        text_print(stdout, finding->advice);
        (void)putchar('\n');
    }
    if (diagnosis->left_out > 0) {
        printf("%" PRId64 " further findings are left out\n", diagnosis->left_out);
    }
    if (diagnosis->problems == 0 && diagnosis->warnings == 0) {
        cli_note(cli, "nothing is wrong");
    }
}

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_reply struct msg_reply reply = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_diagnosis diagnosis = {0};
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err), status;

    (void)argc, (void)argv;
    r = r == 0 ? client_call(&client, METHOD_doctor, &(struct msg_none){}, &reply, &err) : r;
    if (r == 0) {
        r = msg_reply_read(&reply, MSG_diagnosis, &diagnosis, &err);
    }
    if (r != 0) {
        return cli_fail(&err);
    }
    if (cli->format == FORMAT_TABLE) {
        print(cli, &diagnosis);
    } else if (cli->format == FORMAT_JSON) {
        client_print(&reply);
    }
    for (size_t i = 0; cli->format == FORMAT_JSONL && i < diagnosis.findings_count; i++) {
        auto_free char *line = msg_encode(MSG_finding, &diagnosis.findings[i]);

        (void)puts(line != NULL ? line : "null");
    }
    status = diagnosis.problems + diagnosis.warnings > 0 ? STATUS_FAILED : STATUS_OK;
    msg_fini(MSG_diagnosis, &diagnosis);
    return status;
}

const struct command command_doctor = {
    .name = "doctor",
    .synopsis = "",
    .help = "what is wrong with the host and its guests, and what to do",
    .formats = FORMATS_DATA,
    .run = run,
};
