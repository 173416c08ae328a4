/* How the host is divided. */
#include "cli/division.h"

#include <errno.h>

#include "cli/client.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

int division_show(const struct cli *cli,
                  int (*print)(const struct cli *cli, const struct msg_partitions *division))
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_reply struct msg_reply reply = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_partitions division = {0};
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err);

    r = r == 0 ? client_call(&client, METHOD_partitions, &(struct msg_none){}, &reply, &err) : r;
    if (r == 0 && cli->format != FORMAT_TABLE) {
        client_print(&reply);
        return STATUS_OK;
    }
    if (r == 0) {
        r = msg_reply_read(&reply, MSG_partitions, &division, &err);
    }
    if (r == 0 && print(cli, &division) != 0) {
        r = err_set(&err, -ENOMEM, "out of memory");
    }
    msg_fini(MSG_partitions, &division);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}

void division_add_memory(struct table *table, const struct msg_partition *partition)
{
    char size[TEXT_SHORT_SIZE];

    table_text(table, partition != NULL ? partition->node : NULL);
    if (partition != NULL && partition->page_size > 0) {
        text_size(size, partition->page_size);
        table_text(table, size);
    } else {
        table_text(table, NULL);
    }
}
