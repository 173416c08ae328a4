/* Taps of the host that a guest asks for. */
#include "daemon/guest/tap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/crash_point.h"
#include "daemon/guest/ask.h"
#include "daemon/tap_pool.h"
#include "proto/base/tap.h"

#define TAP "tap:"

#define TAPS_MAX 32    /* of one guest */
#define TAPS_MS  30000 /* to make all of them */

bool guest_asks_tap(const struct wanted *item)
{
    return item->kind == RESOURCE_network && strncmp(item->id, TAP, sizeof(TAP) - 1) == 0;
}

static const char *words_of(const struct wanted *item)
{
    return item->id + sizeof(TAP) - 1;
}

static size_t queues_of(const struct wanted *item)
{
    return item->amount > 0 ? (size_t)item->amount : 1;
}

static int check(const struct guest *guest, struct wanted *item, struct err *err)
{
    static const struct tap_pool none;
    const struct tap_pool *pool = guest->all->env.taps != NULL ? guest->all->env.taps : &none;
    const struct tap_asker asker = {guest->owner, guest->owner_name, geteuid()};
    char name[TAP_NAME_SIZE], bridge[TAP_NAME_SIZE];
    int r = tap_split(words_of(item), name, bridge, err);

    if (r == 0 && queues_of(item) > TAP_QUEUES_MAX) {
        r = err_set(err, -EMSGSIZE, "a tap has at most %d queues", TAP_QUEUES_MAX);
    }
    r = r == 0 ? tap_pool_check(pool, name, bridge, &asker, err) : r;
    if (r == 0) {
        (void)snprintf(item->identity, sizeof(item->identity), TAP "%s", name);
        item->is_exclusive = true;
    }
    return r;
}

int guest_taps_check(struct guest *guest, size_t *bad, struct err *err)
{
    struct guest_ask *ask = guest->ask;
    size_t count = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < ask->count; i++) {
        if (guest_asks_tap(&ask->items[i])) {
            *bad = i;
            r = ++count > TAPS_MAX ? err_set(err, -E2BIG, "a guest has at most %d taps", TAPS_MAX)
                                   : check(guest, &ask->items[i], err);
        }
    }
    return r;
}

/* The n-th tap of the ask, as an index of its items. */
static size_t tap_index(const struct guest_ask *ask, size_t n)
{
    for (size_t i = 0; i < ask->count; i++) {
        if (guest_asks_tap(&ask->items[i]) && n-- == 0) {
            return i;
        }
    }
    return ask->count;
}

static void on_made(void *data, struct hand_result *result)
{
    struct guest *guest = data;
    struct guest_ask *ask = guest->ask;
    size_t bad = ask->count, file = 0;

    crash_point("taps made");
    ask->hand = NULL;
    if (result->err.code != 0) {
        bad = tap_index(ask, result->bad);
    }
    for (size_t i = 0; file < result->count && i < ask->count; i++) {
        struct wanted *item = &ask->items[i];

        if (guest_asks_tap(item)) {
            item->is_kept = true;
            item->file = file;
            file += queues_of(item);
            if (item->vhost != HAND_VHOST_OFF && file < result->count) {
                item->has_vhost = result->files[file].size != HAND_NO_VHOST;
                file += queues_of(item);
            }
        }
    }
    ask->on_taken(guest, bad, result->keeper, &result->err);
}

int guest_taps_take(struct guest *guest,
                    void (*done)(struct guest *guest, size_t bad, struct hand *keeper,
                                 const struct err *err),
                    struct err *err)
{
    struct guest_ask *ask = guest->ask;
    struct hand_tap taps[TAPS_MAX];
    size_t count = 0;
    int r;

    for (size_t i = 0; i < ask->count && count < TAPS_MAX; i++) {
        if (guest_asks_tap(&ask->items[i])) {
            taps[count++] = (struct hand_tap){words_of(&ask->items[i]), queues_of(&ask->items[i]),
                                              ask->items[i].vhost};
        }
    }
    if (count == 0) {
        return 1;
    }
    ask->on_taken = done;
    r = hand_open_taps(guest->all->env.hands, taps, count, TAPS_MS, on_made, guest, &ask->hand,
                       err);
    if (r == 0) {
        crash_point("hand made");
    }
    return r;
}
