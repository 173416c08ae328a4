/* Finding again what an earlier qvmd left running, and putting away what is over.
 *
 * The store says what there should be, the kernel says what there is. A process is ours only if
 * its pid, start time and boot id are those that were written down; then it is spoken to, and
 * whatever it answers or does not, it is not killed for it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/guest/device.h"
#include "daemon/guest/events.h"
#include "daemon/guest/exit_watch.h"
#include "daemon/guest/helper.h"
#include "daemon/guest/inside.h"
#include "daemon/worker/instance_dir.h"
#include "daemon/worker/spare.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"

#define STRAYS_MS 500 /* after which those that nobody knows are looked at again */

/* Over without anybody to bury: after another boot, or never born. */
static void end_without_process(struct guest *guest, enum guest_reason reason, const char *message)
{
    struct life_step step = {.reason = reason, .message = message, .exit_status = -1};
    char words[STORE_MESSAGE_SIZE];
    struct err err = {0};

    guest_judge(guest, &step, words);
    guest_release(guest->all, guest->name, guest->owner, guest->instance.id);
    if (guest_life(guest, &step, &err) < 0) {
        log_error("adopt: guest=%s why=\"%s\"", guest->name, err.msg);
    }
}

/* What its instance holds, for those who look; and whether it was granted anything: claims are
 * written before the grant is sent. */
static void count_claims(struct guest *guest)
{
    struct reserve_held *held = NULL;
    cpu_set_t own;
    size_t count = 0;

    if (reserve_list(guest->all->env.store, guest->instance.id, &held, &count, NULL) < 0) {
        return; /* shown as unknown */
    }
    guest->was_granted = count > 0 || guest->state != STATE_starting;
    guest->memory = guest->vcpus = guest->devices = 0;
    CPU_ZERO(&own);
    for (size_t i = 0; i < count; i++) {
        if (held[i].kind == RESOURCE_memory) {
            guest->memory += held[i].amount;
        } else if (held[i].kind == RESOURCE_cpu) {
            guest->vcpus += held[i].amount;
        } else if (held[i].kind == RESOURCE_device) {
            guest->devices++;
        } else if (held[i].kind == RESOURCE_hostcpu && reserve_cpu_of(held[i].id) >= 0) {
            CPU_SET((size_t)reserve_cpu_of(held[i].id), &own);
        }
    }
    guest_know_cpus(guest, &own);
    guest_shmem_adopt(guest, held, count);
    reserve_held_free(held, count);
}

static int watch(struct guest *guest, struct err *err)
{
    const struct guests *guests = guest->all;
    const struct store_instance *last = &guest->instance;
    struct process_id id = {.pid = last->pid, .start_ticks = last->start_ticks};
    struct worker_identity identity = {
        .pid = last->pid, .instance = last->id, .nonce = last->nonce};
    auto_close int pidfd = -1;
    int r;

    (void)snprintf(id.boot_id, sizeof(id.boot_id), "%s", last->boot_id);
    cleanup_close(&guest->dir_fd);
    /* Without its directory it cannot be spoken to, but its process counts all the same. */
    if (instance_dir_open(guests->env.run_fd, guest->name, last->id, &guest->dir_fd, NULL) == 0) {
        exit_watch_add(guests->exit_watch, guest->dir_fd);
    }
    guest_cgroup_find(guest);
    r = process_open(&id, &pidfd, err);
    if (r < 0) {
        return r;
    }
    r = worker_create(guests->env.loop, &identity, pidfd, -1, guest->dir_fd, &guest_worker_hooks,
                      guest, &guest->worker, err);
    if (r == 0) {
        (void)take_fd(&pidfd); /* the worker's by now */
        if (instance_dir_is_kept(guest->dir_fd)) {
            guest_be_wary(guest);
        }
    }
    return r;
}

static void adopt(struct guest *guest)
{
    struct err err = {0};
    int r;

    if (strcmp(guest->instance.boot_id, guest->all->boot_id) != 0) {
        end_without_process(guest, REASON_host_shutdown, "the host was restarted");
        return;
    }
    if (guest->instance.pid <= 0) {
        end_without_process(guest, REASON_unknown, "qvmd ended before the guest had a process");
        return;
    }
    count_claims(guest);
    guest->is_shot = guest->instance.reason == REASON_killed;
    guest_helpers_adopt(guest);
    r = watch(guest, &err);
    if (r == -ESRCH) {
        guest_bury(guest, NULL);
    } else if (r < 0) {
        log_error("adopt: cannot watch guest=%s pid=%d why=\"%s\"", guest->name,
                  guest->instance.pid, err.msg);
        (void)guest_life(guest, &(struct life_step){.event = EVENT_lose}, NULL);
    } else if (guest->is_shot) {
        guest_shoot(guest); /* an earlier qvmd was about to */
    } else {
        worker_connect(guest->worker);
        guest_force_later(guest);
    }
}

/* Whose store was lost: what is kept beside it is written into the new one. */
static int rebuild(struct guests *guests, const char *dir_name, bool only_alive, struct err *err)
{
    struct guest *guest = NULL;
    int r = guest_rebuild(guests, dir_name, only_alive, &guest, err);

    if (r == 0) {
        log_warn("adopt: the store did not know it, and does now instance=%s pid=%d", dir_name,
                 guest->instance.pid);
        adopt(guest);
    }
    return r;
}

/* Where nothing is kept, it runs on all the same, and can be found where it listens. */
static int is_stray(struct guests *guests, const char *dir_name)
{
    struct err err = {0};
    pid_t pid = 0;
    int r = rebuild(guests, dir_name, false, &err);

    if (r == 0) {
        return 1;
    }
    if (r == -EROFS) {
        guests->has_strays = true;
        return 1; /* what it says may be needed when the store can be written */
    }
    if (!instance_dir_is_alive(guests->env.run_fd, dir_name, &pid)) {
        return 0;
    }
    log_warn("adopt: left alone, the store does not know it instance=%s pid=%d why=\"%s\"",
             dir_name, pid, err.msg);
    guests->has_strays = true;
    return 1;
}

static bool is_known(const struct guests *guests, const char *dir_name)
{
    const struct guest *guest;
    char name[INSTANCE_DIR_NAME_SIZE];

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if (state_has_process(guest->state) &&
            strcmp(instance_dir_name(guest->name, guest->instance.id, name), dir_name) == 0) {
            return true;
        }
    }
    return false;
}

static int keep_all_find_alive(void *context, const char *dir_name)
{
    if (!is_known(context, dir_name)) {
        (void)rebuild(context, dir_name, true, NULL);
    }
    return 1;
}

static int is_needed(void *context, const char *dir_name)
{
    return is_known(context, dir_name) || is_stray(context, dir_name);
}

/* The living first: an earlier instance of the same guest must not stand in the way of a later. */
static void sweep(struct guests *guests)
{
    guests->has_strays = false;
    instance_dir_sweep(guests->env.run_fd, keep_all_find_alive, guests);
    instance_dir_sweep(guests->env.run_fd, is_needed, guests);
}

/* Ended instances that have not let go of everything yet. */
static void release_the_dead(struct guests *guests)
{
    struct store_instance *instances = NULL;
    size_t count = 0;
    struct err err = {0};

    if (store_instances_holding(guests->env.store, &instances, &count, &err) < 0) {
        log_error("adopt: cannot read who holds what why=\"%s\"", err.msg);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct guest *guest = guest_find(guests, instances[i].guest);

        guest_release(guests, instances[i].guest, guest != NULL ? guest->owner : 0,
                      instances[i].id);
    }
    free(instances);
}

void guests_tell_of_store(struct guests *guests)
{
    char text[STORE_MESSAGE_SIZE];

    if (store_take_notice(guests->env.store, text) != NULL) {
        struct msg_event event = {.what = events_what(WHAT_store), .message = text};

        log_error("store: %s", text);
        events_tell(guests->env.events, &event);
    }
}

static void on_soon(uv_timer_t *timer)
{
    guests_reconcile(timer->data);
}

void guests_adopt(struct guests *guests)
{
    struct guest *guest;
    struct err err = {0};

    guests_tell_of_store(guests);
    release_the_dead(guests);
    guests_helpers_sweep(guests);
    TAILQ_FOREACH(guest, &guests->list, link)
    {
        int r = store_instance_last(guests->env.store, guest->name, &guest->instance, &err);

        if (r < 0) {
            guest->instance = (struct store_instance){0};
            if (r != -ENOENT) {
                log_error("adopt: cannot read guest=%s why=\"%s\"", guest->name, err.msg);
            }
            continue;
        }
        guest->state = guest->instance.state;
        if (state_has_process(guest->state)) {
            adopt(guest);
        } else if (guest->state == STATE_backoff) {
            guest_retry_adopt(guest);
        }
    }
    sweep(guests);
    guests_cgroup_sweep(guests);
    guests_devices_sweep(guests);
    guests_devices_watch(guests);
    if (guests->has_strays || guests->has_leavings) {
        /* Most probably it is just dying with the qvmd that made it, and is gone in a moment. */
        (void)uv_timer_start(&guests->reconcile, on_soon, STRAYS_MS, GUEST_RECONCILE_MS);
    }
    spares_make_soon(guests->spares, 0);
    guests_enabled_adopt(guests);
    guests_drain_adopt(guests);
}

void guests_bound_records(const struct guests *guests)
{
    const struct guest *guest;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if (guest->dir_fd >= 0 && instance_dir_bound_exit(guest->dir_fd)) {
            log_warn("guest: exit record emptied guest=%s why=\"it was too long\"", guest->name);
        }
        if (guest->dir_fd >= 0) {
            exit_watch_add(guests->exit_watch, guest->dir_fd);
        }
    }
}

void guests_reconcile(struct guests *guests)
{
    struct guest *guest;

    (void)guests_need_store(guests, NULL); /* or at the next time */
    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if (state_has_process(guest->state) && guest->worker == NULL) {
            adopt(guest);
        } else if (guest->worker != NULL && guest->state != STATE_starting &&
                   !worker_is_connected(guest->worker)) {
            worker_connect(guest->worker);
        }
    }
    if (guests->has_strays) {
        sweep(guests);
    }
    if (guests->has_leavings) {
        guests_cgroup_sweep(guests);
    }
}
