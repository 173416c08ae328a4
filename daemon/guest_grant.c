/* Ask and grant: all that a VM needs, or nothing and the reason. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/guest_inside.h"
#include "daemon/hand.h"
#include "daemon/host/kvm.h"
#include "daemon/lend.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#define OPEN_MS 10000 /* for all files of a guest together */

struct wanted {
    enum resource_kind kind;
    char *id;
    char *where;
    int64_t amount;
    bool is_writable, is_readable;
    int fd;                      /* to be granted; -1: none */
    char identity[HAND_ID_SIZE]; /* of a file that was opened */
    bool is_exclusive;
};

struct guest_ask {
    struct guest *guest;
    struct wanted items[GUEST_ASK_MAX];
    size_t count;
    bool is_whole; /* no further packet follows */
    struct hand *hand;
};

static bool is_file(const struct wanted *item)
{
    return item->kind == RESOURCE_file || item->kind == RESOURCE_stream;
}

void guest_ask_drop(struct guest *guest)
{
    struct guest_ask *ask = take_ptr(guest->ask);

    if (ask == NULL) {
        return;
    }
    if (ask->hand != NULL) {
        hand_cancel(ask->hand);
    }
    for (size_t i = 0; i < ask->count; i++) {
        free(ask->items[i].id);
        free(ask->items[i].where);
        cleanup_close(&ask->items[i].fd);
    }
    free(ask);
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
    if (index < ask->count) {
        (void)err_prefix(&guest->doom, "%s: ", ask->items[index].where);
    }
    log_info("guest: denied guest=%s why=\"%s\"", guest->name, guest->doom.msg);
    if (worker_send(guest->worker, CONTROL_deny, &packet, NULL, 0, &err) < 0) {
        guest_doom(guest, REASON_denied, &guest->doom);
    } else {
        guest_ask_drop(guest);
        guest_denied_deadline(guest);
    }
}

/* ---- the answer ---- */

/* One packet of the grant, from item `first` on. */
static int send_part(struct guest *guest, size_t first, size_t *next, struct err *err)
{
    const struct guest_ask *ask = guest->ask;
    struct msg_granted items[MSG_PACKET_FDS];
    int fds[MSG_PACKET_FDS];
    struct msg_grant grant = {.items = items};
    size_t fd_count = 0;
    size_t i;

    for (i = first; i < ask->count && grant.items_count < MSG_PACKET_FDS; i++) {
        bool has_descriptor = ask->items[i].fd >= 0;

        items[grant.items_count++] =
            (struct msg_granted){.item = (int64_t)i, .has_descriptor = has_descriptor};
        if (has_descriptor) {
            fds[fd_count++] = ask->items[i].fd;
        }
    }
    grant.more = i < ask->count;
    *next = i;
    return worker_send(guest->worker, CONTROL_grant, &grant, fds, fd_count, err);
}

static void grant(struct guest *guest)
{
    const struct guest_ask *ask = guest->ask;
    struct err err = {0};
    size_t next = 0;

    for (size_t i = 0; i < ask->count; i++) {
        if (ask->items[i].kind == RESOURCE_memory) {
            guest->memory += ask->items[i].amount;
        } else if (ask->items[i].kind == RESOURCE_cpu) {
            guest->vcpus += ask->items[i].amount;
        }
    }
    guest->was_granted = true;
    do {
        if (send_part(guest, next, &next, &err) < 0) {
            guest_doom(guest, REASON_vmm_crash, &err);
            return;
        }
    } while (next < ask->count);
    guest_ask_drop(guest); /* and with it our copies of what was granted */
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

static int claim(struct guest *guest, size_t *bad, struct err *err)
{
    struct guest_ask *ask = guest->ask;
    struct reserve_item items[GUEST_ASK_MAX] = {0};
    size_t origin[GUEST_ASK_MAX];
    size_t count = 0, bad_claim = 0;
    int r;

    for (size_t i = 0; i < ask->count; i++) {
        const struct wanted *item = &ask->items[i];

        if (item->kind == RESOURCE_kvm) {
            continue; /* shared by all */
        }
        origin[count] = i;
        items[count++] = (struct reserve_item){
            .kind = item->kind,
            .id = is_file(item) ? item->identity : item->id,
            .name = item->id,
            .amount = item->amount,
            .is_exclusive = item->is_exclusive,
        };
    }
    r = reserve_claim(guest->all->env.store, &guest->all->env.limits, guest->instance.id, items,
                      count, &bad_claim, err);
    if (r < 0) {
        *bad = bad_claim < count ? origin[bad_claim] : ask->count;
    }
    return r;
}

static void claim_and_grant(struct guest *guest)
{
    struct err err = {0};
    size_t bad = guest->ask->count;
    int r = open_kvm(guest->ask, &bad, &err);

    if (r == 0) {
        r = claim(guest, &bad, &err);
    }
    if (r < 0) {
        deny(guest, bad, &err);
    } else {
        grant(guest);
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
        if (is_file(&ask->items[i]) && n-- == 0) {
            return i;
        }
    }
    return ask->count;
}

static void on_opened(void *data, struct hand_result *result)
{
    struct guest *guest = data;
    struct guest_ask *ask = guest->ask;

    ask->hand = NULL;
    if (result->err.code != 0) {
        size_t index = file_index(ask, result->bad);
        const struct guest *holder =
            result->err.code == -EBUSY ? find_holder(guest, ask->items[index].id) : NULL;

        if (holder != NULL) {
            (void)err_set(&result->err, -EBUSY, "file '%s' is held by guest '%s' (pid %d)",
                          ask->items[index].id, holder->name, holder->instance.pid);
        }
        deny(guest, index, &result->err);
        return;
    }
    for (size_t n = 0; n < result->count; n++) {
        struct wanted *item = &ask->items[file_index(ask, n)];

        item->fd = take_fd(&result->files[n].fd);
        item->is_exclusive = result->files[n].is_exclusive;
        (void)snprintf(item->identity, sizeof(item->identity), "%s", result->files[n].id);
    }
    claim_and_grant(guest);
}

static void prepare(struct guest *guest)
{
    struct guest_ask *ask = guest->ask;
    struct hand_file files[GUEST_ASK_MAX];
    struct err err = {0};
    size_t count = 0;

    for (size_t i = 0; i < ask->count; i++) {
        const struct wanted *item = &ask->items[i];

        if (is_file(item)) {
            files[count++] = (struct hand_file){.path = item->id,
                                                .is_readable = item->is_readable,
                                                .is_writable = item->is_writable,
                                                .is_stream = item->kind == RESOURCE_stream};
        }
    }
    if (count == 0) {
        claim_and_grant(guest);
    } else if (hand_open_files(guest->all->env.hands, guest->owner, files, count, OPEN_MS,
                               on_opened, guest, &ask->hand, &err) < 0) {
        deny(guest, ask->count, &err);
    }
}

/* ---- the question ---- */

static int copy_items(struct guest_ask *ask, const struct msg_ask *packet, struct err *err)
{
    if (packet->items_count > GUEST_ASK_MAX - ask->count) {
        return err_set(err, -EMSGSIZE, "its qvm asks for more than %d things", GUEST_ASK_MAX);
    }
    for (size_t i = 0; i < packet->items_count; i++) {
        const struct msg_resource *from = &packet->items[i];
        struct wanted *to = &ask->items[ask->count];

        *to = (struct wanted){.kind = (enum resource_kind)from->kind,
                              .id = strdup(from->id),
                              .where = strdup(from->where),
                              .amount = from->amount,
                              .is_writable = from->is_writable,
                              .is_readable = from->is_readable,
                              .fd = -1};
        ask->count++;
        if (to->id == NULL || to->where == NULL) {
            return err_set(err, -ENOMEM, "out of memory");
        }
    }
    return 0;
}

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
    if (copy_items(guest->ask, packet, &err) < 0) {
        deny(guest, guest->ask->count, &err);
        return;
    }
    guest->ask->is_whole = !packet->more;
    if (guest->ask->is_whole) {
        guest_no_deadline(guest);
        if (!guest_is_releasing(guest->all, guest->name)) {
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
