#include "daemon/guest/guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/guest/cable.h"
#include "daemon/guest/device.h"
#include "daemon/guest/dma_watch.h"
#include "daemon/guest/exit_watch.h"
#include "daemon/guest/helper.h"
#include "daemon/guest/inside.h"
#include "daemon/guest/many.h"
#include "daemon/host/clock.h"
#include "daemon/host/users.h"
#include "daemon/worker/feed.h"
#include "daemon/worker/spare.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"
#include "proto/console.h"
#include "proto/settings.h"

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

uid_t guest_owner(const struct guest *guest)
{
    return guest->owner;
}

const char *guest_definition(const struct guest *guest)
{
    return guest->definition;
}

const struct msg_settings *guest_settings(const struct guest *guest)
{
    return &guest->settings;
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
        .devices = is_live ? guest->devices : 0,
        .cpus = is_live && guest->own_cpus_text[0] != '\0' ? lend(guest->own_cpus_text) : NULL,
        .started = last->id != 0 ? times->started : NULL,
        .ended = times->ended[0] != '\0' ? times->ended : NULL,
        .reboots = is_live ? last->reboots : 0,
        .last_reset = is_live && last->reboots > 0 && guest->last_reset[0] != '\0'
                          ? lend(guest->last_reset)
                          : NULL,
        .restarts = last->restarts,
        .tries = last->tries,
        .restart = guest->settings.restart,
        .enabled = guest->settings.enabled,
        .generation = guest->generation,
        .owner = lend(guest->owner_name),
        .owner_uid = guest->owner,
    };
    if (is_live && clock_parse(last->started, &started_ns) == 0) {
        int64_t now_ns = clock_real_ns();

        info->uptime_ms = now_ns > started_ns ? (now_ns - started_ns) / 1000000 : 0;
    }
    if (guest->state == STATE_backoff) {
        int64_t left_ns = guest_retry_left_ms(guest) * 1000000;

        info->next_start = clock_text(clock_real_ns() + left_ns, times->next_start);
    }
    if (!is_live) {
        info->reason = (int)last->reason;
        info->message = last->message[0] != '\0' ? lend(last->message) : NULL;
        info->exit_status = last->exit_status > 0 ? last->exit_status : 0;
    }
}

/* ---- definitions ---- */

/* As they were written; what cannot be read is as for a new guest. */
static void read_settings(struct guest *guest, const char *text)
{
    struct err err = {0};

    if (text == NULL || text[0] == '\0' ||
        msg_decode(MSG_settings, text, strlen(text), false, &guest->settings, &err) < 0) {
        settings_init(&guest->settings);
    }
    if (err.code != 0) {
        log_error("guest: settings not read guest=%s why=\"%s\"", guest->name, err.msg);
    }
}

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
    read_settings(guest, row->settings);
    guest->owner = row->owner;
    users_name(row->owner, guest->owner_name);
    guest->generation = row->generation;
    guest->desired = row->desired;
    guest->state = STATE_defined;
    guest->dir_fd = guest->cgroup_fd = -1;
    LIST_INIT(&guest->waiters);
    LIST_INIT(&guest->queries);
    LIST_INIT(&guest->acts);
    LIST_INIT(&guest->dumpings);
    LIST_INIT(&guest->readers);
    guest_logs_init(guest);
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

    msg_fini(MSG_settings, &guest->settings);
    free(guest->definition);
    free(guest);
}

void guest_forget(struct guest *guest, int code, const char *why)
{
    guest->is_gone = true;
    guest_wake_all(guest, code, why);
    guest_readers_fail(guest, code, why);
    guest_queries_fail(guest);
    guest_acts_fail(guest, code, why);
    guest_dumps_fail(guest, code, why);
    guest_ask_drop(guest);
    guest_connect_drop(guest);
    guest_helpers_drop(guest);
    worker_destroy(take_ptr(guest->worker));
    feed_destroy(take_ptr(guest->feed));
    console_ring_unmap(take_ptr(guest->ring));
    guest_figures_destroy(guest->all, take_ptr(guest->figures), guest->is_wary);
    cleanup_close(&guest->dir_fd);
    cleanup_close(&guest->cgroup_fd);
    TAILQ_REMOVE(&guest->all->list, guest, link);
    guest->all->count--;
    uv_close((uv_handle_t *)&guest->timer, on_timer_closed);
}

/* ---- all of them ---- */

static void on_reconcile(uv_timer_t *timer)
{
    guests_reconcile(timer->data);
}

static void on_record_time(uv_timer_t *timer)
{
    guests_bound_records(timer->data);
}

static void on_record(void *context)
{
    struct guests *guests = context;

    if (uv_is_active((uv_handle_t *)&guests->record_timer) == 0) {
        (void)uv_timer_start(&guests->record_timer, on_record_time, GUEST_RECORD_MS, 0);
    }
}

static void start_timers(struct guests *guests)
{
    (void)uv_timer_init(guests->env.loop, &guests->reconcile);     /* cannot fail */
    (void)uv_timer_init(guests->env.loop, &guests->record_timer);  /* cannot fail */
    (void)uv_timer_init(guests->env.loop, &guests->leave_timer);   /* cannot fail */
    (void)uv_timer_init(guests->env.loop, &guests->shmem_timer);   /* cannot fail */
    (void)uv_timer_init(guests->env.loop, &guests->program_timer); /* cannot fail */
    guests->reconcile.data = guests->record_timer.data = guests;
    guests->leave_timer.data = guests->shmem_timer.data = guests->program_timer.data = guests;
    guests->open_timers = 5;
    (void)uv_timer_start(&guests->reconcile, on_reconcile, GUEST_RECONCILE_MS, GUEST_RECONCILE_MS);
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
    guests->last_act = clock_real_ns();
    TAILQ_INIT(&guests->list);
    TAILQ_INIT(&guests->programs);
    LIST_INIT(&guests->releases);
    LIST_INIT(&guests->manys);
    LIST_INIT(&guests->cables);
    LIST_INIT(&guests->all_leavers);
    r = process_boot_id(guests->boot_id, err);
    if (r == 0) {
        r = guests_drain_read(guests, err);
    }
    if (r == 0) {
        r = store_guest_list(env->store, &rows, &count, err);
    }
    if (r == 0) {
        r = exit_watch_create(env->loop, on_record, guests, &guests->exit_watch, err);
    }
    if (r == 0) {
        r = guests_make_spares(guests, err);
    }
    if (r < 0) {
        store_guests_free(rows, count);
        exit_watch_destroy(guests->exit_watch);
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
    many_abandon_all(guests);
    guests_shmem_destroy(guests);
    while ((guest = TAILQ_FIRST(&guests->list)) != NULL) {
        guest_forget(guest, -ECANCELED, "qvmd is ending; guests go on without it");
    }
    guests_cables_close(guests);
    guests_helpers_drop(guests);
    guest_release_drop_all(guests);
    guests_devices_sweep_end(guests);
    guests_device_clear_end(guests);
    dma_watch_destroy(take_ptr(guests->dma_watch));
    guests_leave_now(guests); /* which asks whose group it is */
    spares_destroy(take_ptr(guests->spares));
    uv_close((uv_handle_t *)&guests->reconcile, on_closed);
    exit_watch_destroy(take_ptr(guests->exit_watch));
    uv_close((uv_handle_t *)&guests->record_timer, on_closed);
    uv_close((uv_handle_t *)&guests->leave_timer, on_closed);
    uv_close((uv_handle_t *)&guests->shmem_timer, on_closed);
    uv_close((uv_handle_t *)&guests->program_timer, on_closed);
}
