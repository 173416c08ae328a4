/* Helpers that an earlier qvmd made. */
#include "daemon/guest/helper_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/guest/helper.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

/* -ESRCH: it is gone, and its row says so. */
static int find(struct helper *helper, const struct store_helper *row, const char *boot_id,
                struct err *err)
{
    struct process_id id = {.pid = row->pid, .start_ticks = row->start_ticks};
    int r;

    helper->item = row->item;
    helper->is_writable = row->is_writable;
    (void)snprintf(helper->format, sizeof(helper->format), "%s", row->format);
    (void)snprintf(helper->vdev, sizeof(helper->vdev), "%s", row->vdev);
    helper->pid = row->pid;
    (void)snprintf(id.boot_id, sizeof(id.boot_id), "%s", boot_id);
    r = process_open(&id, &helper->pidfd, err);
    r = r == 0 ? helper_watch(helper, err) : r;
    if (r == -ESRCH && helper->guest != NULL && helper->item >= 0) {
        (void)store_helper_lose(helper->guests->env.store, helper->instance, row->pid, NULL);
    } else if (r == -ESRCH) {
        (void)store_helper_end(helper->guests->env.store, helper->instance, row->pid, NULL);
    }
    return r;
}

/* Those of a guest that may live go on, and those of dead instances (no guest) end. */
static void adopt(struct guests *guests, struct guest *guest, const struct store_helper *row)
{
    struct helper *helper = helper_make(guests, guest, row->instance, row->path);
    struct err err = {0};
    int r = helper != NULL ? find(helper, row, row->boot_id, &err)
                           : err_set(&err, -ENOMEM, "out of memory");

    if (r == 0 && guest == NULL) {
        helper_end(helper);
    }
    if (r == 0) {
        return;
    }
    if (r != -ESRCH) {
        log_error("adopt: cannot watch a helper pid=%d why=\"%s\"", row->pid, err.msg);
    } else if (guest != NULL) {
        helper_tell_lost(helper, "it has ended");
    }
    if (helper != NULL) {
        cleanup_close(&helper->pidfd);
        free(helper->name);
        free(helper);
    }
}

static void adopt_all(struct guests *guests, struct guest *guest)
{
    struct store_helper *rows = NULL;
    size_t count = 0;
    struct err err = {0};

    if (store_helpers_list(guests->env.store, guest != NULL ? guest->instance.id : 0, &rows, &count,
                           &err) < 0) {
        log_error("adopt: cannot read helpers why=\"%s\"", err.msg);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (rows[i].pid != 0) {
            adopt(guests, guest, &rows[i]);
        } else if (guest == NULL) {
            (void)store_helper_end(guests->env.store, rows[i].instance, 0, NULL);
        } /* else its qvm wishes for another one */
    }
    store_helpers_free(rows, count);
}

void guest_helpers_adopt(struct guest *guest)
{
    if (LIST_EMPTY(&guest->helpers)) { /* else found already: its qvm is looked for again */
        adopt_all(guest->all, guest);
    }
}

static int adopt_missed(struct guest *guest, const struct store_helper *row, struct helper **found,
                        struct err *err)
{
    struct helper *helper = helper_make(guest->all, guest, row->instance, row->path);
    int r = helper != NULL ? find(helper, row, row->boot_id, err)
                           : err_set(err, -ENOMEM, "out of memory");

    if (r == 0) {
        *found = helper;
    } else {
        helper_unmake(helper);
    }
    return r == -ESRCH ? 0 : r;
}

int helper_adopt_missed(struct guest *guest, int64_t item, struct helper **helper, struct err *err)
{
    struct store_helper *rows = NULL;
    size_t count = 0;
    int r = store_helpers_list(guest->all->env.store, guest->instance.id, &rows, &count, err);

    *helper = NULL;
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (rows[i].item == item && rows[i].pid != 0) {
            r = adopt_missed(guest, &rows[i], helper, err);
        }
    }
    store_helpers_free(rows, count);
    return r;
}

void guests_helpers_sweep(struct guests *guests)
{
    adopt_all(guests, NULL);
}
