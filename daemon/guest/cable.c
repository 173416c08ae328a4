/* Cables between guests. */
#include "daemon/guest/cable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/guest/ask.h"
#include "daemon/guest/tap.h"
#include "daemon/hand/hand.h"
#include "daemon/host/rights.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"

#define PEER     "peer:"
#define VDEV_MAX 63 /* bytes of a vdev's name */

#define CABLES_MAX 8 /* of one guest: as many as `hello` tells a new qvmd of */

struct cable_end {
    char guest[GUEST_NAME_MAX + 1];
    char vdev[VDEV_MAX + 1];
    int fd;
    bool is_held; /* by a living qvm that asked for it */
    bool is_told; /* it was told that its peer is missing */
};

struct cable {
    LIST_ENTRY(cable) link;
    struct cable_end ends[2];
};

static bool copy_name(char *to, size_t room, const char *from, size_t size)
{
    if (size == 0 || size >= room || memchr(from, '/', size) != NULL) {
        return false;
    }
    memcpy(to, from, size);
    to[size] = '\0';
    return true;
}

/* The two ends as a guest names them: its own, and GUEST/VDEV. */
static int read_ends(const struct guest *guest, const char *vdev, const char *peer,
                     struct cable_end ends[2], struct err *err)
{
    const char *slash = strchr(peer, '/');

    memset(ends, 0, 2 * sizeof(ends[0]));
    memcpy(ends[0].guest, guest->name, sizeof(ends[0].guest));
    ends[0].fd = ends[1].fd = -1;
    if (slash == NULL || vdev == NULL ||
        !copy_name(ends[0].vdev, sizeof(ends[0].vdev), vdev, strlen(vdev)) ||
        !copy_name(ends[1].guest, sizeof(ends[1].guest), peer, (size_t)(slash - peer)) ||
        !copy_name(ends[1].vdev, sizeof(ends[1].vdev), slash + 1, strlen(slash + 1))) {
        return err_set(err, -EINVAL, "peer '%s' is no GUEST/VDEV", peer);
    }
    return 0;
}

static bool is_end(const struct cable_end *a, const struct cable_end *b)
{
    return strcmp(a->guest, b->guest) == 0 && strcmp(a->vdev, b->vdev) == 0;
}

/* The cable with these ends, and which of its ends is the first of them; NULL: there is none. */
static struct cable *find(struct guests *guests, const struct cable_end ends[2], unsigned *own)
{
    struct cable *cable;

    LIST_FOREACH(cable, &guests->cables, link)
    {
        for (*own = 0; *own < 2; (*own)++) {
            if (is_end(&cable->ends[*own], &ends[0]) && is_end(&cable->ends[1 - *own], &ends[1])) {
                return cable;
            }
        }
    }
    return NULL;
}

static struct cable *insert(struct guests *guests, const struct cable_end ends[2])
{
    struct cable *cable = calloc(1, sizeof(*cable));

    if (cable != NULL) {
        cable->ends[0] = ends[0];
        cable->ends[1] = ends[1];
        LIST_INSERT_HEAD(&guests->cables, cable, link);
    }
    return cable;
}

/* What lies in a cable unread goes with its last end, and may be anything: a hand waits for that.
 */
static void leave_cable(struct guests *guests, struct cable *cable)
{
    const int fds[2] = {cable->ends[0].fd, cable->ends[1].fd};

    LIST_REMOVE(cable, link);
    hands_close(guests->env.hands, fds, ARRAY_LEN(fds));
    free(cable);
}

/* NULL: it cannot be made, as `err` says. */
static struct cable *make(struct guests *guests, struct cable_end ends[2], struct err *err)
{
    int pair[2];
    struct cable *cable;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        (void)err_sys(err, -errno, "cannot make a cable");
        return NULL;
    }
    for (unsigned i = 0; i < 2; i++) {
        ends[i].fd = pair[i];
        rights_refuse(pair[i]);
    }
    cable = insert(guests, ends);
    if (cable == NULL) {
        (void)close(pair[0]);
        (void)close(pair[1]);
        (void)err_set(err, -ENOMEM, "out of memory");
    }
    return cable;
}

/* ---- links ---- */

/* Whether a guest that runs, or is about to, has that end. */
static bool is_there(struct guests *guests, const struct cable_end *end)
{
    const struct guest *guest = end->is_held ? guest_find(guests, end->guest) : NULL;

    return guest != NULL && guest->was_granted;
}

/* Whether somebody may have that end of whom we have not heard yet. */
static bool is_unknown(struct guests *guests, const struct cable_end *end)
{
    const struct guest *guest = guest_find(guests, end->guest);

    return guest != NULL && !guest->knows_cables && guest->was_granted &&
           state_has_process(guest->state);
}

/* Who is not reached is told when he is heard of again. */
static void tell_link(struct guests *guests, const struct cable_end *end, bool is_up)
{
    const struct guest *guest = end->is_held ? guest_find(guests, end->guest) : NULL;
    const struct msg_link packet = {.vdev = lend(end->vdev), .is_up = is_up};

    if (guest != NULL && guest->worker != NULL) {
        (void)worker_send(guest->worker, CONTROL_link, &packet, NULL, 0, NULL);
    }
}

/* All cables of a guest that has them now: both ends are told of each other. */
static void tell_links(const struct guest *guest)
{
    const struct cable *cable;

    LIST_FOREACH(cable, &guest->all->cables, link)
    {
        for (unsigned i = 0; i < 2; i++) {
            const struct cable_end *end = &cable->ends[i], *far = &cable->ends[1 - i];
            bool is_its =
                strcmp(end->guest, guest->name) == 0 || strcmp(far->guest, guest->name) == 0;

            if (is_its && is_there(guest->all, far)) {
                tell_link(guest->all, end, true);
            } else if (is_its && !is_unknown(guest->all, far)) {
                tell_link(guest->all, end, false);
            }
        }
    }
}

/* ---- asked for ---- */

/* What can be told of the other end before the guest has its own. */
static int check_other(const struct guest *guest, const struct cable_end ends[2],
                       const struct cable *cable, bool is_held, struct err *err)
{
    const struct guest *other = guest_find(guest->all, ends[1].guest);

    if (strcmp(ends[1].guest, guest->name) == 0) {
        return err_set(err, -EINVAL, "peer '%s/%s' is a vdev of this guest itself", ends[1].guest,
                       ends[1].vdev);
    }
    if (other == NULL) {
        return err_set(err, -ENOENT,
                       "peer '%s/%s': there is no guest '%s' ('qvmctl define' makes it known)",
                       ends[1].guest, ends[1].vdev, ends[1].guest);
    }
    if (!state_has_process(other->state) || !other->was_granted || (cable != NULL && is_held)) {
        return 0;
    }
    if (!other->knows_cables) {
        return err_set(err, -EBUSY, "peer '%s/%s': the qvm of guest '%s' does not answer",
                       ends[1].guest, ends[1].vdev, ends[1].guest);
    }
    return err_set(err, -EINVAL,
                   "peer '%s/%s': guest '%s', which runs, has no vdev '%s' whose peer is '%s/%s'",
                   ends[1].guest, ends[1].vdev, ends[1].guest, ends[1].vdev, ends[0].guest,
                   ends[0].vdev);
}

static int take(struct guest *guest, struct wanted *item, struct err *err)
{
    struct cable_end ends[2];
    struct cable *cable = NULL;
    unsigned own = 0;
    int r = read_ends(guest, item->vdev, item->id + sizeof(PEER) - 1, ends, err);

    if (r == 0) {
        cable = find(guest->all, ends, &own);
        r = check_other(guest, ends, cable, cable != NULL && cable->ends[1 - own].is_held, err);
    }
    if (r == 0 && cable == NULL) {
        own = 0;
        cable = make(guest->all, ends, err);
    }
    if (r != 0 || cable == NULL) {
        return err->code;
    }
    cable->ends[own].is_held = true; /* given back with the instance, whatever follows */
    cable->ends[own].is_told = cable->ends[1 - own].is_told = false;
    item->fd = fcntl(cable->ends[own].fd, F_DUPFD_CLOEXEC, 0);
    item->other_fd = fcntl(cable->ends[1 - own].fd, F_DUPFD_CLOEXEC, 0);
    return item->fd >= 0 && item->other_fd >= 0 ? 0 : err_sys(err, -errno, "cannot give a cable");
}

int guest_cables_take(struct guest *guest, size_t *bad, struct err *err)
{
    struct guest_ask *ask = guest->ask;
    size_t count = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < ask->count; i++) {
        if (ask->items[i].kind == RESOURCE_network && !guest_asks_tap(&ask->items[i]) &&
            !ask_is_cid(&ask->items[i])) {
            *bad = i;
            r = ++count > CABLES_MAX
                    ? err_set(err, -E2BIG, "a guest has at most %d peers", CABLES_MAX)
                    : take(guest, &ask->items[i], err);
        }
    }
    return r;
}

void guest_cables_granted(struct guest *guest)
{
    struct cable *cable;

    guest->knows_cables = true;
    tell_links(guest);
    LIST_FOREACH(cable, &guest->all->cables, link)
    {
        for (unsigned i = 0; i < 2; i++) {
            struct cable_end *end = &cable->ends[i];
            const struct cable_end *far = &cable->ends[1 - i];
            struct guest *other = end->is_held ? guest_find(guest->all, end->guest) : NULL;
            char text[STORE_MESSAGE_SIZE];

            if (other == NULL || end->is_told || far->is_held ||
                strcmp(far->guest, guest->name) != 0) {
                continue;
            }
            end->is_told = true; /* once, however often that guest is started */
            (void)snprintf(text, sizeof(text),
                           "vdev '%s' is alone: guest '%s' has no vdev '%s' whose peer is '%s/%s'",
                           end->vdev, far->guest, far->vdev, end->guest, end->vdev);
            log_warn("guest: peer missing guest=%s why=\"%s\"", other->name, text);
            guest_tell(other, WHAT_peer_missing, text, 0);
        }
    }
}

/* ---- adopted, over ---- */

static bool is_socket_of_frames(int fd)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof(domain);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && domain == AF_UNIX &&
           type == SOCK_SEQPACKET;
}

void guest_cables_adopt(struct guest *guest, const struct msg_hello *hello, int *fds, size_t count)
{
    guest->knows_cables = guest->was_granted;
    for (size_t i = 0; i < hello->cables_count && 2 * i + 1 < count; i++) {
        const struct msg_cable *told = &hello->cables[i];
        struct cable_end ends[2];
        struct cable *cable;
        unsigned own = 0;
        struct err err = {0};

        if (read_ends(guest, told->vdev, told->peer, ends, &err) != 0 ||
            !is_socket_of_frames(fds[2 * i]) || !is_socket_of_frames(fds[2 * i + 1])) {
            log_warn("adopt: no cable guest=%s vdev=%s peer=%s", guest->name, told->vdev,
                     told->peer);
            continue;
        }
        cable = find(guest->all, ends, &own);
        if (cable == NULL) {
            own = 0;
            cable = insert(guest->all, ends);
            if (cable != NULL) {
                cable->ends[0].fd = take_fd(&fds[2 * i]);
                cable->ends[1].fd = take_fd(&fds[2 * i + 1]);
            }
        }
        if (cable != NULL) {
            cable->ends[own].is_held = true;
        }
    }
    tell_links(guest);
}

void guest_cables_drop(struct guest *guest)
{
    struct cable *cable, *next;

    guest->knows_cables = false;
    for (cable = LIST_FIRST(&guest->all->cables); cable != NULL; cable = next) {
        next = LIST_NEXT(cable, link);
        for (unsigned i = 0; i < 2; i++) {
            if (strcmp(cable->ends[i].guest, guest->name) == 0) {
                cable->ends[i].is_held = false;
                tell_link(guest->all, &cable->ends[1 - i], false);
            }
        }
        if (!cable->ends[0].is_held && !cable->ends[1].is_held) {
            leave_cable(guest->all, cable);
        }
    }
}

void guests_cables_close(struct guests *guests)
{
    while (!LIST_EMPTY(&guests->cables)) { /* we are ending, and the guests go on */
        struct cable *cable = LIST_FIRST(&guests->cables);

        LIST_REMOVE(cable, link);
        cleanup_close(&cable->ends[0].fd);
        cleanup_close(&cable->ends[1].fd);
        free(cable);
    }
}
