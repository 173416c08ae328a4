#include "daemon/ops/ops.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/ops/inside.h"
#include "proto/base/err.h"

static const op_fn ops_table[METHOD_COUNT] = {
    [METHOD_discover] = op_discover,
    [METHOD_info] = op_info,
    [METHOD_partitions] = op_partitions,
    [METHOD_host] = op_host,
    [METHOD_devices] = op_devices,
    [METHOD_device_clear] = op_device_clear,
    [METHOD_shmem] = op_shmem,
    [METHOD_shmem_join] = op_shmem_join,
    [METHOD_reload] = op_reload,
    [METHOD_define] = op_define,
    [METHOD_set] = op_set,
    [METHOD_undefine] = op_undefine,
    [METHOD_start] = op_start,
    [METHOD_stop] = op_stop,
    [METHOD_kill] = op_kill,
    [METHOD_pause] = op_pause,
    [METHOD_resume] = op_resume,
    [METHOD_reset] = op_reset,
    [METHOD_reboot] = op_reboot,
    [METHOD_point] = op_point,
    [METHOD_console_size] = op_console_size,
    [METHOD_balloon] = op_balloon,
    [METHOD_resize] = op_resize,
    [METHOD_helper] = op_helper,
    [METHOD_dump] = op_dump,
    [METHOD_sendkey] = op_sendkey,
    [METHOD_sendbreak] = op_sendbreak,
    [METHOD_start_enabled] = op_start_enabled,
    [METHOD_drain] = op_drain,
    [METHOD_list] = op_list,
    [METHOD_stats] = op_stats,
    [METHOD_doctor] = op_doctor,
    [METHOD_metrics] = op_metrics,
    [METHOD_show] = op_show,
    [METHOD_wait] = op_wait,
    [METHOD_attach] = op_attach,
    [METHOD_console_read] = op_console_read,
    [METHOD_console_write] = op_console_write,
    [METHOD_log] = op_log,
    [METHOD_events] = op_events,
    [METHOD_audit] = op_audit,
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
    LIST_INIT(&ops->samplings);
    LIST_INIT(&ops->calls);
    LIST_INIT(&ops->sharers);
    *result = ops;
    return 0;
}

void ops_destroy(struct ops *ops)
{
    free(ops);
}

void ops_end(struct ops *ops)
{
    if (ops != NULL) {
        ops->is_ending = true;
        ops_sample_end(ops);
        ops_end_shared(ops);
    }
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
    } else if (!must_own || guest_check_caller(guest, &caller, &err) == 0) {
        return guest;
    }
    reply_error(reply, &err);
    return NULL;
}

static void on_request(void *context, struct reply *reply, const struct msg_request *request)
{
    const char *id = msg_request_id_of(msg_methods[request->method].params, request->params);

    if (id != NULL && id[0] != '\0') {
        ops_request(context, reply, request, id, ops_table[request->method]);
    } else {
        ops_table[request->method](context, reply, request->params);
    }
}

bool ops_is_wanted(const void *data)
{
    return reply_client(data) != NULL;
}

static void on_client_gone(void *context, struct client *client)
{
    ops_unsubscribe(context, client);
    ops_leave_shared(context, client);
}

const struct server_hooks ops_server_hooks = {.on_request = on_request,
                                              .on_client_gone = on_client_gone};
