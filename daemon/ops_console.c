/* Methods about what guests say and are told. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/ops_inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

#define READ_DEFAULT 65536u

static size_t wanted_size(int64_t size)
{
    return size > 0 ? (size_t)size : READ_DEFAULT;
}

void op_attach(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_attach_params *wanted = params;
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);
    struct msg_attach attach = {.read_only = wanted->read_only,
                                .no_scrollback = wanted->no_scrollback};
    struct err err = {0};
    int fd = -1;

    if (guest == NULL) {
        return;
    }
    log_info("audit: attach guest=%s uid=%u pid=%d", wanted->name, reply_peer(reply)->uid,
             reply_peer(reply)->pid);
    if (guest_attach(guest, &attach, &fd, &err) < 0) {
        reply_error(reply, &err);
    } else {
        reply_descriptor(reply, fd);
    }
}

void op_console_read(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_console_read_params *wanted = params;
    const struct guest *guest = ops_guest(ops, reply, wanted->name, true);
    size_t size = wanted_size(wanted->size);
    auto_free uint8_t *buffer = NULL;
    struct msg_console_data data = {0};
    struct err err = {0};

    if (guest == NULL) {
        return;
    }
    buffer = malloc(size);
    if (buffer == NULL) {
        (void)err_set(&err, -ENOMEM, "out of memory");
    } else if (guest_console_read(guest, (uint64_t)wanted->offset, buffer, size, &data, &err) ==
               0) {
        reply_result(reply, MSG_console_data, &data);
        return;
    }
    reply_error(reply, &err);
}

void op_console_write(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_console_write_params *wanted = params;
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);
    struct err err = {0};

    if (guest == NULL) {
        return;
    }
    if (guest_type(guest, wanted->data, wanted->data_size, &err) < 0) {
        reply_error(reply, &err);
    } else {
        reply_json(reply, "{}");
    }
}

void op_log(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_log_params *wanted = params;
    const struct guest *guest = ops_guest(ops, reply, wanted->name, true);
    auto_free char *text = NULL;
    struct msg_log_data data = {0};
    struct err err = {0};

    if (guest == NULL) {
        return;
    }
    if (guest_read_log(guest, wanted_size(wanted->size), &text, &data.data_size, &err) < 0) {
        reply_error(reply, &err);
        return;
    }
    data.data = (uint8_t *)text;
    data.instance = guest_instance(guest);
    reply_result(reply, MSG_log_data, &data);
}
