/* A guest's console and log, as far as they pass through qvmd. */
#include <errno.h>
#include <sys/socket.h>

#include "daemon/guest/inside.h"
#include "daemon/worker/feed.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"
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
    if (guest->feed != NULL) {
        feed_set_ring(guest->feed, ring, guest->console_offset);
    }
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

/* A connection that broke just now is one that was not there. */
static int say_broken(const struct guest *guest, int r, struct err *err)
{
    if (r != -ENOTCONN && r != -EPIPE && r != -ECONNRESET) {
        return r;
    }
    return err_set(err, -EALREADY, "the qvm of guest '%s' does not answer", guest->name);
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
        return say_broken(guest, r, err);
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
    return say_broken(guest, r, err);
}
