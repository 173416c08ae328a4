/* A guest's console and log, as far as they pass through qvmd. */
#include <errno.h>
#include <sys/socket.h>

#include "daemon/guest_inside.h"
#include "daemon/instance_dir.h"
#include "daemon/lend.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "proto/console.h"

#define INPUT_PART 32768u /* bytes of input in one packet: base64 takes a third more */

void guest_take_ring(struct guest *guest, int ring_fd)
{
    const struct console_ring *ring = NULL;
    struct err err = {0};

    if (ring_fd < 0 || console_ring_map(ring_fd, &ring, &err) < 0) {
        log_warn("guest: no console to read guest=%s why=\"%s\"", guest->name,
                 ring_fd < 0 ? "its qvm sent none" : err.msg);
        return;
    }
    console_ring_unmap(guest->ring);
    guest->ring = ring;
    guest->ring_instance = guest->instance.id;
}

static int check_up(const struct guest *guest, struct err *err)
{
    if (guest->worker == NULL || !state_has_process(guest->state) ||
        guest->state == STATE_starting) {
        return err_set(err, -EALREADY, "guest '%s' is %s", guest->name,
                       words_name(&words_state, (int)guest->state));
    }
    if (!worker_is_up(guest->worker)) {
        return err_set(err, -EALREADY, "the qvm of guest '%s' does not answer%s", guest->name,
                       worker_is_connected(guest->worker) ? " yet" : "");
    }
    return 0;
}

int guest_attach(struct guest *guest, const struct msg_attach *attach, int *fd, struct err *err)
{
    int pair[2];
    int r = check_up(guest, err);

    if (r < 0) {
        return r;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return err_sys(err, -errno, "cannot make a socket for the console");
    }
    r = worker_send(guest->worker, CONTROL_attach, attach, &pair[1], 1, err);
    cleanup_close(&pair[1]);
    if (r < 0) {
        cleanup_close(&pair[0]);
        return r;
    }
    *fd = pair[0];
    return 0;
}

int guest_type(struct guest *guest, const uint8_t *data, size_t size, struct err *err)
{
    int r = check_up(guest, err);

    while (r == 0 && size > 0) {
        size_t part = size < INPUT_PART ? size : INPUT_PART;
        struct msg_input input = {.data = lend(data), .data_size = part};

        r = worker_send(guest->worker, CONTROL_input, &input, NULL, 0, err);
        data += part;
        size -= part;
    }
    return r;
}

int guest_console_read(const struct guest *guest, uint64_t offset, uint8_t *buffer, size_t size,
                       struct msg_console_data *data, struct err *err)
{
    uint64_t lost = 0;

    if (guest->ring == NULL) {
        return err_set(err, -EALREADY, "guest '%s' has said nothing that is kept", guest->name);
    }
    data->data = buffer;
    data->data_size = console_ring_read(guest->ring, &offset, buffer, size, &lost);
    data->next = (int64_t)(offset & INT64_MAX);
    data->lost = (int64_t)(lost & INT64_MAX);
    data->instance = guest->ring_instance;
    return 0;
}

int guest_read_log(const struct guest *guest, size_t size, char **data, size_t *data_size,
                   struct err *err)
{
    if (guest->instance.id == 0) {
        return err_set(err, -ENOENT, "guest '%s' has not run yet", guest->name);
    }
    return instance_log_tail(guest->all->env.log_fd, guest->name, size, data, data_size, err);
}
