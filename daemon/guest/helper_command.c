/* What operators want of helpers: to see them, and to have another one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/guest/helper.h"
#include "daemon/guest/helper_inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"

#define ASK_MS 25000 /* until one is told that it takes longer: before qvmctl gives up */

/* An operator who waits for another one. */
struct asking {
    LIST_ENTRY(asking) link; /* of `again` */
    struct again *again;
    guest_done_fn done;
    void *data;
    uv_timer_t timer;
};

/* ---- waiting ---- */

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void finish(struct asking *asking, const char *note, const struct err *err)
{
    LIST_REMOVE(asking, link);
    asking->again->asking_count--;
    asking->done(asking->data, asking->again->guest, note, err);
    uv_close((uv_handle_t *)&asking->timer, on_closed);
}

void helper_tell_asking(struct again *again, const char *note, const struct err *err)
{
    struct asking *asking;

    while ((asking = LIST_FIRST(&again->askings)) != NULL) {
        finish(asking, note, err);
    }
}

static void on_late(uv_timer_t *timer)
{
    struct asking *asking = timer->data;
    struct err err = {0};

    (void)err_set(&err, -ETIMEDOUT,
                  "there is no other helper for '%s' yet, and it is tried on: `qvmctl events` "
                  "tells when there is",
                  helper_again_path(asking->again));
    finish(asking, NULL, &err);
}

static int wait_for(struct again *again, guest_done_fn done, void *data, struct err *err)
{
    struct asking *asking;

    if (again->asking_count >= GUEST_ASKINGS_MAX) {
        return err_set(err, -EAGAIN,
                       "too many calls wait for the helper of vdev '%s' of guest '%s'",
                       again->row.vdev, again->guest->name);
    }
    asking = calloc(1, sizeof(*asking));
    if (asking == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    asking->again = again;
    asking->done = done;
    asking->data = data;
    asking->timer.data = asking;
    (void)uv_timer_init(again->guest->all->env.loop, &asking->timer); /* cannot fail */
    (void)uv_timer_start(&asking->timer, on_late, ASK_MS, 0);         /* likewise */
    LIST_INSERT_HEAD(&again->askings, asking, link);
    again->asking_count++;
    return 0;
}

/* ---- whose it is ---- */

static int refuse_name(const struct guest *guest, const char *vdev, const struct store_helper *rows,
                       size_t count, struct err *err)
{
    char names[512] = "";
    size_t used = 0;

    for (size_t i = 0; i < count && used < sizeof(names); i++) {
        if (rows[i].vdev[0] != '\0') {
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%s'%s'",
                                     used > 0 ? ", " : "", rows[i].vdev);
        }
    }
    return err_set(err, -EINVAL, "guest '%s' has no vdev '%s' with a helper%s%s", guest->name, vdev,
                   used > 0 ? "; those that have one: " : ": none of its vdevs has one", names);
}

static int find_item(const struct guest *guest, const char *vdev, int64_t *item, struct err *err)
{
    struct store_helper *rows = NULL;
    size_t count = 0;
    bool is_found = false;
    int r = store_helpers_list(guest->all->env.store, guest->instance.id, &rows, &count, err);

    for (size_t i = 0; r == 0 && i < count && !is_found; i++) {
        is_found = strcmp(rows[i].vdev, vdev) == 0;
        *item = is_found ? rows[i].item : 0;
    }
    if (r == 0 && !is_found) {
        r = refuse_name(guest, vdev, rows, count, err);
    }
    store_helpers_free(rows, count);
    return r;
}

/* ---- another one ---- */

static int check_state(const struct guest *guest, struct err *err)
{
    if (guest->state != STATE_running && guest->state != STATE_paused) {
        return err_set(err, -EALREADY, "guest '%s' is %s", guest->name,
                       words_name(&words_state, (int)guest->state));
    }
    return guest->was_granted && guest->ask == NULL
               ? 0
               : err_set(err, -EALREADY, "guest '%s' is being started", guest->name);
}

void guest_helper_ask(struct guest *guest, const char *vdev, guest_done_fn done, void *data)
{
    struct helper *helper = NULL;
    struct again *again = NULL;
    struct err err = {0};
    int64_t item = 0;
    int r = vdev[0] != '\0' ? check_state(guest, &err)
                            : err_set(&err, -EINVAL, "which vdev is to have another helper?");

    r = r == 0 ? find_item(guest, vdev, &item, &err) : r;
    if (r == 0) {
        helper = helper_find(guest, item);
        if (helper != NULL && !helper->is_over && !helper->is_starting) {
            r = err_set(&err, -EALREADY,
                        "vdev '%s' of guest '%s' has its helper: process %d lives; end that first "
                        "(kill %d), if it is of no use",
                        vdev, guest->name, helper->pid, helper->pid);
        }
    }
    if (r == 0) {
        again = helper_again_of(guest, item);
        r = again != NULL ? wait_for(again, done, data, &err)
                          : err_set(&err, -ENOMEM, "out of memory");
    }
    if (r != 0) {
        done(data, guest, NULL, &err);
        return;
    }
    if (helper != NULL && helper->is_over) {
        helper_tell_now(helper);
    }
    helper_again_now(again);
}

/* ---- what there is ---- */

static const char *state_of(const struct guest *guest, const struct store_helper *row)
{
    const struct helper *helper = helper_find(guest, row->item);
    const struct again *again;

    if (helper != NULL && !helper->is_over) {
        return helper->is_starting ? "starting" : "serves";
    }
    LIST_FOREACH(again, &guest->agains, link)
    {
        if (again->row.item == row->item && again->is_wished) {
            return "awaited";
        }
    }
    return "none";
}

int guest_helpers_describe(const struct guest *guest, struct guest_helpers *list, struct err *err)
{
    int r = store_helpers_list(guest->all->env.store, guest->instance.id, &list->rows, &list->count,
                               err);

    if (r != 0) {
        return r;
    }
    list->helpers = calloc(list->count + 1, sizeof(*list->helpers));
    if (list->helpers == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct store_helper *row = &list->rows[i];

        list->helpers[i] = (struct msg_helper){.vdev = lend(row->vdev),
                                               .id = lend(row->path),
                                               .state = lend(state_of(guest, row)),
                                               .pid = row->pid};
    }
    return 0;
}

void guest_helpers_describe_end(struct guest_helpers *list)
{
    store_helpers_free(list->rows, list->count);
    free(list->helpers);
    *list = (struct guest_helpers){0};
}
