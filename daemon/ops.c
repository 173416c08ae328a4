#include "daemon/ops.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/ops_inside.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

static const op_fn ops_table[METHOD_COUNT] = {
    [METHOD_discover] = op_discover,
    [METHOD_info] = op_info,
    [METHOD_define] = op_define,
    [METHOD_undefine] = op_undefine,
    [METHOD_start] = op_start,
    [METHOD_stop] = op_stop,
    [METHOD_kill] = op_kill,
    [METHOD_list] = op_list,
    [METHOD_show] = op_show,
    [METHOD_wait] = op_wait,
    [METHOD_attach] = op_attach,
    [METHOD_console_read] = op_console_read,
    [METHOD_console_write] = op_console_write,
    [METHOD_log] = op_log,
    [METHOD_events] = op_events,
    [METHOD_subscribe] = op_subscribe,
};

int ops_create(const struct ops_env *env, struct ops **result, struct err *err)
{
    struct ops *ops = calloc(1, sizeof(*ops));

    if (ops == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    ops->env = *env;
    LIST_INIT(&ops->subscriptions);
    *result = ops;
    return 0;
}

void ops_destroy(struct ops *ops)
{
    free(ops);
}

struct guest_caller ops_caller(const struct reply *reply)
{
    const struct peer *peer = reply_peer(reply);

    return (struct guest_caller){.uid = peer->uid, .is_admin = peer->role == PEER_ADMIN};
}

struct guest *ops_guest(struct ops *ops, struct reply *reply, const char *name, bool must_own)
{
    struct guest *guest = guest_find(ops->env.guests, name);
    struct guest_caller caller = ops_caller(reply);
    struct err err = {0};

    if (guest == NULL) {
        (void)err_set(&err, -ENOENT, "there is no guest '%s'", name);
    } else if (must_own && guest_check_caller(guest, &caller, &err) < 0) {
        log_warn("audit: refused guest=%s uid=%u pid=%d why=\"%s\"", name, caller.uid,
                 reply_peer(reply)->pid, err.msg);
    } else {
        return guest;
    }
    reply_error(reply, &err);
    return NULL;
}

static void on_request(void *context, struct reply *reply, const struct msg_request *request)
{
    ops_table[request->method](context, reply, request->params);
}

bool ops_is_wanted(const void *data)
{
    return reply_client(data) != NULL;
}

static void on_client_gone(void *context, struct client *client)
{
    ops_unsubscribe(context, client);
}

const struct server_hooks ops_server_hooks = {.on_request = on_request,
                                              .on_client_gone = on_client_gone};
