/* Regions of memory that guests share, from the guests' side.
 *
 * A wish waits while qvmd still looks for guests of an earlier one: what they share is to be known
 * before anybody else is told that there is no such region. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/crash_point.h"
#include "daemon/guest/ask.h"
#include "daemon/guest/inside.h"
#include "daemon/guest/program.h"
#include "daemon/hand/hand.h"
#include "daemon/shmem/shmem.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"

#define SHARED_MAX 8    /* regions of one guest, as of VDEV_SHMEM_MAX */
#define SHARED_MS  2000 /* in which a qvm says what it shares, after its hello */

struct guest_shmem {
    char **rules;
    size_t count;
    bool has_wish; /* that waits */
    int64_t serial;
    uint64_t size, most;
    char name[SHMEM_NAME_MAX + 1];
};

static void forget(struct guest *guest)
{
    struct guest_shmem *shmem = take_ptr(guest->shmem);

    for (size_t i = 0; shmem != NULL && i < shmem->count; i++) {
        free(shmem->rules[i]);
    }
    if (shmem != NULL) {
        free(shmem->rules);
    }
    free(shmem);
}

static int take_rules(struct guest *guest, const char *const *rules, size_t count)
{
    forget(guest);
    guest->shmem = calloc(1, sizeof(*guest->shmem));
    if (guest->shmem == NULL) {
        return -ENOMEM;
    }
    guest->shmem->rules = calloc(count, sizeof(*guest->shmem->rules));
    for (size_t i = 0; guest->shmem->rules != NULL && i < count; i++) {
        guest->shmem->rules[i] = strdup(rules[i]);
        if (guest->shmem->rules[i] == NULL) {
            return -ENOMEM;
        }
        guest->shmem->count++;
    }
    return guest->shmem->rules != NULL ? 0 : -ENOMEM;
}

static struct guest *find_instance(const struct guests *guests, int64_t instance)
{
    struct guest *guest;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if (guest->instance.id == instance) {
            return guest;
        }
    }
    return NULL;
}

/* Who cannot be told now hears it when it says what it shares. */
static void on_changed(void *context, int64_t instance, const char *region)
{
    struct guest *guest = instance > 0 ? find_instance(context, instance) : NULL;
    const struct msg_shmem_changed packet = {.name = lend(region)};

    if (instance < 0) {
        guests_program_changed(context, instance);
    }

    if (guest != NULL && guest->worker != NULL && worker_is_up(guest->worker)) {
        (void)worker_send(guest->worker, CONTROL_shmem_changed, &packet, NULL, 0, NULL);
    }
}

static void on_close(void *context, const int *fds, size_t count)
{
    const struct guests *guests = context;

    hands_close(guests->env.hands, fds, count);
}

struct shmem *guests_shared(struct guests *guests)
{
    const struct shmem_env env = {.changed = on_changed, .close = on_close, .context = guests};

    guests->shmem = guests->shmem != NULL ? guests->shmem : shmem_create(&env);
    return guests->shmem;
}

/* Follow the rules, up to the first that cannot be followed: `*bad`. `memory` of the guest. */
static int begin(struct guest *guest, const char *const *rules, size_t count, int64_t memory,
                 size_t *bad, struct err *err)
{
    struct guests *guests = guest->all;
    int r = 0;

    if (guests_shared(guests) == NULL || take_rules(guest, rules, count) < 0) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (*bad = 0; *bad < count; ++*bad) {
        char name[SHMEM_NAME_MAX + 1];
        struct shmem_wish wish = {.name = name,
                                  .room = (uint64_t)memory,
                                  .owner = guest->owner,
                                  .instance = guest->instance.id};

        if (strncmp(rules[*bad], SHMEM_CREATE, strlen(SHMEM_CREATE)) != 0) {
            continue;
        }
        r = shmem_read_create(rules[*bad], name, &wish.size) < 0
                ? err_set(err, -EINVAL, "its qvm asks for '%.100s', which is no region",
                          rules[*bad])
                : shmem_keep(guests->shmem, &wish, err);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int guest_shmem_ask(struct guest *guest, size_t *bad, struct err *err)
{
    const struct guest_ask *ask = guest->ask;
    const char *rules[GUEST_ASK_MAX];
    size_t origin[GUEST_ASK_MAX + 1];
    size_t count = 0, bad_rule = 0;
    int64_t memory = 0;
    int r;

    for (size_t i = 0; i < ask->count; i++) {
        memory += ask->items[i].kind == RESOURCE_memory ? ask->items[i].amount : 0;
        if (ask->items[i].kind == RESOURCE_shmem) {
            origin[count] = i;
            rules[count++] = ask->items[i].id;
        }
    }
    if (count == 0) {
        return 0;
    }
    r = begin(guest, rules, count, memory, &bad_rule, err);
    if (r < 0) {
        *bad = bad_rule < count ? origin[bad_rule] : ask->count;
    }
    return r;
}

void guest_shmem_adopt(struct guest *guest, const struct reserve_held *held, size_t count)
{
    auto_free const char **rules = calloc(count + 1, sizeof(*rules));
    size_t rule_count = 0, bad = 0;
    struct err err = {0};

    for (size_t i = 0; rules != NULL && i < count; i++) {
        if (held[i].kind == RESOURCE_shmem) {
            rules[rule_count++] = held[i].id;
        }
    }
    if (rule_count > 0 && begin(guest, rules, rule_count, guest->memory, &bad, &err) < 0) {
        log_warn("shmem: not created again guest=%s why=\"%s\"", guest->name, err.msg);
    }
}

/* ---- wishes ---- */

static bool is_looked_for(const struct guest *guest)
{
    return guest->shmem != NULL && guest->worker != NULL &&
           (guest->state == STATE_running || guest->state == STATE_paused) &&
           (guest->shmem_awaited > 0 || !worker_is_up(guest->worker));
}

/* Nobody else's guests share with those of an owner. */
bool guests_shmem_is_awaited(const struct guests *guests, const uid_t *owner)
{
    const struct guest *guest;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if ((owner == NULL || guest->owner == *owner) && is_looked_for(guest)) {
            return true;
        }
    }
    return false;
}

static void answer(struct guest *guest)
{
    struct guest_shmem *mine = guest->shmem;
    struct shmem_wish wish = {.name = mine->name,
                              .size = mine->size,
                              .most = mine->most,
                              .room = (uint64_t)guest->memory,
                              .owner = guest->owner,
                              .instance = guest->instance.id};
    struct msg_shmem_given packet = {
        .serial = mine->serial, .name = mine->name, .status = SHMEM_NO_PERMISSION};
    struct shmem_given given = {0};
    struct err err = {0};

    mine->has_wish = false;
    if (!shmem_is_name(mine->name)) {
        packet.status = SHMEM_ILLEGAL_NAME;
    } else if (shmem_is_allowed((const char *const *)mine->rules, mine->count, mine->name)) {
        packet.status = (int64_t)shmem_attach(guest->all->shmem, &wish, &given);
    }
    if (packet.status == SHMEM_OK) {
        packet.client = (int64_t)given.client;
        packet.size = (int64_t)given.size;
        crash_point("region shared");
    }
    if (worker_send(guest->worker, CONTROL_shmem_given, &packet, given.fds,
                    packet.status == SHMEM_OK ? SHMEM_FD_COUNT : 0, &err) < 0) {
        log_debug("shmem: not told guest=%s region=%s why=\"%s\"", guest->name, mine->name,
                  err.msg);
        shmem_detach(guest->all->shmem, mine->name, guest->instance.id);
    }
}

void guest_on_shmem_wish(struct guest *guest, const struct msg_shmem_wish *wish)
{
    struct guest_shmem *mine = guest->shmem;

    if (mine == NULL) {
        log_debug("shmem: its qvm was not granted anything of it guest=%s", guest->name);
        return;
    }
    mine->has_wish = true; /* an earlier one is given up: a qvm waits for one at a time */
    mine->serial = wish->serial;
    mine->size = (uint64_t)wish->size;
    mine->most = (uint64_t)wish->most;
    (void)snprintf(mine->name, sizeof(mine->name), "%s", wish->name);
    guests_shmem_go_on(guest->all);
}

void guests_shmem_go_on(struct guests *guests)
{
    struct guest *guest;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if (guest->shmem != NULL && guest->shmem->has_wish && guest->worker != NULL &&
            !guests_shmem_is_awaited(guests, &guest->owner)) {
            answer(guest);
        }
    }
    guests_programs_go_on(guests);
}

void guest_on_shmem_left(struct guest *guest, const struct msg_shmem_left *left)
{
    if (guest->shmem != NULL) { /* else it was never granted anything of it */
        shmem_detach(guest->all->shmem, left->name, guest->instance.id);
    }
}

/* ---- over the end of a qvmd ---- */

/* Whoever has not said what he shares by now has had his time. */
static void on_late(uv_timer_t *timer)
{
    struct guests *guests = timer->data;
    struct guest *guest;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if (guest->shmem_awaited > 0) {
            log_warn("shmem: not told in time what it shares guest=%s", guest->name);
        }
        guest->shmem_awaited = 0;
    }
    if (guests->shmem != NULL) {
        shmem_stop_awaiting(guests->shmem);
    }
    guests_shmem_go_on(guests);
}

void guest_shmem_found(struct guest *guest, int64_t count)
{
    uv_timer_t *timer = &guest->all->shmem_timer;

    guest->shmem_awaited = count < SHARED_MAX ? count : SHARED_MAX;
    if (count > 0 && uv_is_active((uv_handle_t *)timer) == 0) {
        (void)uv_timer_start(timer, on_late, SHARED_MS, 0); /* fails only when closing */
    }
    if (guest->all->shmem != NULL) { /* what it let go of while it could not tell */
        shmem_detach_all(guest->all->shmem, guest->instance.id);
    }
}

/* Its guest goes on with memory that nobody else sees, and has to be told by somebody. */
static void tell_lost(struct guest *guest, const char *region, const struct err *err)
{
    char text[STORE_MESSAGE_SIZE];

    (void)snprintf(text, sizeof(text), "region '%.32s' is not shared any more: %.200s", region,
                   err->msg);
    log_warn("shmem: not found again guest=%s why=\"%s\"", guest->name, text);
    guest_tell(guest, WHAT_region_lost, text, 0);
}

void guest_on_shmem_held(struct guest *guest, const struct msg_shmem_held *held, int *fds,
                         size_t fd_count)
{
    const struct shmem_wish wish = {.name = held->name,
                                    .size = (uint64_t)held->size,
                                    .owner = guest->owner,
                                    .instance = guest->instance.id};
    const struct guest_shmem *mine = guest->shmem;
    struct err err = {0};
    int r;

    if (guest->shmem_awaited <= 0) {
        log_debug("shmem: told of more than was said guest=%s", guest->name);
        return;
    }
    guest->shmem_awaited--;
    if (mine == NULL || fd_count != SHMEM_FD_COUNT || !shmem_is_name(held->name) ||
        !shmem_is_allowed((const char *const *)mine->rules, mine->count, held->name)) {
        r = err_set(&err, -EPERM, "it was not granted that");
    } else {
        r = shmem_adopt(guest->all->shmem, &wish, (unsigned)held->client, fds, &err);
    }
    if (r < 0) {
        tell_lost(guest, held->name, &err);
    }
    guests_shmem_go_on(guest->all);
}

void guest_shmem_end(struct guest *guest)
{
    guest->shmem_awaited = 0;
    if (guest->shmem != NULL) {
        shmem_drop(guest->all->shmem, guest->instance.id);
        forget(guest);
    }
    guests_shmem_go_on(guest->all);
}

void guests_shmem_destroy(struct guests *guests)
{
    struct guest *guest;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        forget(guest);
    }
    shmem_destroy(take_ptr(guests->shmem));
}

/* ---- lists ---- */

bool guests_shmem(const struct guests *guests, size_t index, struct guests_shmem_room *room,
                  struct msg_shmem_region *region)
{
    struct shmem_info info;

    if (guests->shmem == NULL || !shmem_info(guests->shmem, index, &info)) {
        return false;
    }
    (void)users_name(info.owner, room->owner);
    *region = (struct msg_shmem_region){.name = lend(info.name),
                                        .size = (int64_t)info.size,
                                        .owner = room->owner,
                                        .clients = room->clients,
                                        .kept_by = room->kept_by};
    for (size_t i = 0; i < SHMEM_CLIENTS; i++) {
        const struct guest *guest =
            info.clients[i] > 0 ? find_instance(guests, info.clients[i]) : NULL;

        if (info.clients[i] < 0) {
            room->clients[region->clients_count++] = (struct msg_shmem_client){
                .client = (int64_t)i, .pid = guests_program_pid(guests, info.clients[i])};
        } else if (guest != NULL) {
            room->clients[region->clients_count++] = (struct msg_shmem_client){
                .client = (int64_t)i, .guest = lend(guest->name), .pid = guest->instance.pid};
        }
    }
    for (size_t i = 0; i < info.keeper_count; i++) {
        const struct guest *guest = find_instance(guests, info.keepers[i]);

        if (guest != NULL) {
            room->kept_by[region->kept_by_count++] = lend(guest->name);
        }
    }
    return true;
}
