/* The last close of what a stranger had: a hand does it, and is waited for by nobody.
 *
 * A device of the host is reset when the last descriptor of it is closed, a VM ends with the last
 * of its statistics, and a socket takes along what lies in it unread. So the hand is forked, qvmd
 * closes its copies, and then the hand ends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/hand/inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#define CLOSE_MS 60000

/* ---- in the hand ---- */

/* The lowest descriptor from `first` on that is to stay; -1: there is none. */
static int next_kept(const struct hand_order *order, int socket, int first)
{
    int next = socket >= first ? socket : -1;

    for (size_t i = 0; i < order->closing_count; i++) {
        int fd = order->closing[i];

        if (fd >= first && (next < 0 || fd < next)) {
            next = fd;
        }
    }
    return next;
}

void hand_close_last(const struct hand_order *order, int socket)
{
    int first = 0;
    int next;
    char nothing;

    while ((next = next_kept(order, socket, first)) >= 0) {
        if (next > first) {
            (void)close_range((unsigned)first, (unsigned)next - 1, 0);
        }
        first = next + 1;
    }
    (void)close_range((unsigned)first, ~0u, 0);
    while (recv(socket, &nothing, 1, 0) < 0 && errno == EINTR) { /* qvmd has closed its own */
    }
    _exit(0); /* and here the kernel does what may wait */
}

/* ---- in qvmd ---- */

void hand_close_ours(struct hand_order *order)
{
    for (size_t i = 0; i < order->closing_count; i++) {
        cleanup_close(&order->closing[i]);
    }
    order->closing_count = 0;
}

static void on_closed(void *data, struct hand_result *result)
{
    struct hand *hand = data;

    hand_close_ours(&hand->order); /* which it still has if it could not be started */
    if (result->err.code == -ETIMEDOUT) {
        log_warn("hand: what a guest had is not closed yet after %d ms", CLOSE_MS);
    }
    hand->order.closed(hand->order.closed_data);
}

static void nobody(void *data)
{
    (void)data;
}

void hands_close_then(struct hands *hands, const int *fds, size_t count, void (*then)(void *data),
                      void *data)
{
    struct hand *made = hand_make(hands, 0, NULL, 0, CLOSE_MS, on_closed, NULL);
    int *copy = calloc(count + 1, sizeof(*copy));
    struct err err = {0};

    if (made == NULL || copy == NULL) {
        for (size_t i = 0; i < count; i++) {
            (void)close(fds[i]); /* at the worst we wait */
        }
        free(copy);
        if (made != NULL) {
            hand_free(made);
        }
        then(data);
        return;
    }
    memcpy(copy, fds, count * sizeof(*copy));
    made->data = made;
    made->order.step = HAND_CLOSE;
    made->order.closing = copy;
    made->order.closing_count = count;
    made->order.closed = then;
    made->order.closed_data = data;
    if (hand_submit(made, NULL, &err) < 0) { /* they were closed with it */
        log_warn("hand: closed without a hand what a guest had why=\"%s\"", err.msg);
        then(data);
    }
}

void hands_close(struct hands *hands, const int *fds, size_t count)
{
    hands_close_then(hands, fds, count, nobody, NULL);
}
