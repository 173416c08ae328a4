/* Methods that do something to a VM that runs. */
#include "daemon/ops/inside.h"
#include "proto/base/lend.h"
#include "proto/keys.h"

static void act(struct ops *ops, struct reply *reply, const char *name,
                const struct guest_act_spec *spec)
{
    struct guest_caller caller = ops_caller(reply);
    struct guest *guest = ops_guest(ops, reply, name, true);

    if (guest != NULL) {
        guest_act(guest, &caller, spec, ops_on_done, reply);
    }
}

static void act_simply(struct ops *ops, struct reply *reply, const struct msg_change_params *wanted,
                       enum guest_act_kind kind)
{
    act(ops, reply, wanted->name,
        &(struct guest_act_spec){.kind = kind, .request_id = wanted->request_id});
}

void op_pause(struct ops *ops, struct reply *reply, const void *params)
{
    act_simply(ops, reply, params, GUEST_PAUSE);
}

void op_resume(struct ops *ops, struct reply *reply, const void *params)
{
    act_simply(ops, reply, params, GUEST_RESUME);
}

void op_reset(struct ops *ops, struct reply *reply, const void *params)
{
    act_simply(ops, reply, params, GUEST_RESET);
}

void op_sendkey(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_sendkey_params *wanted = params;
    uint16_t codes[KEYS_MAX];
    struct err err = {0};

    if (keys_parse(wanted->keys, codes, &err) < 0) {
        reply_error(reply, &err);
        return;
    }
    act(ops, reply, wanted->name,
        &(struct guest_act_spec){
            .kind = GUEST_SENDKEY, .keys = wanted->keys, .request_id = wanted->request_id});
}

void op_sendbreak(struct ops *ops, struct reply *reply, const void *params)
{
    act_simply(ops, reply, params, GUEST_SENDBREAK);
}

void op_point(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_point_params *wanted = params;

    act(ops, reply, wanted->name,
        &(struct guest_act_spec){
            .kind = GUEST_POINT, .x = wanted->x, .y = wanted->y, .request_id = wanted->request_id});
}

void op_console_size(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_console_size_params *wanted = params;

    act(ops, reply, wanted->name,
        &(struct guest_act_spec){.kind = GUEST_CONSOLE_SIZE,
                                 .x = wanted->columns,
                                 .y = wanted->rows,
                                 .vdev = wanted->port,
                                 .request_id = wanted->request_id});
}

void op_balloon(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_balloon_params *wanted = params;

    act(ops, reply, wanted->name,
        &(struct guest_act_spec){
            .kind = GUEST_BALLOON, .size = wanted->size, .request_id = wanted->request_id});
}

void op_resize(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_resize_params *wanted = params;

    act(ops, reply, wanted->name,
        &(struct guest_act_spec){
            .kind = GUEST_RESIZE, .vdev = wanted->vdev, .request_id = wanted->request_id});
}

void op_helper(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_helper_params *wanted = params;
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);

    if (guest != NULL) {
        guest_helper_ask(guest, wanted->vdev, ops_on_done, reply);
    }
}

static void on_dumped(void *data, const struct guest *guest, const char *note,
                      const struct err *err)
{
    if (err != NULL) {
        reply_error(data, err);
    } else {
        reply_result(data, MSG_dumped,
                     &(struct msg_dumped){.name = lend(guest_name(guest)),
                                          .path = lend(note != NULL ? note : "")});
    }
}

void op_dump(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_change_params *wanted = params;
    struct guest_caller caller = ops_caller(reply);
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);

    if (guest != NULL) {
        guest_dump(guest, &caller, wanted->request_id, on_dumped, reply);
    }
}

void op_reboot(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_reboot_params *wanted = params;

    act(ops, reply, wanted->name,
        &(struct guest_act_spec){.kind = GUEST_REBOOT,
                                 .timeout_ms = wanted->timeout_ms,
                                 .force = wanted->force,
                                 .request_id = wanted->request_id});
}
