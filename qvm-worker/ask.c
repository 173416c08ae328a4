/* Ask and grant with qvmd. */
#include "qvm-worker/ask.h"

#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"
#include "qvm-worker/control.h"

/* Messages that are only encoded may point anywhere (msg.h): nothing writes to `text`. */
static char *borrow(const char *text)
{
    char *borrowed;

    memcpy(&borrowed, &text, sizeof(borrowed));
    return borrowed;
}

static void fill(const struct plan_need *need, struct msg_resource *item)
{
    *item = (struct msg_resource){
        .kind = (int)need->kind,
        .id = borrow(need->id),
        .amount = (int64_t)need->amount,
        .is_writable = need->is_writable,
        .is_readable = need->is_readable,
        .where = borrow(need->where),
    };
}

int ask_send(struct control *control, const struct plan *plan, struct err *err)
{
    struct msg_resource items[PLAN_NEEDS_MAX];
    size_t sent = 0;
    size_t step = plan->need_count;

    for (uint32_t i = 0; i < plan->need_count; i++) {
        fill(&plan->needs[i], &items[i]);
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

static int take_item(struct ask *ask, const struct msg_granted *item, int *fds, size_t fd_count,
                     size_t *next_fd, struct err *err)
{
    size_t i = (size_t)item->item;
    bool wants_fd;

    if (i >= ask->plan->need_count || ask->is_granted[i]) {
        return err_set(err, -EPROTO, "item %zu of the grant was not asked for", i);
    }
    wants_fd = resource_has_descriptor(ask->plan->needs[i].kind);
    if (wants_fd != item->has_descriptor || (wants_fd && *next_fd >= fd_count)) {
        return err_set(err, -EPROTO, "'%s' was granted %s its descriptor", ask->plan->needs[i].id,
                       wants_fd ? "without" : "with what is not");
    }
    if (wants_fd) {
        ask->fds[i] = take_fd(&fds[(*next_fd)++]);
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
