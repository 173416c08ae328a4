/* Sockets of a guest's vdevs. */
#include "daemon/guest/listener.h"

#include <errno.h>

#include "daemon/crash_point.h"
#include "daemon/guest/ask.h"
#include "proto/base/err.h"

#define LISTENERS_MAX 64    /* of one guest */
#define LISTENERS_MS  10000 /* to make all of them */

const char *guest_listener_path(const char *id)
{
    return id + sizeof(LISTEN) - 1; /* its beginning was looked at when it was asked for */
}

/* The n-th of the ask, as an index of its items. */
static size_t listener_index(const struct guest_ask *ask, size_t n)
{
    for (size_t i = 0; i < ask->count; i++) {
        if (ask->items[i].kind == RESOURCE_listen && n-- == 0) {
            return i;
        }
    }
    return ask->count;
}

static void on_made(void *data, struct hand_result *result)
{
    struct guest *guest = data;
    struct guest_ask *ask = guest->ask;
    size_t bad = ask->count;

    crash_point("sockets made");
    ask->hand = NULL;
    if (result->err.code != 0) {
        bad = listener_index(ask, result->bad);
    }
    for (size_t n = 0; n < result->count; n++) {
        struct wanted *item = &ask->items[listener_index(ask, n)];

        item->is_kept = true;
        item->file = n;
    }
    ask->on_taken(guest, bad, result->keeper, &result->err);
}

bool guest_listeners_take(struct guest *guest,
                          void (*done)(struct guest *guest, size_t bad, struct hand *keeper,
                                       const struct err *err))
{
    struct guest_ask *ask = guest->ask;
    struct hand_file files[LISTENERS_MAX];
    struct err err = {0};
    size_t count = 0;

    for (size_t i = 0; i < ask->count; i++) {
        if (ask->items[i].kind != RESOURCE_listen) {
            continue;
        }
        if (count == LISTENERS_MAX) {
            (void)err_set(&err, -E2BIG, "a guest has at most %d sockets", LISTENERS_MAX);
            done(guest, i, NULL, &err);
            return true;
        }
        files[count++] =
            (struct hand_file){.path = guest_listener_path(ask->items[i].id), .is_listener = true};
    }
    if (count == 0) {
        return false;
    }
    ask->on_taken = done;
    if (hand_open_files(guest->all->env.hands, guest->owner, files, count, LISTENERS_MS, on_made,
                        guest, &ask->hand, &err) < 0) {
        done(guest, ask->count, NULL, &err);
    } else {
        crash_point("hand made");
    }
    return true;
}
