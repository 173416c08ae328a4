/* What an instance leaves behind: its VM, and then its control group.
 *
 * KVM takes a VM apart with the last descriptor of its statistics, some milliseconds of waiting for
 * grace periods, most of it; and a thread of KVM's lives in the group until then. Nobody waits for
 * either, and the next start is not to wait for them: a hand closes what all have left who ended
 * shortly after each other, which costs one fork, and the groups go when it is done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/guest/inside.h"
#include "daemon/hand/hand.h"
#include "proto/base/cleanup.h"

#define LEAVE_MS 30 /* a start that follows a kill is over by then */

struct leaving {
    LIST_ENTRY(leaving) link;
    char guest[GUEST_NAME_MAX + 1];
    int64_t instance;
    uid_t uid;
    int fds[GUEST_STATS_KVM_MAX];
    size_t fd_count;
};

/* Those that one hand takes. */
struct leavers {
    LIST_ENTRY(leavers) link;
    struct guests *guests;
    LIST_HEAD(, leaving) list;
    size_t fd_count;
};

static void close_all(struct leaving *leaving)
{
    for (size_t i = 0; i < leaving->fd_count; i++) {
        cleanup_close(&leaving->fds[i]);
    }
}

/* Their VMs are gone. */
static void on_closed(void *data)
{
    struct leavers *leavers = data;
    struct leaving *leaving;

    LIST_REMOVE(leavers, link); /* first: their groups are needed no more */
    while ((leaving = LIST_FIRST(&leavers->list)) != NULL) {
        LIST_REMOVE(leaving, link);
        guests_cgroup_remove(leavers->guests, leaving->guest, leaving->instance, leaving->uid);
        free(leaving);
    }
    free(leavers);
}

static void send_off(struct leavers *leavers)
{
    int *fds = calloc(leavers->fd_count + 1, sizeof(*fds));
    struct leaving *leaving;
    size_t count = 0;

    LIST_FOREACH(leaving, &leavers->list, link)
    {
        if (fds == NULL) {
            close_all(leaving); /* at the worst we wait */
            continue;
        }
        memcpy(fds + count, leaving->fds, leaving->fd_count * sizeof(*fds));
        count += leaving->fd_count;
    }
    if (fds == NULL) {
        on_closed(leavers);
    } else {
        hands_close_then(leavers->guests->env.hands, fds, count, on_closed, leavers);
    }
    free(fds);
}

static void on_time(uv_timer_t *timer)
{
    struct guests *guests = timer->data;

    send_off(take_ptr(guests->leavers));
}

static struct leavers *make_leavers(struct guests *guests)
{
    struct leavers *leavers = calloc(1, sizeof(*leavers));

    if (leavers != NULL) {
        leavers->guests = guests;
        LIST_INIT(&leavers->list);
        LIST_INSERT_HEAD(&guests->all_leavers, leavers, link);
    }
    return leavers;
}

/* The ones to leave with: who may have a device leaves alone, since its last close waits for that.
 */
static struct leavers *company_of(struct guests *guests, bool is_wary)
{
    if (is_wary) {
        return make_leavers(guests);
    }
    if (guests->leavers == NULL) {
        guests->leavers = make_leavers(guests);
        uv_update_time(guests->env.loop);
        if (guests->leavers != NULL) {
            (void)uv_timer_start(&guests->leave_timer, on_time, LEAVE_MS, 0); /* cannot fail */
        }
    }
    return guests->leavers;
}

void guests_leave(struct guests *guests, const struct guest_leaving *who)
{
    struct leaving *leaving = calloc(1, sizeof(*leaving));
    struct leavers *leavers =
        leaving != NULL && who->fd_count > 0 ? company_of(guests, who->is_wary) : NULL;

    if (leavers == NULL) {
        for (size_t i = 0; i < who->fd_count; i++) {
            (void)close(who->fds[i]); /* without memory, at the worst we wait */
        }
        free(leaving);
        guests_cgroup_remove(guests, who->guest, who->instance, who->uid);
        return;
    }
    (void)snprintf(leaving->guest, sizeof(leaving->guest), "%s", who->guest);
    leaving->instance = who->instance;
    leaving->uid = who->uid;
    memcpy(leaving->fds, who->fds, who->fd_count * sizeof(*who->fds));
    leaving->fd_count = who->fd_count;
    LIST_INSERT_HEAD(&leavers->list, leaving, link);
    leavers->fd_count += who->fd_count;
    if (who->is_wary) {
        send_off(leavers);
    }
}

bool guests_are_leaving(const struct guests *guests, const char *group)
{
    const struct leavers *leavers;
    const struct leaving *leaving;

    LIST_FOREACH(leavers, &guests->all_leavers, link)
    {
        LIST_FOREACH(leaving, &leavers->list, link)
        {
            if (guest_cgroup_is_of(group, leaving->guest, leaving->instance, leaving->uid)) {
                return true;
            }
        }
    }
    return false;
}

void guests_leave_now(struct guests *guests)
{
    struct leavers *leavers;
    struct leaving *leaving;

    while ((leavers = LIST_FIRST(&guests->all_leavers)) != NULL) {
        LIST_FOREACH(leaving, &leavers->list, link)
        {
            if (leavers == guests->leavers) {
                close_all(leaving); /* the others are a hand's */
            }
        }
        on_closed(leavers);
    }
    guests->leavers = NULL;
}
