/* Ask and grant: all that a VM needs, or nothing and the reason. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/crash_point.h"
#include "daemon/guest/ask.h"
#include "daemon/guest/cable.h"
#include "daemon/guest/device.h"
#include "daemon/guest/helper.h"
#include "daemon/guest/listener.h"
#include "daemon/guest/tap.h"
#include "daemon/hand/hand.h"
#include "daemon/host/kvm.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"
#include "proto/base/vhost_node.h"
#include "proto/words.h"

#define OPEN_MS 10000 /* for all files of a guest together */

void guest_file_code(struct err *err)
{
    if (err->code == -ENOENT) {
        err->code = -ENXIO; /* no such file; ENOENT would be: no such guest */
    } else if (err->code == -EINVAL) {
        err->code = -ENOEXEC; /* of the wrong kind; EINVAL would be: a wrong request */
    }
}

/* Nothing is given: the qvm hears why and ends; whoever waits hears it with its FILE:LINE. */
static void deny(struct guest *guest, size_t index, const struct err *why)
{
    const struct guest_ask *ask = guest->ask;
    struct msg_deny packet = {.item = (int64_t)(index < ask->count ? index : 0),
                              .message = lend(why->msg)};
    struct err err = {0};

    guest->doom_reason = REASON_denied;
    guest->doom = *why;
    guest_file_code(&guest->doom);
    if (index < ask->count) {
        (void)err_prefix(&guest->doom, "%s: ", ask->items[index].where);
    }
    log_info("guest: denied guest=%s why=\"%s\"", guest->name, guest->doom.msg);
    if (worker_send(guest->worker, CONTROL_deny, &packet, NULL, 0, &err) < 0) {
        guest_doom(guest, REASON_denied, &guest->doom);
    } else {
        crash_point("deny sent");
        guest_ask_drop(guest);
        guest_denied_deadline(guest);
    }
}

/* ---- the answer ---- */

#define CABLE_FDS 2 /* its own end, the other */

/* Add the item's descriptors to those of the packet. */
static struct msg_granted grant_one(const struct wanted *item, size_t index, int *fds,
                                    size_t *fd_count)
{
    struct msg_granted granted = {.item = (int64_t)index, .has_descriptor = item->fd >= 0};

    if (item->fd >= 0) {
        fds[(*fd_count)++] = item->fd;
    }
    if (item->other_fd >= 0) {
        fds[(*fd_count)++] = item->other_fd;
        granted.descriptors = CABLE_FDS;
    }
    return granted;
}

/* One packet of the grant, from item `first` on, of what no hand keeps. */
static int send_part(struct guest *guest, size_t first, size_t *next, struct err *err)
{
    struct guest_ask *ask = guest->ask;
    struct msg_granted items[MSG_PACKET_FDS];
    int fds[MSG_PACKET_FDS];
    struct msg_grant grant = {.items = items};
    size_t fd_count = 0;
    size_t i;

    for (i = first; i < ask->count && grant.items_count < MSG_PACKET_FDS &&
                    fd_count + CABLE_FDS <= MSG_PACKET_FDS;
         i++) {
        if (!ask->items[i].is_granted) {
            items[grant.items_count++] = grant_one(&ask->items[i], i, fds, &fd_count);
        }
    }
    grant.more = i < ask->count;
    *next = i;
    return worker_send(guest->worker, CONTROL_grant, &grant, fds, fd_count, err);
}

/* All that qvmd itself has to give, and the end of the grant. */
static void grant_rest(struct guest *guest)
{
    struct err err = {0};
    size_t next = 0;

    do {
        if (send_part(guest, next, &next, &err) < 0) {
            guest_doom(guest, REASON_vmm_crash, &err);
            return;
        }
        crash_point("grant sent");
    } while (next < guest->ask->count);
    guest_ask_drop(guest); /* and with it our copies of what was granted */
}

static void on_devices(struct guest *guest, size_t bad, struct hand *keeper, const struct err *why)
{
    struct err err = *why;

    if (err.code == 0) {
        (void)guest_devices_allow(guest, &err);
    }
    if (err.code != 0) {
        deny(guest, bad, &err);
    } else {
        guest_ask_pass(guest, keeper, grant_rest);
    }
}

/* Its devices come last: what was done to them is the most to be undone. */
static void grant_devices(struct guest *guest)
{
    struct err err = {0};

    if (guest->ask->taking == NULL) {
        grant_rest(guest);
    } else if (guest_devices_take(guest, guest->ask->taking, on_devices, &err) < 0) {
        deny(guest, guest->ask->count, &err);
    } else {
        crash_point("hand made");
    }
}

static void on_taps(struct guest *guest, size_t bad, struct hand *keeper, const struct err *why)
{
    if (why->code != 0) {
        deny(guest, bad, why);
    } else {
        guest_ask_pass(guest, keeper, grant_devices);
    }
}

static void grant_taps(struct guest *guest)
{
    struct err err = {0};
    int r = guest_taps_take(guest, on_taps, &err);

    if (r > 0) {
        grant_devices(guest);
    } else if (r < 0) {
        deny(guest, guest->ask->count, &err);
    }
}

static void on_helpers(struct guest *guest, size_t bad, const struct err *why)
{
    if (why->code != 0) {
        deny(guest, bad, why);
    } else {
        grant_taps(guest);
    }
}

static void grant_helpers(struct guest *guest)
{
    struct err err = {0};
    size_t bad = guest->ask->count;
    int r = guest_helpers_start(guest, &bad, on_helpers, &err);

    if (r > 0) {
        grant_taps(guest);
    } else if (r < 0) {
        deny(guest, bad, &err);
    }
}

static void on_listeners(struct guest *guest, size_t bad, struct hand *keeper,
                         const struct err *why)
{
    if (why->code != 0) {
        deny(guest, bad, why);
    } else {
        guest_ask_pass(guest, keeper, grant_helpers);
    }
}

static void grant_listeners(struct guest *guest)
{
    if (!guest_listeners_take(guest, on_listeners)) {
        grant_helpers(guest);
    }
}

static void grant(struct guest *guest, struct hand *keeper)
{
    const struct guest_ask *ask = guest->ask;
    struct err err = {0};
    int r;

    for (size_t i = 0; i < ask->count; i++) {
        if (ask->items[i].kind == RESOURCE_memory) {
            guest->memory += ask->items[i].amount;
        } else if (ask->items[i].kind == RESOURCE_cpu) {
            guest->vcpus += ask->items[i].amount;
        }
    }
    guest->devices = ask->taking != NULL ? (int64_t)ask->taking->count : 0; /* whole groups */
    r = guest_ask_place(guest, &err);
    if (r == -ESRCH) { /* nobody is left to be told of a refusal */
        (void)err_set(&err, -ECHILD, "its qvm ended before it ran");
        guest_doom(guest, REASON_vmm_crash, &err);
    } else if (r < 0) {
        deny(guest, guest_ask_placed(ask), &err);
    }
    if (r < 0) {
        return;
    }
    guest->was_granted = true;
    guest_cables_granted(guest);
    guest_ask_pass(guest, keeper, grant_listeners);
}

/* ---- the claim ---- */

static int open_kvm(struct guest_ask *ask, size_t *bad, struct err *err)
{
    for (size_t i = 0; i < ask->count; i++) {
        if (ask->items[i].kind == RESOURCE_kvm) {
            int r = kvm_open(KVM_DEVICE, &ask->items[i].fd, err);

            if (r < 0) {
                *bad = i;
                return r;
            }
        }
    }
    return 0;
}

/* The loggers of the host, by name: a path is never taken from a qvm. */
static int open_loggers(struct guest_ask *ask, size_t *bad, struct err *err)
{
    for (size_t i = 0; i < ask->count; i++) {
        struct wanted *item = &ask->items[i];
        bool is_syslog = strcmp(item->id, "syslog") == 0;
        const char *path = is_syslog ? LOG_SYSLOG_PATH : LOG_JOURNAL_PATH;

        if (item->kind != RESOURCE_logger) {
            continue;
        }
        *bad = i;
        if (!is_syslog && strcmp(item->id, "journal") != 0) {
            return err_set(err, -EINVAL, "the host has no logger '%s'", item->id);
        }
        item->fd = log_connect(path);
        if (item->fd < 0) {
            return err_sys(err, item->fd, "the host has no %s at '%s'", item->id, path);
        }
    }
    return 0;
}

/* `keeper`: the hand that keeps some of its files; NULL: none does. */
static void claim_and_grant(struct guest *guest, struct hand *keeper)
{
    struct err err = {0};
    size_t bad = guest->ask->count;
    int r = open_kvm(guest->ask, &bad, &err);

    if (r == 0) {
        r = open_loggers(guest->ask, &bad, &err);
    }
    if (r == 0) {
        r = guest_helpers_check(guest, &bad, &err);
    }
    if (r == 0) {
        r = guest_cables_take(guest, &bad, &err);
    }
    if (r == 0) {
        r = guest_taps_check(guest, &bad, &err);
    }
    if (r == 0) {
        r = guest_ask_claim(guest, &bad, &err);
    }
    if (r == 0) {
        r = guest_shmem_ask(guest, &bad, &err);
    }
    if (r == 0) {
        r = guest_keep_identity(guest, &err); /* from here on it may outlive us */
    }
    if (r < 0) {
        deny(guest, bad, &err);
    } else {
        grant(guest, keeper);
    }
}

/* ---- files ---- */

/* Which living guest of ours has claimed a file of that path? */
static const struct guest *find_holder(const struct guest *asker, const char *path)
{
    const struct guest *guest;

    TAILQ_FOREACH(guest, &asker->all->list, link)
    {
        struct reserve_held *held = NULL;
        size_t count = 0;
        bool is_found = false;

        if (guest == asker || !state_has_process(guest->state) ||
            reserve_list(guest->all->env.store, guest->instance.id, &held, &count, NULL) < 0) {
            continue;
        }
        for (size_t i = 0; i < count && !is_found; i++) {
            is_found = held[i].name != NULL && strcmp(held[i].name, path) == 0;
        }
        reserve_held_free(held, count);
        if (is_found) {
            return guest;
        }
    }
    return NULL;
}

/* The n-th file of the ask, as an index of its items. */
static size_t file_index(const struct guest_ask *ask, size_t n)
{
    for (size_t i = 0; i < ask->count; i++) {
        if (ask_is_file(&ask->items[i]) && n-- == 0) {
            return i;
        }
    }
    return ask->count;
}

/* A node that is not there is of a module that is not. */
static void refuse_cid(struct err *err)
{
    int code = err->code == -EINVAL ? -ENOENT : err->code;

    if (code == -ENOENT || code == -EACCES || code == -EPERM) {
        *err = (struct err){0};
        (void)vhost_vsock_refuse(code, err);
    }
}

static void on_opened(void *data, struct hand_result *result)
{
    struct guest *guest = data;
    struct guest_ask *ask = guest->ask;

    crash_point("files opened");
    ask->hand = NULL;
    if (result->err.code != 0) {
        size_t index = file_index(ask, result->bad);
        const struct guest *holder =
            result->err.code == -EBUSY ? find_holder(guest, ask_path(&ask->items[index])) : NULL;

        if (holder != NULL) {
            (void)err_set(&result->err, -EBUSY, "file '%s' is held by guest '%s' (pid %d)",
                          ask_path(&ask->items[index]), holder->name, holder->instance.pid);
        }
        if (index < ask->count && ask_is_cid(&ask->items[index])) {
            refuse_cid(&result->err);
        }
        deny(guest, index, &result->err);
        return;
    }
    for (size_t n = 0; n < result->count; n++) {
        struct wanted *item = &ask->items[file_index(ask, n)];

        item->fd = take_fd(&result->files[n].fd);
        item->is_kept = result->files[n].is_kept;
        item->file = n;
        item->is_exclusive = result->files[n].is_exclusive || ask_is_cid(item);
        (void)snprintf(item->identity, sizeof(item->identity), "%s",
                       ask_is_cid(item) ? item->id : result->files[n].id);
    }
    claim_and_grant(guest, result->keeper);
}

static void prepare(struct guest *guest)
{
    struct guest_ask *ask = guest->ask;
    struct hand_file files[GUEST_ASK_MAX];
    struct err err = {0};
    size_t count = 0;

    for (size_t i = 0; i < ask->count; i++) {
        const struct wanted *item = &ask->items[i];

        if (ask_is_file(item)) {
            files[count++] =
                (struct hand_file){.path = ask_is_cid(item) ? VHOST_VSOCK_DEVICE : ask_path(item),
                                   .is_readable = item->is_readable,
                                   .is_writable = item->is_writable,
                                   .is_socket = item->kind == RESOURCE_socket,
                                   .is_folder = ask_is_folder(item),
                                   .is_stream = item->kind == RESOURCE_stream || ask_is_cid(item)};
        }
    }
    if (count == 0) {
        claim_and_grant(guest, NULL);
    } else if (hand_open_files(guest->all->env.hands, guest->owner, files, count, OPEN_MS,
                               on_opened, guest, &ask->hand, &err) < 0) {
        deny(guest, ask->count, &err);
    } else {
        crash_point("hand made");
    }
}

/* ---- the question ---- */

void guest_on_ask(struct guest *guest, const struct msg_ask *packet)
{
    struct err err = {0};

    if (guest->state != STATE_starting || guest->was_granted || guest->doom.code != 0 ||
        (guest->ask != NULL && guest->ask->is_whole)) {
        log_debug("guest: its qvm asks at the wrong time guest=%s", guest->name);
        return;
    }
    if (guest->ask == NULL) {
        guest->ask = calloc(1, sizeof(*guest->ask));
        if (guest->ask == NULL) {
            (void)err_set(&err, -ENOMEM, "out of memory");
            guest_doom(guest, REASON_denied, &err);
            return;
        }
        guest->ask->guest = guest;
    }
    if (guest_ask_copy(guest->ask, packet, &err) < 0) {
        deny(guest, guest->ask->count, &err);
        return;
    }
    guest->ask->is_whole = !packet->more;
    if (guest->ask->is_whole) {
        guest_no_deadline(guest);
        if (!guest_is_releasing(guest->all, guest->name, 0)) {
            prepare(guest);
        }
    }
}

void guest_ask_again(struct guest *guest)
{
    if (guest->ask != NULL && guest->ask->is_whole && guest->ask->hand == NULL) {
        prepare(guest);
    }
}
