/* Methods about what guests say and are told. */
#include <errno.h>

#include "daemon/ops/inside.h"
#include "proto/base/err.h"

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
                                .steal = wanted->steal,
                                .no_scrollback = wanted->no_scrollback,
                                .port = wanted->port};
    struct err err = {0};
    int fd = -1;

    if (guest == NULL) {
        return;
    }
    if (guest_attach(guest, &attach, &fd, &err) < 0) {
        reply_error(reply, &err);
    } else {
        reply_descriptor(reply, fd);
    }
}

static void on_console_read(void *reply, const struct guest_said *said, const struct err *err)
{
    struct msg_console_data data = {0};

    if (err != NULL) {
        reply_error(reply, err);
        return;
    }
    data.data = said->data;
    data.data_size = said->size;
    data.next = (int64_t)(said->next & INT64_MAX);
    data.lost = (int64_t)(said->lost & INT64_MAX);
    data.instance = said->instance;
    reply_result(reply, MSG_console_data, &data);
}

void op_console_read(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_console_read_params *wanted = params;
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);

    if (guest != NULL) {
        guest_read(guest,
                   &(struct guest_read){.kind = GUEST_READ_RING,
                                        .offset = (uint64_t)wanted->offset,
                                        .size = wanted_size(wanted->size),
                                        .wait_ms = wanted->wait_ms},
                   on_console_read, reply);
    }
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

static void on_log_read(void *reply, const struct guest_said *said, const struct err *err)
{
    struct msg_log_data data = {0};

    if (err != NULL) {
        reply_error(reply, err);
        return;
    }
    data.data = said->data;
    data.data_size = said->size;
    data.next = (int64_t)(said->next & INT64_MAX);
    data.end = (int64_t)(said->end & INT64_MAX);
    data.lost = (int64_t)(said->lost & INT64_MAX);
    data.instance = said->instance;
    reply_result(reply, MSG_log_data, &data);
}

void op_log(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_log_params *wanted = params;
    struct guest *guest = ops_guest(ops, reply, wanted->name, true);

    if (guest != NULL) {
        guest_read(
            guest,
            &(struct guest_read){.kind = wanted->console ? GUEST_READ_CONSOLE : GUEST_READ_LOG,
                                 .offset = (uint64_t)wanted->offset,
                                 .lines = (uint64_t)wanted->lines,
                                 .size = wanted_size(wanted->size),
                                 .wait_ms = wanted->wait_ms},
            on_log_read, reply);
    }
}
