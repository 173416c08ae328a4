/* Programs of the host that share memory with guests: clients as long as their connection. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ops/inside.h"
#include "daemon/server/client.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"

struct sharer {
    LIST_ENTRY(sharer) link;
    struct client *client;
    struct guests_program *program;
};

static void on_changed(void *data, const char *region)
{
    const struct sharer *sharer = data;
    const struct msg_shmem_changed changed = {.name = lend(region)};

    client_send(sharer->client, msg_notice_format("shmem.changed", MSG_shmem_changed, &changed),
                -1);
}

static struct sharer *sharer_of(struct ops *ops, const struct reply *reply)
{
    struct client *client = reply_client(reply);
    const struct peer *peer = reply_peer(reply);
    const struct guests_program_env env = {.pid = peer->pid,
                                           .uid = peer->uid,
                                           .is_admin = peer->role == PEER_ADMIN,
                                           .changed = on_changed};
    struct guests_program_env with;
    struct sharer *sharer;

    LIST_FOREACH(sharer, &ops->sharers, link)
    {
        if (sharer->client == client) {
            return sharer;
        }
    }
    sharer = calloc(1, sizeof(*sharer));
    if (sharer == NULL) {
        return NULL;
    }
    with = env;
    with.data = sharer;
    sharer->client = client;
    sharer->program = guests_program_create(ops->env.guests, &with);
    if (sharer->program == NULL) {
        free(sharer);
        return NULL;
    }
    LIST_INSERT_HEAD(&ops->sharers, sharer, link);
    return sharer;
}

static void on_joined(void *reply, const struct guests_joined *joined, const struct err *err)
{
    if (joined == NULL) {
        reply_error(reply, err);
        return;
    }
    reply_with_descriptors(reply, MSG_shmem_joined,
                           &(struct msg_shmem_joined){.client = (int64_t)joined->client,
                                                      .size = (int64_t)joined->size},
                           joined->fds, joined->fd_count);
}

void op_shmem_join(struct ops *ops, struct reply *reply, const void *params)
{
    struct sharer *sharer = reply_client(reply) != NULL ? sharer_of(ops, reply) : NULL;
    struct err err = {0};

    if (sharer == NULL) {
        (void)err_set(&err, -ENOMEM, "out of memory");
        reply_error(reply, &err);
        return;
    }
    guests_program_join(sharer->program, params, on_joined, reply);
}

static void end(struct sharer *sharer, bool stays)
{
    LIST_REMOVE(sharer, link);
    guests_program_end(sharer->program, stays);
    free(sharer);
}

void ops_leave_shared(struct ops *ops, const struct client *client)
{
    struct sharer *sharer;

    LIST_FOREACH(sharer, &ops->sharers, link)
    {
        if (sharer->client == client) {
            end(sharer, false);
            return;
        }
    }
}

void ops_end_shared(struct ops *ops)
{
    struct sharer *sharer;

    while ((sharer = LIST_FIRST(&ops->sharers)) != NULL) {
        end(sharer, true);
    }
}
