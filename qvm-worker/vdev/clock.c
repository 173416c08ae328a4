/* The clock of a VM's devices, their timers, and holding devices while the VM is paused.
 *
 * The clock is CLOCK_MONOTONIC, ahead of it by a start that is far from 0 (so that no time of saved
 * state lies before it), less the time for which the VM was paused. */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/image/image.h"
#include "qvm-worker/vdev/backend.h"
#include "qvm-worker/vdev/ports.h"
#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vdev/tap_kernel.h"

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now); /* cannot fail for these clocks */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t vdev_host_now(const struct vdev_host *host)
{
    uint64_t held_at_ns = atomic_load(&host->held_at_ns);

    return held_at_ns != 0 ? held_at_ns
                           : clock_ns(CLOCK_MONOTONIC) + atomic_load(&host->clock_ahead_ns);
}

uint64_t vdev_host_now_ns(struct vdev_slot *slot)
{
    return vdev_host_now(slot->host);
}

uint64_t vdev_host_wall_ns(struct vdev_slot *slot UNUSED)
{
    return clock_ns(CLOCK_REALTIME);
}

/* Have the timer's descriptor readable when it is due. */
static void arm(const struct vdev_slot *slot, const struct vdev_timer *timer)
{
    uint64_t ahead_ns = atomic_load(&slot->host->clock_ahead_ns), at_ns = 0;
    struct itimerspec when = {0};

    if (timer->deadline_ns != 0) { /* by the host's clock; what is over is due at once */
        at_ns = timer->deadline_ns > ahead_ns ? timer->deadline_ns - ahead_ns : 1;
    }
    when.it_value.tv_sec = (time_t)(at_ns / 1000000000u);
    when.it_value.tv_nsec = (long)(at_ns % 1000000000u);
    (void)timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &when, NULL); /* all valid */
}

void vdev_host_set_timer(struct vdev_slot *slot, uint32_t timer, uint64_t deadline_ns)
{
    if (timer < slot->timer_count && deadline_ns != slot->timers[timer].deadline_ns) {
        slot->timers[timer].deadline_ns = deadline_ns;
        arm(slot, &slot->timers[timer]);
    }
}

void vdev_host_quiet(struct vdev_slot *slot)
{
    vdev_host_image_stop(slot);
    for (uint32_t i = 0; i < slot->timer_count; i++) {
        vdev_host_set_timer(slot, i, 0);
    }
    for (uint32_t i = 0; i < slot->intr_count; i++) {
        vdev_host_set_intr(slot, i, false);
    }
}

static void on_timer(uv_poll_t *poll, int status UNUSED, int events UNUSED)
{
    struct vdev_timer *timer = poll->data;
    struct vdev_slot *slot = timer->slot;
    uint64_t count;

    if (read(timer->fd, &count, sizeof(count)) < 0) {
        return; /* set anew in the meantime */
    }
    (void)pthread_mutex_lock(&slot->lock);
    if (timer->deadline_ns != 0 && !slot->is_mute &&
        vdev_host_now(slot->host) >= timer->deadline_ns) {
        timer->deadline_ns = 0;
        slot->loaded->ops.timer(slot->device, (uint32_t)(timer - slot->timers));
    }
    (void)pthread_mutex_unlock(&slot->lock);
}

static int open_timer(struct vdev_slot *slot, struct vdev_timer *timer, struct err *err)
{
    int r;

    timer->slot = slot;
    timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer->fd < 0) {
        return err_sys(err, -errno, "%s: vdev '%s' gets no timer", slot->where, slot->name);
    }
    r = uv_poll_init(slot->host->env.loop, &timer->poll, timer->fd);
    if (r != 0) {
        cleanup_close(&timer->fd);
        return err_set(err, r, "%s: vdev '%s' gets no timer: %s", slot->where, slot->name,
                       uv_strerror(r));
    }
    timer->poll.data = timer;
    slot->timer_count++;
    slot->open_handles++;
    (void)uv_poll_start(&timer->poll, UV_READABLE, on_timer); /* fails when closed alone */
    return 0;
}

int vdev_host_open_timers(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_module *module = &slot->loaded->module;
    uint32_t count = module->timer_count != 0 ? module->timer_count : 1;
    int r = 0;

    for (uint32_t i = 0; slot->loaded->ops.timer != NULL && i < count && r == 0; i++) {
        r = open_timer(slot, &slot->timers[i], err);
    }
    return r;
}

static void on_timer_closed(uv_handle_t *handle)
{
    const struct vdev_timer *timer = handle->data;

    vdev_host_closed_handle(timer->slot);
}

void vdev_host_close_timers(struct vdev_slot *slot)
{
    for (uint32_t i = 0; i < slot->timer_count; i++) {
        uv_close((uv_handle_t *)&slot->timers[i].poll, on_timer_closed);
        cleanup_close(&slot->timers[i].fd);
    }
}

/* Nothing of the device is on its way any more; the slot's lock is held. */
static int drain(struct vdev_slot *slot, uint64_t deadline_ns, struct err *err)
{
    int r = 0;

    while (slot->image != NULL && (r = image_finish(slot->image, deadline_ns)) == 1) {
        vdev_host_take_transfers(slot); /* what is begun by that is waited for, too */
    }
    return r == 0 ? 0
                  : err_set(err, r,
                            "the host has not done what disk '%s' asked it for within %u s: "
                            "'%s' does not answer; the guest goes on",
                            slot->name, VDEV_HOST_HOLD_MS / 1000, slot->image_need.path);
}

static int hold_slot(struct vdev_slot *slot, uint64_t deadline_ns, struct err *err)
{
    int r;

    (void)pthread_mutex_lock(&slot->lock);
    slot->is_held = true;
    r = drain(slot, deadline_ns, err);
    if (r == 0 && slot->image != NULL) {
        image_hold(slot->image, true);
    }
    if (r == 0 && vdev_host_hold_vhost(slot, deadline_ns) != 0) {
        r = err_set(err, -ETIMEDOUT,
                    "the kernel does not let go of the queues of vdev '%s' within %u s; the guest "
                    "goes on",
                    slot->name, VDEV_HOST_HOLD_MS / 1000);
        vdev_host_release_vhost(slot);
    }
    if (r == 0 && vdev_host_hold_backend(slot, deadline_ns) != 0) {
        r = err_set(err, -ETIMEDOUT,
                    "the back end '%s' of vdev '%s' does not stop within %u s; the guest goes on",
                    slot->backend_need.path, slot->name, VDEV_HOST_HOLD_MS / 1000);
        vdev_host_release_backend(slot);
    }
    (void)pthread_mutex_unlock(&slot->lock);
    return r;
}

/* What was left undone, unless something else holds it. The slot's lock is held. */
static void go_on(struct vdev_slot *slot)
{
    if (vdev_host_is_still(slot)) {
        return;
    }
    vdev_host_release_backend(slot);
    vdev_host_release_vhost(slot);
    if (slot->image != NULL) {
        image_hold(slot->image, false);
    }
    vdev_host_retry_transfers(slot);
    for (uint32_t i = 0; i < slot->timer_count; i++) {
        if (slot->timers[i].deadline_ns != 0) {
            arm(slot, &slot->timers[i]);
        }
    }
    vdev_host_ring_missed(slot);
    vdev_host_ring_missed_shmem(slot);
}

/* Who typed was told that there is no room. */
static void resume_input(struct vdev_slot *slot)
{
    vdev_host_stream_resume(slot);
    vdev_host_ports_resume(slot);
}

static void release_slot(struct vdev_slot *slot)
{
    (void)pthread_mutex_lock(&slot->lock);
    slot->is_held = false;
    go_on(slot);
    (void)pthread_mutex_unlock(&slot->lock);
    resume_input(slot);
}

bool vdev_host_is_master(struct vdev_slot *slot)
{
    return !slot->is_mute;
}

void vdev_host_set_master(struct vdev_slot *slot, bool is_master)
{
    (void)pthread_mutex_lock(&slot->lock);
    if (slot->device != NULL && !is_master) { /* it may finish what it began */
        vdev_host_image_settle(slot);
        (void)vdev_host_hold_backend(slot, 0);
        (void)vdev_host_hold_vhost(slot, 0);
    }
    slot->is_mute = !is_master;
    if (slot->device != NULL && is_master) {
        go_on(slot);
    }
    (void)pthread_mutex_unlock(&slot->lock);
    if (is_master) {
        resume_input(slot);
    }
}

int vdev_host_hold(struct vdev_host *host, struct err *err)
{
    uint64_t deadline_ns = clock_ns(CLOCK_MONOTONIC) + VDEV_HOST_HOLD_MS * 1000000ull;
    uint32_t i = 0;
    int r = 0;

    if (atomic_load(&host->held_at_ns) != 0) {
        return 0;
    }
    for (; r == 0 && i < host->slot_count; i++) {
        r = host->slots[i]->device != NULL ? hold_slot(host->slots[i], deadline_ns, err) : 0;
    }
    while (r != 0 && i-- > 0) {
        if (host->slots[i]->device != NULL) {
            release_slot(host->slots[i]);
        }
    }
    if (r == 0) {
        atomic_store(&host->held_at_ns, vdev_host_now(host));
    }
    return r;
}

void vdev_host_release(struct vdev_host *host)
{
    uint64_t held_at_ns = atomic_load(&host->held_at_ns);

    if (held_at_ns == 0) {
        return;
    }
    atomic_store(&host->clock_ahead_ns, held_at_ns - clock_ns(CLOCK_MONOTONIC));
    atomic_store(&host->held_at_ns, 0);
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (host->slots[i]->device != NULL) {
            release_slot(host->slots[i]);
        }
    }
    vdev_host_give_held_inputs(host);
}
