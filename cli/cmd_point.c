/* qvmctl point: move a guest's pointer, and press its buttons there. */
#include <stdlib.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/keys.h"
#include "cli/names.h"
#include "proto/base/err.h"

#define AXIS_MAX     32767 /* of a screen's width or height */
#define KEYS_AT_ONCE 16

static int read_place(const char *text, int64_t *place)
{
    char *end;
    double percent = strtod(text, &end);

    if (end == text || *end != '\0' || !(percent >= 0 && percent <= 100)) {
        return cli_usage("'%s' is no place: X and Y are percents of the screen, 0 to 100", text);
    }
    *place = (int64_t)(percent * AXIS_MAX / 100 + 0.5);
    return STATUS_OK;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_point_params params = {.name = argv[0]};
    struct msg_outcome outcome = {0};
    struct err err = {0};
    int status = read_place(argv[1], &params.x);

    status = status == STATUS_OK ? read_place(argv[2], &params.y) : status;
    status = status == STATUS_OK ? keys_check(argv + 3, argc - 3) : status;
    if (status != STATUS_OK) {
        return status;
    }
    if (client_init(&client, cli, patience, &err) != 0 ||
        client_ask(&client, METHOD_point, &params, &outcome, &err) != 0) {
        return cli_fail(&err);
    }
    msg_fini(MSG_outcome, &outcome);
    if (keys_press(&client, argv[0], argv + 3, argc - 3, &err) != 0) {
        return cli_fail(&err);
    }
    return STATUS_OK;
}

const struct command command_point = {
    .name = "point",
    .synopsis = "NAME X Y [KEY ...]",
    .help = "move a guest's pointer, in percents of its screen; press mouseleft",
    .least = 3,
    .most = 3 + KEYS_AT_ONCE,
    .formats = FORMATS_TABLE,
    .all_means = names_can_reset, /* of these the shells offer names */
    .run = run,
};
