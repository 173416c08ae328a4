/* What commands that change a guest say. */
#include "cli/outcome.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/text.h"
#include "proto/base/err.h"

#define IN_FLIGHT_MAX 16 /* requests sent and not answered yet */

static void print_guest(const char *name, const char *done, const struct msg_guest *guest)
{
    const char *state = guest != NULL ? words_name(&words_state, guest->state) : NULL;
    const char *reason = guest != NULL ? words_name(&words_reason, guest->reason) : NULL;

    text_print(stdout, name);
    if (done != NULL || state == NULL) {
        printf(": %s\n", done != NULL ? done : "done");
        return;
    }
    printf(": %s", state);
    if (guest->pid != 0) {
        printf(", pid %" PRId64, guest->pid);
    } else if (reason != NULL) {
        printf(" (%s)", reason);
    }
    (void)putchar('\n');
}

int outcome_print(const struct cli *cli, const char *name, const char *done, const char *json)
{
    struct msg_outcome outcome = {0};
    struct err err = {0};
    int status = STATUS_OK;

    if (msg_decode(MSG_outcome, json, strlen(json), false, &outcome, &err) != 0) {
        return cli_fail(&err);
    }
    if (cli->format == FORMAT_JSON || cli->format == FORMAT_JSONL) {
        (void)puts(json);
    } else if (cli->format == FORMAT_NAME) {
        text_print(stdout, name);
        (void)putchar('\n');
    } else if (!cli->quiet && (done == NULL || *done != '\0')) {
        print_guest(name, done, outcome.guest);
    }
    if (outcome.note != NULL) {
        cli_note(cli, "%s: %s", name, outcome.note);
        status = cli->strict ? STATUS_WRONG_STATE : STATUS_OK;
    }
    msg_fini(MSG_outcome, &outcome);
    return status;
}

/* One answer to request FIRST + index of the name. Returns its status, or -1: no more will come. */
static int receive_one(const struct cli *cli, struct client *client, int64_t first,
                       const char *done, char **names, int count)
{
    auto_reply struct msg_reply reply = {0};
    struct err err = {0};
    int64_t index;

    do {
        msg_reply_fini(&reply);
        if (client_receive(client, &reply, &err) != 0) {
            return -1 - cli_fail(&err);
        }
        index = reply.id - first;
    } while (reply.event != NULL || (reply.code == 0 && (index < 0 || index >= count)));
    if (reply.result == NULL) {
        (void)err_set(&err, reply.code, "%s", reply.message);
        return cli_fail(&err);
    }
    return outcome_print(cli, names[index], done, reply.result);
}

int outcome_each(const struct cli *cli, int64_t patience_ms, enum msg_method method, void *params,
                 char **name_slot, const char *done, char **names, int count)
{
    auto_client struct client client = CLIENT_CLOSED;
    struct err err = {0};
    int sent = 0, received = 0, failed = 0, status = STATUS_OK;

    if (client_init(&client, cli, patience_ms, &err) != 0) {
        return cli_fail(&err);
    }
    while (received < count) {
        if (sent < count && sent - received < IN_FLIGHT_MAX) {
            *name_slot = names[sent++];
            client_set_patience(&client, patience_ms);
            if (client_send(&client, method, params, &err) != 0) {
                return cli_fail(&err);
            }
            continue;
        }
        status = receive_one(cli, &client, 1, done, names, count);
        if (status < 0) {
            return -1 - status;
        }
        failed += status != STATUS_OK;
        received++;
    }
    return failed == 0 ? STATUS_OK : count == 1 ? status : STATUS_SOME_FAILED;
}
