/* A dead instance lets go of what it held.
 *
 * The kernel holds the truth about files: I/O of a dead process may still be in flight, and its
 * lock lasts as long. So a claim on a file that nobody else may have is freed when a hand has
 * found the lock free, and not before. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/crash_point.h"
#include "daemon/guest/device.h"
#include "daemon/guest/inside.h"
#include "daemon/guest/listener.h"
#include "daemon/hand/hand.h"
#include "proto/base/log.h"

#define UNLOCK_MS 30000
#define REMOVE_MS 10000

struct guest_release {
    LIST_ENTRY(guest_release) link;
    struct guests *guests;
    char name[GUEST_NAME_MAX + 1];
    uid_t owner;
    int64_t instance;
    struct reserve_held *held;
    size_t count, next;    /* held[next..] are still to be looked at */
    struct hand *hand;     /* NULL, as the next, and still in the list: to be tried again */
    struct giving *giving; /* its devices come back */
    bool has_given;
    bool is_late; /* failed once: nobody of ours waits for it any more */
};

static void step(struct guest_release *release);

/* Whether the kernel has a lock on it, which may outlive the process. */
static bool is_locked(const struct reserve_held *held)
{
    return held->is_exclusive && held->kind != RESOURCE_hostcpu && held->kind != RESOURCE_device &&
           held->kind != RESOURCE_socket && held->kind != RESOURCE_network &&
           held->kind != RESOURCE_listen && held->kind != RESOURCE_node;
}

/* Who starts it anew, and who is to hear that it has ended. */
static void let_others_go_on(struct guests *guests, const char *name)
{
    struct guest *guest = guest_find(guests, name);

    if (guest != NULL && !guest_is_releasing(guests, name, 0)) {
        guest_ask_again(guest);
    }
    if (guest != NULL) {
        guest_wake(guest);
    }
}

static void end_release(struct guest_release *release)
{
    struct guests *guests = release->guests;
    char name[GUEST_NAME_MAX + 1];

    (void)snprintf(name, sizeof(name), "%s", release->name);
    LIST_REMOVE(release, link);
    reserve_held_free(release->held, release->count);
    free(release);
    let_others_go_on(guests, name);
}

static void fail(struct guest_release *release, const struct err *err)
{
    log_warn("guest: holds on guest=%s instance=%lld why=\"%s\"", release->name,
             (long long)release->instance, err->msg);
    release->is_late = true;
    let_others_go_on(release->guests, release->name);
}

static void on_unlocked(void *data, struct hand_result *result)
{
    struct guest_release *release = data;

    crash_point("lock found free");
    release->hand = NULL;
    if (result->err.code != 0) {
        fail(release, &result->err);
        return;
    }
    release->next++;
    step(release);
}

/* A path that could not be removed is nobody's reason to wait: who makes a socket there replaces
 * what was left. */
static void on_removed(void *data, struct hand_result *result)
{
    struct guest_release *release = data;

    crash_point("socket removed");
    release->hand = NULL;
    if (result->err.code != 0) {
        log_info("guest: left behind guest=%s socket=\"%s\" why=\"%s\"", release->name,
                 guest_listener_path(release->held[release->next].id), result->err.msg);
    }
    release->next++;
    step(release);
}

static void on_given(void *data, const struct err *err)
{
    struct guest_release *release = data;

    release->giving = NULL;
    if (err->code != 0) {
        fail(release, err);
        return;
    }
    release->has_given = true;
    step(release);
}

/* Its devices first: others may wait for them, and nothing that a file does holds them up. */
static bool give_devices(struct guest_release *release)
{
    struct err err = {0};

    if (!release->has_given &&
        guest_devices_give(release->guests, release->instance, release->held, release->count,
                           on_given, release, &release->giving, &err) < 0) {
        fail(release, &err);
        return true;
    }
    return release->giving != NULL;
}

/* The devices, the next file, or the end. */
static void step(struct guest_release *release)
{
    const struct reserve_held *held;
    struct err err = {0};

    if (give_devices(release)) {
        return;
    }

    while (release->next < release->count && !is_locked(&release->held[release->next]) &&
           release->held[release->next].kind != RESOURCE_listen) {
        release->next++;
    }
    if (release->next == release->count) {
        if (reserve_free(release->guests->env.store, release->instance, &err) < 0) {
            fail(release, &err);
        } else {
            end_release(release);
        }
        return;
    }
    held = &release->held[release->next];
    if (held->kind == RESOURCE_listen) {
        if (hand_remove_listener(release->guests->env.hands, release->owner,
                                 guest_listener_path(held->id), REMOVE_MS, on_removed, release,
                                 &release->hand, &err) < 0) {
            fail(release, &err);
        }
        return;
    }
    if (hand_await_unlocked(release->guests->env.hands, release->owner, held->name, held->id,
                            UNLOCK_MS, on_unlocked, release, &release->hand, &err) < 0) {
        fail(release, &err);
    }
}

void guest_release(struct guests *guests, const char *name, uid_t owner, int64_t instance)
{
    struct guest_release *release = calloc(1, sizeof(*release));
    struct err err = {0};

    if (release == NULL ||
        reserve_list(guests->env.store, instance, &release->held, &release->count, &err) < 0) {
        log_error("guest: cannot read what it holds guest=%s why=\"%s\"", name, err.msg);
        free(release);
        return; /* found again at the next start of qvmd */
    }
    release->guests = guests;
    release->owner = owner;
    release->instance = instance;
    (void)snprintf(release->name, sizeof(release->name), "%s", name);
    LIST_INSERT_HEAD(&guests->releases, release, link);
    step(release);
}

bool guest_holds_locks(const struct guests *guests, int64_t instance)
{
    struct reserve_held *held = NULL;
    size_t count = 0;
    bool has_locks = false;

    if (reserve_list(guests->env.store, instance, &held, &count, NULL) < 0) {
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        has_locks = has_locks || is_locked(&held[i]) || held[i].kind == RESOURCE_device ||
                    held[i].kind == RESOURCE_listen;
    }
    reserve_held_free(held, count);
    return has_locks;
}

bool guest_is_releasing(const struct guests *guests, const char *name, int64_t instance)
{
    const struct guest_release *release;

    LIST_FOREACH(release, &guests->releases, link)
    {
        if (!release->is_late && strcmp(release->name, name) == 0 &&
            (instance == 0 || release->instance == instance)) {
            return true;
        }
    }
    return false;
}

void guest_release_again(struct guests *guests)
{
    struct guest_release *release = LIST_FIRST(&guests->releases);

    while (release != NULL) {
        struct guest_release *next = LIST_NEXT(release, link);

        if (release->hand == NULL && release->giving == NULL) {
            step(release);
        }
        release = next;
    }
}

void guest_release_drop_all(struct guests *guests)
{
    struct guest_release *release;

    while ((release = LIST_FIRST(&guests->releases)) != NULL) {
        if (release->hand != NULL) {
            hand_cancel(release->hand);
        }
        if (release->giving != NULL) {
            guest_devices_give_cancel(release->giving);
        }
        LIST_REMOVE(release, link);
        reserve_held_free(release->held, release->count);
        free(release);
    }
}
