/* qvmctl map: the host's CPUs, memory and devices against its guests, as text or as a picture. */
#include <errno.h>
#include <stdio.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/map.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

static bool is_picture;

static const struct option_row options[] = {
    {"svg", 0, OPTION_FLAG, {.flag = &is_picture}, NULL, "a picture in SVG, on stdout"},
    {0},
};

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_partitions division = {0};
    struct msg_device_list devices = {0};
    const struct map map = {.division = &division, .devices = &devices};
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err);

    (void)argc, (void)argv;
    r = r == 0 ? client_ask(&client, METHOD_partitions, &(struct msg_none){}, &division, &err) : r;
    r = r == 0 ? client_ask(&client, METHOD_devices, &(struct msg_none){}, &devices, &err) : r;
    if (r == 0) {
        map_sort_devices(&devices);
        r = is_picture ? map_draw(&map, stdout) : map_print(&map, cli->wide, stdout);
        r = r < 0 ? err_set(&err, -ENOMEM, "out of memory") : 0;
    }
    msg_fini(MSG_device_list, &devices);
    msg_fini(MSG_partitions, &division);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}

const struct command command_map = {
    .name = "map",
    .synopsis = "[--svg]",
    .options = options,
    .help = "the host's CPUs, memory and devices against its guests",
    .formats = FORMATS_TABLE,
    .run = run,
};
