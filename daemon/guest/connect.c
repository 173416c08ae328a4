/* Programs of the host that a guest wants to talk to, through the socket of one of its vdevs.
 *
 * The program listens at that socket's path with _PORT behind it. A hand connects there as the
 * guest's owner, who could do so himself, and passes the connection on: qvmd never has it, since
 * its last close waits for what a stranger may have sent into it. A guest may ask without end, so
 * one hand at a time does it, and only so many in a while; what is too much is refused at once. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/crash_point.h"
#include "daemon/guest/inside.h"
#include "daemon/guest/listener.h"
#include "daemon/hand/hand.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "proto/base/pace.h"

#define PATH_SIZE  (4096 + 16) /* with _PORT */
#define CONNECT_MS 2000        /* that one may take, its way to the qvm included */

/* Of one guest: so many at once, then one each GAP_MS. A qvm that is as it should be keeps some
 * distance from that. */
#define BURST  128u
#define GAP_MS 20u

static void refuse(struct guest *guest, int64_t serial, const char *why)
{
    const struct msg_connected answer = {.serial = serial};

    log_debug("guest: not connected guest=%s why=\"%s\"", guest->name, why);
    (void)worker_send(guest->worker, CONTROL_connected, &answer, NULL, 0, NULL); /* gone: as good */
}

static void on_passed(void *data, struct hand_result *result)
{
    struct guest *guest = data;

    crash_point("connection passed on");
    guest->connecting.hand = NULL;
    if (result->err.code != 0) {
        refuse(guest, guest->connecting.serial, result->err.msg); /* or it has it: then ignored */
    }
}

static void on_connected(void *data, struct hand_result *result)
{
    struct guest *guest = data;
    struct err err = result->err;
    const struct msg_connected answer = {.serial = guest->connecting.serial};
    auto_free char *text = NULL;
    const size_t file = 0;
    int socket = -1;

    crash_point("connected");
    guest->connecting.hand = NULL;
    if (err.code == 0 &&
        worker_lend(guest->worker, CONTROL_connected, &answer, &text, &socket, &err) == 0 &&
        hand_pass(result->keeper, socket, text, &file, 1, on_passed, guest, &err) == 0) {
        guest->connecting.hand = result->keeper;
    } else {
        refuse(guest, answer.serial, err.msg);
    }
}

/* Whether one more is not too many. */
static bool has_turn(struct guest *guest)
{
    return pace_take(&guest->connecting.pace, uv_now(guest->all->env.loop), BURST, GAP_MS);
}

/* Whether its live instance was granted a socket at that path. */
static bool has_listener(const struct guest *guest, const char *path)
{
    struct reserve_held *held = NULL;
    size_t count = 0;
    bool is_found = false;

    if (reserve_list(guest->all->env.store, guest->instance.id, &held, &count, NULL) < 0) {
        return false;
    }
    for (size_t i = 0; i < count && !is_found; i++) {
        is_found =
            held[i].kind == RESOURCE_listen && strcmp(guest_listener_path(held[i].id), path) == 0;
    }
    reserve_held_free(held, count);
    return is_found;
}

void guest_on_connect_wish(struct guest *guest, const struct msg_connect_wish *wish)
{
    char path[PATH_SIZE];
    const struct hand_file file = {.path = path, .is_socket = true, .is_kept = true};
    struct err err = {0};

    if (guest->connecting.hand != NULL || !has_turn(guest)) {
        refuse(guest, wish->serial, "it asks too often");
        return;
    }
    if ((guest->state != STATE_running && guest->state != STATE_paused) ||
        !has_listener(guest, wish->path)) {
        refuse(guest, wish->serial, "it was not granted that");
        return;
    }
    (void)snprintf(path, sizeof(path), "%s_%" PRId64, wish->path, wish->port);
    guest->connecting.serial = wish->serial;
    if (hand_open_files(guest->all->env.hands, guest->owner, &file, 1, CONNECT_MS, on_connected,
                        guest, &guest->connecting.hand, &err) < 0) {
        refuse(guest, wish->serial, err.msg);
    }
}

void guest_connect_drop(struct guest *guest)
{
    if (guest->connecting.hand != NULL) {
        hand_cancel(take_ptr(guest->connecting.hand));
    }
}
