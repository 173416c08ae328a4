/* Helpers that follow others while their guest runs.
 *
 * Its qvm wishes for one when it has lost the connection to the last, and says so again to each new
 * qvmd; so nothing is kept here that could not be forgotten. What the helper is to serve stands in
 * the row of the last one: the qvm names it by its number and nothing else, and the image or folder
 * has to be the one that was claimed. A guest may be able to end its helpers at will, so each one
 * waits longer than the one before, and the row of them has an end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/crash_point.h"
#include "daemon/guest/ask.h"
#include "daemon/guest/helper.h"
#include "daemon/guest/helper_inside.h"
#include "daemon/guest/policy.h"
#include "daemon/hand/hand.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#define OPEN_MS   10000
#define TRIES_MAX 10 /* in a row; the first waits for nothing */

/* Wishes of one guest: one for each that it can have at once, then one each GAP_MS. */
#define GAP_MS 20u

static const struct policy_rules rules = {POLICY_FIRST_MS, POLICY_MOST_MS, POLICY_RESET_MS};

static bool is_user(const struct again *again)
{
    return strncmp(again->row.path, ASK_USER, strlen(ASK_USER)) == 0;
}

const char *helper_again_path(const struct again *again)
{
    return again->row.format[0] != '\0' ? again->row.path : strchr(again->row.path, ':') + 1;
}

static struct again *find(const struct guest *guest, int64_t item)
{
    struct again *again;

    LIST_FOREACH(again, &guest->agains, link)
    {
        if (again->row.item == item) {
            return again;
        }
    }
    return NULL;
}

struct helper *helper_find(const struct guest *guest, int64_t item)
{
    struct helper *helper;

    LIST_FOREACH(helper, &guest->helpers, link)
    {
        if (helper->item == item) {
            return helper;
        }
    }
    return NULL;
}

static void answer(struct guest *guest, int64_t item, const int *fd)
{
    const struct msg_helper_given given = {.item = item};

    /* gone: who comes back wishes again */
    (void)worker_send(guest->worker, CONTROL_helper_given, &given, fd, fd != NULL, NULL);
}

/* ---- its end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct again *again = handle->data;

    free(again->row.path);
    free(again);
}

static void drop(struct again *again)
{
    struct err err = {0};

    (void)err_set(&err, -ECANCELED, "guest '%s' has ended, or its qvmd does", again->guest->name);
    helper_tell_asking(again, NULL, &err);
    LIST_REMOVE(again, link);
    if (again->hand != NULL) {
        hand_cancel(take_ptr(again->hand));
    }
    if (again->helper != NULL) {
        again->helper->again = NULL;
    }
    cleanup_close(&again->socket_fd);
    uv_close((uv_handle_t *)&again->timer, on_closed);
}

void guest_helpers_again_drop(struct guest *guest)
{
    struct again *again;

    while ((again = LIST_FIRST(&guest->agains)) != NULL) {
        drop(again);
    }
}

static void give_up(struct again *again, const char *why)
{
    struct guest *guest = again->guest;
    char text[STORE_MESSAGE_SIZE], command[GUEST_NAME_MAX + STORE_VDEV_SIZE + 64] = "";
    struct err err = {0};

    if (again->row.vdev[0] != '\0') {
        (void)snprintf(command, sizeof(command), " one is asked for (qvmctl helper %s %s) or",
                       guest->name, again->row.vdev);
    }
    (void)snprintf(text, sizeof(text),
                   "there is no other helper for '%s', until%s the guest is started anew: %s",
                   helper_again_path(again), command, why);
    log_warn("guest: helper lost guest=%s why=\"%s\"", guest->name, text);
    guest_tell(guest, WHAT_helper_lost, text, 0);
    answer(guest, again->row.item, NULL);
    again->is_wished = false;
    again->is_over = true;
    (void)err_set(&err, -EIO, "there is no other helper for '%s': %s", helper_again_path(again),
                  why);
    helper_tell_asking(again, NULL, &err);
}

/* ---- the next one ---- */

static void start_later(struct again *again);

/* Whether it may be otherwise the next time. */
static bool may_pass(const struct err *why)
{
    static const int codes[] = {-EBUSY,  -EAGAIN, -ETIMEDOUT, -ENOMEM, -EMFILE,
                                -ENFILE, -EROFS,  -EIO,       -ENOSPC, -ESRCH,
                                -EINTR,  -ECHILD, -ESTALE,    -EPIPE,  -ECONNRESET};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (codes[i] == why->code) {
            return true;
        }
    }
    return false;
}

static void fail(struct again *again, const struct err *why)
{
    log_info("guest: no helper yet guest=%s why=\"%s\"", again->guest->name, why->msg);
    if (!may_pass(why) || again->tries >= TRIES_MAX) {
        give_up(again, why->msg);
    } else {
        struct err err = {0};

        start_later(again);
        (void)err_set(&err, -EAGAIN, "no other helper for '%s' yet: %s; it is tried again",
                      helper_again_path(again), why->msg);
        helper_tell_asking(again, NULL, &err);
    }
}

static void begin(struct again *again, int *source_fd)
{
    struct guest *guest = again->guest;
    struct helper *helper = helper_make(guest->all, guest, guest->instance.id, again->row.path);
    struct err err = {0};
    int r = -ENOMEM;

    if (helper != NULL) {
        helper->item = again->row.item;
        helper->is_writable = again->row.is_writable;
        (void)snprintf(helper->format, sizeof(helper->format), "%s", again->row.format);
        (void)snprintf(helper->vdev, sizeof(helper->vdev), "%s", again->row.vdev);
        helper->again = again;
        again->helper = helper;
        r = helper_begin(helper, source_fd, &again->socket_fd, &err);
    } else {
        (void)err_set(&err, r, "out of memory");
    }
    if (r != 0) {
        again->helper = NULL;
        cleanup_close(&again->socket_fd);
        fail(again, &err);
    }
}

/* Whether it was opened as the file that this very item claimed: a guest has other images, and what
 * it wrote last to this one is written again. Readers of one file, and folders, may have claimed it
 * together, by one name of several. */
static bool is_of_claim(const struct again *again, const char *identity,
                        const struct reserve_held *held, size_t count)
{
    bool is_alone = again->row.format[0] != '\0' && again->row.is_writable;
    bool is_named = false, is_shared = false;

    for (size_t i = 0; i < count; i++) {
        bool is_it = strcmp(held[i].id, identity) == 0;

        if (held[i].kind != RESOURCE_helper) {
            continue;
        }
        if (held[i].name != NULL && strcmp(held[i].name, helper_again_path(again)) == 0) {
            if (is_it && held[i].is_exclusive == is_alone) {
                return true;
            }
            is_named = true;
        }
        is_shared = is_shared || (is_it && !held[i].is_exclusive);
    }
    return is_shared && !is_named && !is_alone;
}

static int check_claim(const struct again *again, const char *identity, struct err *err)
{
    const struct guest *guest = again->guest;
    struct reserve_held *held = NULL;
    size_t count = 0;
    bool is_same;
    int r = reserve_list(guest->all->env.store, guest->instance.id, &held, &count, err);

    if (r < 0) {
        return r;
    }
    is_same = is_of_claim(again, identity, held, count);
    reserve_held_free(held, count);
    return is_same ? 0 : err_set(err, -EINVAL, "it is another one than it was");
}

static void on_opened(void *data, struct hand_result *result)
{
    struct again *again = data;
    struct err err = result->err;

    crash_point("files of a helper opened");
    again->hand = NULL;
    if (err.code == 0 && result->files[0].is_kept) {
        (void)err_set(&err, -EINVAL, "it lies on another file system than it did");
    }
    if (err.code != 0 || check_claim(again, result->files[0].id, &err) != 0) {
        fail(again, &err);
    } else {
        begin(again, &result->files[0].fd);
    }
}

static void start(struct again *again)
{
    struct guest *guest = again->guest;
    const struct hand_file file = {.path = helper_again_path(again),
                                   .is_readable = true,
                                   .is_writable = again->row.is_writable,
                                   .is_folder = again->row.format[0] == '\0'};
    struct helper *missed = NULL;
    struct err err = {0};
    int none = -1, r;

    again->begun_ms = uv_now(guest->all->env.loop);
    again->tries++;
    r = helper_adopt_missed(guest, again->row.item, &missed, &err);
    if (r == 0 && missed != NULL) {
        (void)process_signal(missed->pidfd, SIGKILL, NULL); /* its end brings the next one */
    } else if (r == 0 && is_user(again)) {
        begin(again, &none);
    } else if (r == 0) {
        r = hand_open_files(guest->all->env.hands, guest->owner, &file, 1, OPEN_MS, on_opened,
                            again, &again->hand, &err);
    }
    if (r < 0) {
        fail(again, &err);
    }
}

static void on_due(uv_timer_t *timer)
{
    struct again *again = timer->data;

    again->is_timed = false;
    start(again);
}

static void start_later(struct again *again)
{
    int64_t wait_ms = again->tries == 0 ? 0 : policy_wait_ms(&rules, again->tries);

    again->is_timed = true;
    (void)uv_timer_start(&again->timer, on_due, (uint64_t)wait_ms, 0); /* cannot fail */
}

/* ---- what becomes of it ---- */

void helper_again_serves(struct helper *helper)
{
    struct again *again = take_ptr(helper->again);
    struct guest *guest = again->guest;
    char text[STORE_MESSAGE_SIZE];

    again->helper = NULL;
    again->is_wished = false;
    answer(guest, again->row.item, &again->socket_fd);
    crash_point("helper passed on");
    cleanup_close(&again->socket_fd);
    (void)snprintf(text, sizeof(text), "'%s' has another helper (pid %d)", helper->path,
                   helper->pid);
    log_info("guest: helper again guest=%s why=\"%s\"", guest->name, text);
    guest_tell(guest, WHAT_helper_again, text, 0);
    helper_tell_asking(again, text, NULL);
}

void helper_again_failed(struct helper *helper, const struct err *why)
{
    struct again *again = take_ptr(helper->again);
    struct err passing = *why;

    /* what it said may be about what will pass */
    passing.code = -EAGAIN;
    again->helper = NULL;
    cleanup_close(&again->socket_fd);
    fail(again, &passing);
}

bool helper_again_is_wished(const struct guest *guest, int64_t item)
{
    const struct again *again = find(guest, item);

    return again != NULL && again->is_wished;
}

void helper_again_gone(struct guest *guest, int64_t item)
{
    struct again *again = find(guest, item);

    if (again != NULL && again->is_wished) {
        start_later(again);
    }
}

/* ---- the wish ---- */

static struct again *make(struct guest *guest, const struct store_helper *row)
{
    struct again *again = calloc(1, sizeof(*again));

    if (again == NULL || (again->row.path = strdup(row->path)) == NULL) {
        free(again);
        return NULL;
    }
    again->guest = guest;
    again->row.item = row->item;
    again->row.is_writable = row->is_writable;
    (void)snprintf(again->row.format, sizeof(again->row.format), "%s", row->format);
    (void)snprintf(again->row.vdev, sizeof(again->row.vdev), "%s", row->vdev);
    LIST_INIT(&again->askings);
    again->socket_fd = -1;
    (void)uv_timer_init(guest->all->env.loop, &again->timer); /* cannot fail */
    again->timer.data = again;
    LIST_INSERT_HEAD(&guest->agains, again, link);
    return again;
}

/* From its row; NULL: it had none, or nobody remembers what it served. */
static struct again *remember(struct guest *guest, int64_t item)
{
    struct store_helper *rows = NULL;
    struct again *again = NULL;
    size_t count = 0;

    if (store_helpers_list(guest->all->env.store, guest->instance.id, &rows, &count, NULL) < 0) {
        return NULL;
    }
    for (size_t i = 0; i < count && again == NULL; i++) {
        again = rows[i].item == item ? make(guest, &rows[i]) : NULL;
    }
    store_helpers_free(rows, count);
    return again;
}

struct again *helper_again_of(struct guest *guest, int64_t item)
{
    struct again *again = find(guest, item);

    return again != NULL ? again : remember(guest, item);
}

static bool is_on_way(const struct again *again)
{
    return again->hand != NULL || again->helper != NULL || again->is_timed;
}

void helper_again_now(struct again *again)
{
    if (again->hand != NULL || again->helper != NULL) {
        return;
    }
    again->is_over = false;
    again->is_wished = true; /* if its qvm has not said so, it will take it all the same */
    again->tries = 0;
    start_later(again);
}

void guest_on_helper_wish(struct guest *guest, const struct msg_helper_wish *wish)
{
    struct again *again = find(guest, wish->item);
    struct helper *helper;

    if (guest->state == STATE_starting || !guest->was_granted || guest->ask != NULL) {
        log_debug("guest: its qvm wishes at the wrong time guest=%s", guest->name);
        return;
    }
    if (again != NULL && is_on_way(again)) {
        again->is_wished = true;
        return;
    }
    if (!pace_take(&guest->wishes, uv_now(guest->all->env.loop), GUEST_ASK_MAX, GAP_MS)) {
        log_debug("guest: its qvm wishes too often guest=%s", guest->name);
        return;
    }
    again = helper_again_of(guest, wish->item);
    if (again == NULL || again->is_over) {
        answer(guest, wish->item, NULL);
        return;
    }
    again->is_wished = true;
    if (uv_now(guest->all->env.loop) - again->begun_ms >= (uint64_t)rules.reset_ms) {
        again->tries = 0;
    }
    crash_point("helper wished for");
    helper = helper_find(guest, wish->item);
    if (again->tries >= TRIES_MAX) {
        give_up(again, "too many have ended");
    } else if (helper == NULL) {
        start_later(again);
    } else if (helper->is_over) {
        helper_tell_now(helper);
        start_later(again);
    } else { /* it is of no use to anybody; its end brings the next one */
        (void)process_signal(helper->pidfd, SIGKILL, NULL);
    }
}
