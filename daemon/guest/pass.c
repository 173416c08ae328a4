/* Files and devices that qvmd never has: the hand that opened them grants them.
 *
 * For the qvm they are a part of the grant like any other: the hand sends packets of it on the
 * control connection, qvmd the last one when they are sent. From then on the qvm could send such a
 * file to qvmd: what comes with descriptors is received by a hand, too. */
#include <errno.h>

#include "daemon/crash_point.h"
#include "daemon/guest/ask.h"
#include "daemon/guest/tap.h"
#include "daemon/worker/feed.h"
#include "daemon/worker/instance_dir.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"
#include "proto/base/tap.h"

#define RECEIVE_MS 10000

static void pass_more(struct guest *guest, struct hand *keeper);

static void on_passed(void *data, struct hand_result *result)
{
    struct guest *guest = data;

    crash_point("files passed on");
    guest->ask->hand = NULL;
    if (result->err.code != 0) {
        guest_doom(guest, REASON_vmm_crash, &result->err);
    } else {
        pass_more(guest, result->keeper);
    }
}

#define DEVICE_FDS 3                    /* container, group, device */
#define FDS_MAX    (2 * TAP_QUEUES_MAX) /* of one item: most are a tap's */

/* What is granted by this item, and which descriptors of the hand's come along. */
static struct msg_granted grant_one(const struct wanted *item, size_t index, size_t *files,
                                    size_t *file_count)
{
    struct msg_granted granted = {.item = (int64_t)index, .has_descriptor = true};

    if (item->kind == RESOURCE_device) {
        files[(*file_count)++] = 0;
        files[(*file_count)++] = item->file;
        files[(*file_count)++] = item->file + 1;
        granted.descriptors = DEVICE_FDS;
        granted.bdf = lend(item->bdf);
        granted.group = item->group;
        return granted;
    }
    files[(*file_count)++] = item->file;
    if (guest_asks_tap(item)) {
        int64_t queues = item->amount > 1 ? item->amount : 1;
        int64_t count = item->has_vhost ? 2 * queues : queues;

        for (int64_t i = 1; i < count; i++) {
            files[(*file_count)++] = item->file + (size_t)i;
        }
        granted.descriptors = count > 1 ? count : 0;
    }
    return granted;
}

/* The next packet of what the hand keeps. */
static size_t fill(struct guest_ask *ask, struct msg_granted items[HAND_PASS_MAX],
                   size_t files[HAND_PASS_MAX], size_t *file_count)
{
    size_t count = 0;

    for (size_t i = 0; i < ask->count && *file_count + FDS_MAX <= HAND_PASS_MAX; i++) {
        struct wanted *item = &ask->items[i];

        if (item->is_kept && !item->is_granted) {
            item->is_granted = true;
            items[count++] = grant_one(item, i, files, file_count);
        }
    }
    return count;
}

static void pass_more(struct guest *guest, struct hand *keeper)
{
    struct guest_ask *ask = guest->ask;
    struct msg_granted items[HAND_PASS_MAX];
    struct msg_grant grant = {.items = items, .more = true};
    size_t files[HAND_PASS_MAX];
    size_t file_count = 0;
    auto_free char *text = NULL;
    struct err err = {0};
    int socket = -1;
    int r;

    grant.items_count = fill(ask, items, files, &file_count);
    if (grant.items_count == 0) {
        ask->then(guest);
        return;
    }
    r = worker_lend(guest->worker, CONTROL_grant, &grant, &text, &socket, &err);
    if (r == 0) {
        r = hand_pass(keeper, socket, text, files, file_count, on_passed, guest, &err);
    }
    if (r < 0) {
        guest_doom(guest, REASON_vmm_crash, &err);
        return;
    }
    ask->hand = keeper;
    crash_point("hand told to pass files on");
}

void guest_ask_pass(struct guest *guest, struct hand *keeper, ask_then_fn then)
{
    struct err err = {0};

    guest->ask->then = then;
    if (keeper != NULL) {
        if (instance_dir_set_kept(guest->dir_fd, &err) < 0) {
            guest_doom(guest, REASON_denied, &err);
            return;
        }
        guest_be_wary(guest);
    }
    pass_more(guest, keeper);
}

/* ---- and what comes back ---- */

void guest_be_wary(struct guest *guest)
{
    guest->is_wary = true;
    worker_be_wary(guest->worker);
    if (guest->feed != NULL) {
        feed_be_wary(guest->feed);
    }
}

void guest_on_left(void *context, const int *fds, size_t count)
{
    const struct guest *guest = context;

    hands_close(guest->all->env.hands, fds, count);
}

static void on_received(void *data, struct hand_result *result)
{
    struct guest *guest = data;
    int fds[HAND_PASS_MAX];
    size_t kept = 0;

    guest->receiver = NULL;
    if (result->err.code != 0) {
        worker_break(guest->worker, result->err.msg);
        return;
    }
    for (size_t i = 0; i < result->count; i++) {
        kept += result->files[i].is_kept;
        fds[i] = take_fd(&result->files[i].fd);
    }
    if (kept > 0) {
        log_warn("guest: its qvm sent what is not to be taken guest=%s descriptors=%zu",
                 guest->name, kept);
    }
    worker_go_on(guest->worker, fds, result->count);
}

void guest_on_loaded(void *context, int socket)
{
    struct guest *guest = context;
    struct err err = {0};

    if (socket < 0) {
        hand_cancel(take_ptr(guest->receiver));
    } else if (hand_receive(guest->all->env.hands, guest->owner, socket, RECEIVE_MS, on_received,
                            guest, &guest->receiver, &err) < 0) {
        worker_break(guest->worker, err.msg);
    }
}
