/* Ask and grant with qvmd. */
#include "qvm-worker/control/ask.h"

#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"
#include "proto/msg.h"
#include "qvm-worker/control/control.h"
#include "qvm-worker/vdev/host.h"

/* Where and how vCPUs run. */
static void fill_cpus(const struct plan_need *need, struct msg_resource *item)
{
    const struct placement *placement = &need->cpu->placement;

    item->first = need->first;
    item->cpus = need->cpus != NULL ? lend(need->cpus) : NULL;
    if (need->sched != NULL) {
        item->sched = lend(need->sched);
        item->priority = (int64_t)placement->priority;
        item->period_ns = (int64_t)placement->period_ns;
        item->budget_ns = (int64_t)placement->budget_ns;
    }
}

static void fill(const struct plan_need *need, struct msg_resource *item)
{
    *item = (struct msg_resource){
        .kind = (int)need->kind,
        .id = lend(need->id),
        .amount = (int64_t)need->amount,
        .is_writable = need->is_writable,
        .is_readable = need->is_readable,
        .where = lend(need->where),
    };
    if (need->kind == RESOURCE_network || need->kind == RESOURCE_helper) {
        item->vdev = lend(need->device->device);
    }
    if (need->kind == RESOURCE_network) {
        item->vhost = need->vhost != NULL ? lend(need->vhost) : NULL;
    }
}

int ask_send(struct control *control, const struct plan *plan, struct err *err)
{
    struct msg_resource items[PLAN_NEEDS_MAX];
    size_t sent = 0;
    size_t step = plan->need_count;

    for (uint32_t i = 0; i < plan->need_count; i++) {
        fill(&plan->needs[i], &items[i]);
        if (plan->needs[i].cpu != NULL && plan->host->places_cpus) {
            fill_cpus(&plan->needs[i], &items[i]);
        }
    }
    while (sent < plan->need_count) {
        size_t count = step < plan->need_count - sent ? step : plan->need_count - sent;
        struct msg_ask ask = {
            .items = items + sent, .items_count = count, .more = sent + count < plan->need_count};
        int r = control_send(control, CONTROL_ask, &ask);

        if (r == 0) {
            sent += count;
        } else if (r == -EINVAL && count > 1) {
            step = count / 2; /* too long for a packet */
        } else {
            return err_sys(err, r, "cannot ask for '%s'", plan->needs[sent].id);
        }
    }
    return 0;
}

void ask_init(struct ask *ask, const struct plan *plan)
{
    *ask = (struct ask){.plan = plan};
    for (size_t i = 0; i < ARRAY_LEN(ask->fds); i++) {
        ask->fds[i] = -1;
    }
}

void ask_fini(struct ask *ask)
{
    for (size_t i = 0; i < ARRAY_LEN(ask->fds); i++) {
        cleanup_close(&ask->fds[i]);
    }
}

#define DEVICE_FDS 3u /* container, group, device: VFIO's */
#define CABLE_FDS  2u /* our end, the other */

/* How many descriptors of the packet belong to it, as it says. A tap's are its queues, and behind
 * them the kernel's back ends, if those were asked for and the host has them. */
static size_t count_fds(const struct msg_granted *item)
{
    if (!item->has_descriptor) {
        return 0;
    }
    return item->descriptors != 0 ? (size_t)item->descriptors : 1;
}

static size_t count_wanted(const struct plan_need *need, size_t given)
{
    size_t queues = need->amount > 1 ? (size_t)need->amount : 1;

    if (need->kind == RESOURCE_device) {
        return DEVICE_FDS;
    }
    if (need->is_cable) {
        return CABLE_FDS;
    }
    if (need->kind == RESOURCE_network) {
        return need->vhost != NULL && given == 2 * queues ? given : queues;
    }
    return resource_has_descriptor(need->kind) ? 1 : 0;
}

static int take_item(struct ask *ask, const struct msg_granted *item, int *fds, size_t fd_count,
                     size_t *next_fd, struct err *err)
{
    size_t i = (size_t)item->item, wanted, queues;
    const struct plan_need *need;

    if (i >= ask->plan->need_count || ask->is_granted[i]) {
        return err_set(err, -EPROTO, "item %zu of the grant was not asked for", i);
    }
    need = &ask->plan->needs[i];
    wanted = count_wanted(need, count_fds(item));
    queues = need->amount > 1 ? (size_t)need->amount : 1;
    if (wanted != count_fds(item) || wanted > fd_count - *next_fd) {
        return err_set(err, -EPROTO, "'%s' was granted %s its descriptor", need->id,
                       wanted != 0 ? "without" : "with what is not");
    }
    if (need->kind == RESOURCE_device) {
        ask->fds[PLAN_FD_CONTAINER(need->pass)] = take_fd(&fds[(*next_fd)++]);
        ask->fds[PLAN_FD_GROUP(need->pass)] = take_fd(&fds[(*next_fd)++]);
    }
    if (wanted != 0) {
        ask->fds[i] = take_fd(&fds[(*next_fd)++]);
    }
    if (need->is_cable) {
        ask->fds[PLAN_FD_FAR(need->cable)] = take_fd(&fds[(*next_fd)++]);
    } else if (need->kind == RESOURCE_network) {
        for (uint32_t j = 0; j + 1 < queues; j++) {
            ask->fds[PLAN_FD_QUEUE(need->queue + j)] = take_fd(&fds[(*next_fd)++]);
        }
        for (uint32_t j = 0; queues + j < wanted; j++) {
            ask->fds[PLAN_FD_VHOST(need->back_end + j)] = take_fd(&fds[(*next_fd)++]);
        }
    }
    ask->is_granted[i] = true;
    return 0;
}

int ask_take(struct ask *ask, const struct msg_grant *grant, int *fds, size_t fd_count,
             struct err *err)
{
    size_t next_fd = 0;

    for (size_t i = 0; i < grant->items_count; i++) {
        int r = take_item(ask, &grant->items[i], fds, fd_count, &next_fd, err);

        if (r != 0) {
            return r;
        }
    }
    if (next_fd != fd_count) {
        return err_set(err, -EPROTO, "the grant came with more descriptors than items");
    }
    if (grant->more) {
        return 0;
    }
    for (uint32_t i = 0; i < ask->plan->need_count; i++) {
        if (!ask->is_granted[i]) {
            return err_set(err, -EPROTO, "the grant leaves out '%s'", ask->plan->needs[i].id);
        }
    }
    return 1;
}
