/* qvmctl shmem: memory that guests share, and who is attached. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/shmem_use.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/conf/value.h"

#include <qvm/shmem.h>

#define WHO_SIZE 2048

/* "0:web,1:pid 4711": each client with its number. */
static void list_clients(const struct msg_shmem_region *region, char text[WHO_SIZE])
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < region->clients_count && used < WHO_SIZE; i++) {
        const struct msg_shmem_client *client = &region->clients[i];

        used += (size_t)snprintf(text + used, WHO_SIZE - used, "%s%" PRId64 ":", i > 0 ? "," : "",
                                 client->client);
        if (client->guest != NULL && used < WHO_SIZE) {
            used += (size_t)snprintf(text + used, WHO_SIZE - used, "%s", client->guest);
        } else if (used < WHO_SIZE) {
            used += (size_t)snprintf(text + used, WHO_SIZE - used, "pid %" PRId64, client->pid);
        }
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

/* Each client of a region in a line. */
static int print_clients(const struct cli *cli, const struct msg_shmem_region *region)
{
    static const struct table_column columns[] = {
        {"CLIENT", true, 0}, {"GUEST", false, 0}, {"PID", true, 0}};
    struct table table;
    int r;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < region->clients_count; i++) {
        const struct msg_shmem_client *client = &region->clients[i];

        table_number(&table, client->client, false);
        table_text(&table, client->guest != NULL ? client->guest : NULL);
        table_number(&table, client->pid, true);
    }
    r = table_print(&table, !cli->no_headers, stdout);
    table_fini(&table);
    return r;
}

static int get_list(const struct cli *cli, struct msg_reply *reply, struct msg_shmem_list *list,
                    struct err *err)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_client struct client client = CLIENT_CLOSED;
    int r = client_init(&client, cli, patience, err);

    r = r == 0 ? client_call(&client, METHOD_shmem, &(struct msg_none){}, reply, err) : r;
    return r == 0 ? msg_reply_read(reply, MSG_shmem_list, list, err) : r;
}

static int list_all(const struct cli *cli)
{
    auto_reply struct msg_reply reply = {0};
    struct msg_shmem_list list = {0};
    struct err err = {0};
    int r = get_list(cli, &reply, &list, &err);

    if (r == 0 && cli->format != FORMAT_TABLE) {
        client_print(&reply);
    } else if (r == 0 && print_table(cli, &list) != 0) {
        r = err_set(&err, -ENOMEM, "out of memory");
    }
    msg_fini(MSG_shmem_list, &list);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}

static int show_region(const struct cli *cli, const struct msg_shmem_region *region,
                       struct err *err)
{
    if (cli->format != FORMAT_TABLE) {
        auto_free char *text = msg_encode(MSG_shmem_region, region);

        (void)puts(text != NULL ? text : "null"); /* main() looks at stdout's errors */
        return 0;
    }
    return print_clients(cli, region) == 0 ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int show(const struct cli *cli, const char *name)
{
    auto_reply struct msg_reply reply = {0};
    const struct msg_shmem_region *region = NULL;
    struct msg_shmem_list list = {0};
    struct err err = {0};
    int r = get_list(cli, &reply, &list, &err);

    for (size_t i = 0; r == 0 && i < list.regions_count; i++) {
        region = strcmp(list.regions[i].name, name) == 0 ? &list.regions[i] : region;
    }
    if (r == 0 && region == NULL) {
        r = err_set(&err, -ENODATA, "there is no region '%s' of shared memory", name);
    } else if (r == 0) {
        r = show_region(cli, region, &err);
    }
    msg_fini(MSG_shmem_list, &list);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}

/* ---- the command ---- */

static const char *create;
static bool follows;

static const struct option_row options[] = {
    {"create", 0, OPTION_TEXT, {.text = &create}, "SIZE", "make the region if it is not there"},
    {"follow", 'f', OPTION_FLAG, {.flag = &follows}, NULL, "wait: again and again"},
    {0},
};

static const struct {
    const char *name;
    int most; /* arguments with the region; 0: any number */
    int (*use)(const struct cli *cli, const struct shmem_use *use, int count, char **arguments);
} uses[] = {
    {"read", 3, shmem_use_read},
    {"write", 2, shmem_use_write},
    {"notify", 0, shmem_use_notify},
    {"wait", 1, shmem_use_wait},
};

static int use_region(const struct cli *cli, int argc, char **argv)
{
    struct shmem_use use = {.follows = follows};

    if (create != NULL &&
        conf_parse_number(create, strlen(create), CONF_DECIMAL, &use.create) != 0) {
        return cli_usage("'%s' is no size in bytes, such as 64K", create);
    }
    for (size_t i = 0; i < ARRAY_LEN(uses); i++) {
        if (strcmp(argv[0], uses[i].name) != 0) {
            continue;
        }
        return argc >= 2 && (uses[i].most == 0 || argc - 1 <= uses[i].most)
                   ? uses[i].use(cli, &use, argc - 1, argv + 1)
                   : cli_usage("shmem %s takes a region and at most %d more", argv[0],
                               uses[i].most > 0 ? uses[i].most - 1 : (int)QVM_SHMEM_CLIENTS);
    }
    return cli_usage("shmem knows 'list', 'show', 'read', 'write', 'notify' and 'wait', not '%s'",
                     argv[0]);
}

static int run(const struct cli *cli, int argc, char **argv)
{
    if (argc == 0 || strcmp(argv[0], "list") == 0) {
        return argc <= 1 ? list_all(cli) : cli_usage("shmem list takes nothing more");
    }
    if (strcmp(argv[0], "show") == 0) {
        return argc == 2 ? show(cli, argv[1]) : cli_usage("shmem show takes one region");
    }
    return use_region(cli, argc, argv);
}

const struct command command_shmem = {
    .name = "shmem",
    .synopsis = "[list | show REGION | read REGION [OFFSET [BYTES]] | write REGION [OFFSET] | "
                "notify REGION CLIENT ... | wait REGION]",
    .help = "memory that guests share: who is attached; and to join it",
    .options = options,
    .most = 2 + (int)QVM_SHMEM_CLIENTS,
    .formats = FORMATS_DATA,
    .run = run,
};
