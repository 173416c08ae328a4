/* qvmctl shmem: memory that guests share, and who is attached. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define WHO_SIZE 2048

/* "0:web 1:db": each client with its number. */
static void list_clients(const struct msg_shmem_region *region, char text[WHO_SIZE])
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < region->clients_count && used < WHO_SIZE; i++) {
        used += (size_t)snprintf(text + used, WHO_SIZE - used, "%s%" PRId64 ":%s", i > 0 ? "," : "",
                                 region->clients[i].client, region->clients[i].guest);
    }
}

static int print_table(const struct cli *cli, const struct msg_shmem_list *list)
{
    static const struct table_column columns[] = {
        {"REGION", false, 0}, {"SIZE", true, 0},      {"OWNER", false, 0},
        {"CLIENTS", true, 0}, {"ATTACHED", false, 0}, {"CREATED BY", false, 0},
    };
    struct table table;
    int r;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < list->regions_count; i++) {
        const struct msg_shmem_region *region = &list->regions[i];
        char size[TEXT_SHORT_SIZE], who[WHO_SIZE];

        list_clients(region, who);
        text_size(size, region->size);
        table_text(&table, region->name);
        table_text(&table, size);
        table_text(&table, region->owner);
        table_number(&table, (int64_t)region->clients_count, false);
        table_text(&table, who[0] != '\0' ? who : NULL);
        table_text(&table, region->kept_by_count > 0 ? region->kept_by[0] : NULL);
    }
    r = table_print(&table, !cli->no_headers, stdout);
    table_fini(&table);
    return r;
}

static int show(const struct cli *cli)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_reply struct msg_reply reply = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_shmem_list list = {0};
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err);

    r = r == 0 ? client_call(&client, METHOD_shmem, &(struct msg_none){}, &reply, &err) : r;
    if (r == 0 && cli->format != FORMAT_TABLE) {
        client_print(&reply);
        return STATUS_OK;
    }
    if (r == 0) {
        r = msg_reply_read(&reply, MSG_shmem_list, &list, &err);
    }
    if (r == 0 && print_table(cli, &list) != 0) {
        r = err_set(&err, -ENOMEM, "out of memory");
    }
    msg_fini(MSG_shmem_list, &list);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}

static int run(const struct cli *cli, int argc, char **argv)
{
    if (argc > 1 || (argc == 1 && strcmp(argv[0], "list") != 0)) {
        return cli_usage("shmem knows 'list' alone");
    }
    return show(cli);
}

const struct command command_shmem = {
    .name = "shmem",
    .synopsis = "[list]",
    .most = 1,
    .help = "memory that guests share, and who is attached to it",
    .formats = FORMATS_DATA,
    .run = run,
};
