#include "daemon/guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/events.h"
#include "daemon/guest_inside.h"
#include "daemon/host/clock.h"
#include "daemon/instance_dir.h"
#include "daemon/lend.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "proto/console.h"

struct guest *guest_find(const struct guests *guests, const char *name)
{
    struct guest *guest;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if (strcmp(guest->name, name) == 0) {
            return guest;
        }
    }
    return NULL;
}

struct guest *guest_next(const struct guests *guests, const struct guest *guest)
{
    return guest == NULL ? TAILQ_FIRST(&guests->list) : TAILQ_NEXT(guest, link);
}

size_t guests_count(const struct guests *guests)
{
    return guests->count;
}

size_t guests_live_count(const struct guests *guests)
{
    const struct guest *guest;
    size_t count = 0;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        count += state_has_process(guest->state);
    }
    return count;
}

const char *guest_name(const struct guest *guest)
{
    return guest->name;
}

const char *guest_definition(const struct guest *guest)
{
    return guest->definition;
}

int64_t guest_instance(const struct guest *guest)
{
    return guest->instance.id;
}

int guest_check_caller(const struct guest *guest, const struct guest_caller *caller,
                       struct err *err)
{
    if (!caller->is_admin && caller->uid != guest->owner) {
        return err_set(err, -EPERM, "guest '%s' belongs to user '%s'", guest->name,
                       guest->owner_name);
    }
    return 0;
}

void guest_describe(const struct guest *guest, struct guest_times *times, struct msg_guest *info)
{
    const struct store_instance *last = &guest->instance;
    bool is_live = state_has_process(guest->state);
    int64_t started_ns = 0;

    (void)snprintf(times->started, sizeof(times->started), "%s", last->started);
    (void)snprintf(times->ended, sizeof(times->ended), "%s", is_live ? "" : last->ended);
    *info = (struct msg_guest){
        .name = lend(guest->name),
        .state = (int)guest->state,
        .desired = (int)guest->desired,
        .instance = last->id,
        .pid = is_live ? last->pid : 0,
        .vcpus = is_live ? guest->vcpus : 0,
        .memory = is_live ? guest->memory : 0,
        .started = last->id != 0 ? times->started : NULL,
        .ended = times->ended[0] != '\0' ? times->ended : NULL,
        .reboots = is_live ? last->reboots : 0,
        .restarts = last->restarts,
        .generation = guest->generation,
        .owner = lend(guest->owner_name),
        .owner_uid = guest->owner,
    };
    if (is_live && clock_parse(last->started, &started_ns) == 0) {
        int64_t now_ns = clock_real_ns();

        info->uptime_ms = now_ns > started_ns ? (now_ns - started_ns) / 1000000 : 0;
    }
    if (!is_live) {
        info->reason = (int)last->reason;
        info->message = last->message[0] != '\0' ? lend(last->message) : NULL;
        info->exit_status = last->exit_status > 0 ? last->exit_status : 0;
    }
}

/* ---- definitions ---- */

struct guest *guest_insert(struct guests *guests, const struct store_guest *row)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    struct guest *after;

    if (guest == NULL || (guest->definition = strdup(row->definition)) == NULL) {
        free(guest);
        return NULL;
    }
    guest->all = guests;
    (void)snprintf(guest->name, sizeof(guest->name), "%s", row->name);
    guest->owner = row->owner;
    peer_user_name(row->owner, guest->owner_name);
    guest->generation = row->generation;
    guest->desired = row->desired;
    guest->state = STATE_defined;
    guest->dir_fd = -1;
    LIST_INIT(&guest->waiters);
    LIST_INIT(&guest->queries);
    (void)uv_timer_init(guests->env.loop, &guest->timer); /* cannot fail */
    guest->timer.data = guest;
    TAILQ_FOREACH(after, &guests->list, link)
    {
        if (strcmp(after->name, guest->name) > 0) {
            break;
        }
    }
    if (after != NULL) {
        TAILQ_INSERT_BEFORE(after, guest, link);
    } else {
        TAILQ_INSERT_TAIL(&guests->list, guest, link);
    }
    guests->count++;
    return guest;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct guest *guest = handle->data;

    free(guest->definition);
    free(guest);
}

/* Take it out of memory; its process, if it has one, lives on. */
static void guest_forget(struct guest *guest, int code, const char *why)
{
    guest->is_gone = true;
    guest_wake_all(guest, code, why);
    guest_queries_fail(guest);
    guest_ask_drop(guest);
    worker_destroy(take_ptr(guest->worker));
    console_ring_unmap(take_ptr(guest->ring));
    cleanup_close(&guest->dir_fd);
    TAILQ_REMOVE(&guest->all->list, guest, link);
    guest->all->count--;
    uv_close((uv_handle_t *)&guest->timer, on_timer_closed);
}

/* Write the row and the event of a definition; `*generation` is that of the row. */
static int write_definition(struct guests *guests, const struct store_guest *row,
                            enum guest_define_for purpose, int64_t *generation, struct err *err)
{
    struct store *store = guests->env.store;
    auto_tx struct store_tx tx = {0};
    struct msg_event event = {.what = lend("defined"), .guest = lend(row->name), .uid = row->owner};
    char time[EVENTS_TIME_SIZE];
    int r = purpose == GUEST_DEFINE_TO_START ? store_begin_light(store, &tx, err)
                                             : store_begin(store, &tx, err);

    if (r == 0) {
        r = store_guest_put(store, row, generation, err);
    }
    if (r == 0) {
        r = events_write(guests->env.events, &event, time, err);
    }
    if (r == 0) {
        r = store_commit(&tx, err);
    }
    if (r == 0) {
        events_publish(guests->env.events, &event);
    }
    return r;
}

static int define_new(struct guests *guests, struct store_guest *row, enum guest_define_for purpose,
                      struct guest **guest, struct err *err)
{
    int r;

    if (guests->count >= guests->env.guests_max) {
        return err_set(err, -EAGAIN, "%zu guests are defined, and that is the most there may be",
                       guests->count);
    }
    r = write_definition(guests, row, purpose, &row->generation, err);
    if (r < 0) {
        return r;
    }
    *guest = guest_insert(guests, row);
    return *guest != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int define_again(struct guest *guest, struct store_guest *row, enum guest_define_for purpose,
                        const char **note, struct err *err)
{
    char *definition;
    int r;

    if (strcmp(guest->definition, row->definition) == 0) {
        *note = "it was defined so already";
        return 0;
    }
    if (state_has_process(guest->state)) {
        return err_set(err, -EALREADY, "guest '%s' is %s, with another definition; stop it first",
                       guest->name, words_name(&words_state, (int)guest->state));
    }
    definition = strdup(row->definition);
    if (definition == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = write_definition(guest->all, row, purpose, &row->generation, err);
    if (r < 0) {
        free(definition);
        return r;
    }
    free(guest->definition);
    guest->definition = definition;
    guest->generation = row->generation;
    return 0;
}

int guest_define(struct guests *guests, const char *name, const struct msg_definition *definition,
                 enum guest_define_for purpose, const struct guest_caller *caller,
                 struct guest **result, const char **note, struct err *err)
{
    struct store_guest row = {.owner = caller->uid, .desired = STATE_stopped, .policy = POLICY_no};
    auto_free char *text = msg_encode(MSG_definition, definition);
    struct guest *guest = guest_find(guests, name);
    int r;

    if (text == NULL) {
        return err_set(err, -EINVAL, "the definition holds text that is not UTF-8");
    }
    row.definition = text;
    (void)snprintf(row.name, sizeof(row.name), "%s", name);
    if (guest == NULL) {
        return define_new(guests, &row, purpose, result, err);
    }
    if (guest_check_caller(guest, caller, NULL) < 0) {
        return err_set(err, -EEXIST, "there is a guest '%s' already; it belongs to user '%s'", name,
                       guest->owner_name);
    }
    row.owner = guest->owner; /* an admin may define it anew, and does not take it away */
    r = define_again(guest, &row, purpose, note, err);
    if (r == 0) {
        *result = guest;
    }
    return r;
}

int guest_undefine(struct guest *guest, const struct guest_caller *caller, struct err *err)
{
    struct guests *guests = guest->all;
    auto_tx struct store_tx tx = {0};
    struct msg_event event = {.what = lend("undefined"), .guest = guest->name, .uid = caller->uid};
    char time[EVENTS_TIME_SIZE];
    int r;

    if (state_has_process(guest->state)) {
        return err_set(err, -EALREADY, "guest '%s' is %s; stop it first", guest->name,
                       words_name(&words_state, (int)guest->state));
    }
    r = store_begin(guests->env.store, &tx, err);
    if (r == 0) {
        r = store_guest_delete(guests->env.store, guest->name, err);
    }
    if (r == 0) {
        r = events_write(guests->env.events, &event, time, err);
    }
    if (r == 0) {
        r = store_commit(&tx, err);
    }
    if (r < 0) {
        return r;
    }
    events_publish(guests->env.events, &event);
    instance_log_remove(guests->env.log_fd, guest->name);
    guest_forget(guest, -ENOENT, "the guest was undefined");
    return 0;
}

/* ---- all of them ---- */

static void on_reconcile(uv_timer_t *timer)
{
    guests_reconcile(timer->data);
}

static void on_log_time(uv_timer_t *timer)
{
    guests_bound_logs(timer->data);
}

static void start_timers(struct guests *guests)
{
    (void)uv_timer_init(guests->env.loop, &guests->reconcile); /* cannot fail */
    (void)uv_timer_init(guests->env.loop, &guests->log_timer); /* cannot fail */
    guests->reconcile.data = guests->log_timer.data = guests;
    guests->open_timers = 2;
    (void)uv_timer_start(&guests->reconcile, on_reconcile, GUEST_RECONCILE_MS, GUEST_RECONCILE_MS);
    (void)uv_timer_start(&guests->log_timer, on_log_time, GUEST_LOG_MS, GUEST_LOG_MS);
}

int guests_create(const struct guests_env *env, struct guests **result, struct err *err)
{
    struct guests *guests = calloc(1, sizeof(*guests));
    struct store_guest *rows = NULL;
    size_t count = 0;
    int r;

    if (guests == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    guests->env = *env;
    TAILQ_INIT(&guests->list);
    LIST_INIT(&guests->releases);
    r = process_boot_id(guests->boot_id, err);
    if (r == 0) {
        r = store_guest_list(env->store, &rows, &count, err);
    }
    if (r < 0) {
        free(guests);
        return r;
    }
    start_timers(guests);
    for (size_t i = 0; i < count; i++) {
        if (guest_insert(guests, &rows[i]) == NULL) {
            log_error("guest: no memory for guest=%s", rows[i].name);
        }
    }
    store_guests_free(rows, count);
    *result = guests;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct guests *guests = handle->data;

    guests->open_timers--;
    if (guests->open_timers == 0) {
        free(guests);
    }
}

void guests_destroy(struct guests *guests)
{
    struct guest *guest;

    if (guests == NULL) {
        return;
    }
    while ((guest = TAILQ_FIRST(&guests->list)) != NULL) {
        guest_forget(guest, -ECANCELED, "qvmd is ending; guests go on without it");
    }
    guest_release_drop_all(guests);
    uv_close((uv_handle_t *)&guests->reconcile, on_closed);
    uv_close((uv_handle_t *)&guests->log_timer, on_closed);
}
