/* The back end behind a vdev's BACKEND or FOLDER option: a process outside that works virtio's
 * queues off.
 *
 * It has guest memory, and the eventfds of doorbells and interrupts, so this process has no part in
 * a request. What there is to say to it the device's I/O thread says. */
#include "qvm-worker/vdev/backend_private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/vdev/backend.h"
#include "qvm-worker/vdev/event_private.h"
#include "qvm-worker/vdev/private.h"

#define USED_IDX     2u /* virtio 1.2, 2.7.8 */
#define DRAIN_MS     VHOST_WAIT_MS
#define NS_PER_S     1000000000ull
#define REGIONS_MOST 32u

#define FOLDER_FORMAT "fs" /* of a helper */

/* The event that stands for an interrupt of a queue, where there is no message for it. */
#define CALL_EVENT(queue) (VDEV_BACKEND_QUEUES_MAX + (queue))

int vdev_host_read_backend(struct vdev_slot *slot, const struct vdev_value *value, struct err *err)
{
    const struct vdev_option *row = &slot->loaded->module.options[value->option];
    bool is_folder = row->kind == VDEV_OPTION_FOLDER;
    bool is_read_only = is_folder && *value->text == '<';
    const char *path = value->text + is_read_only;

    if (*path == '\0' || strchr("<>|@", *path) != NULL || strcmp(path, "-") == 0) {
        return err_set(err, -EINVAL, "%s: %s '%s' names no %s", value->where, row->name, path,
                       is_folder ? "folder: give its PATH, or '<PATH' if it is only to be read"
                                 : "socket: give the PATH where the back end listens");
    }
    if (slot->backend == NULL) {
        slot->backend = calloc(1, sizeof(*slot->backend));
        if (slot->backend == NULL) {
            return err_set(err, -ENOMEM, "%s: no memory for a back end", value->where);
        }
        slot->backend->fd = slot->backend->work_fd = slot->backend->vhost.fd = -1;
        slot->backend->fresh.fd = -1;
    }
    slot->backend_need =
        (struct vdev_host_need){.kind = is_folder ? VDEV_HOST_NEED_HELPER : VDEV_HOST_NEED_BACKEND,
                                .can_read = true,
                                .can_write = !is_read_only,
                                .path = path,
                                .format = is_folder ? FOLDER_FORMAT : NULL,
                                .where = value->where,
                                .device = slot->name};
    return 0;
}

/* Regions that lie together in the guest and in the file are one: back ends take few. */
static uint32_t list_regions(const struct memory *memory, struct vhost_region *list)
{
    uint32_t count = 0, region_count = 0;
    const struct memory_region *regions = memory_regions(memory, &region_count);

    for (uint32_t i = 0; i < region_count; i++) {
        struct vhost_region *last = count > 0 ? &list[count - 1] : NULL;

        if (last != NULL && last->start + last->size == regions[i].start &&
            last->offset + last->size == regions[i].offset) {
            last->size += regions[i].size;
        } else if (count < REGIONS_MOST) {
            list[count++] =
                (struct vhost_region){regions[i].start, regions[i].size, regions[i].offset};
        }
    }
    return count;
}

static int show_memory(const struct vdev_slot *slot, struct vhost *vhost, struct err *err)
{
    const struct memory *memory = slot->host->env.memory;
    struct vhost_region list[REGIONS_MOST];
    uint32_t count = list_regions(memory, list);
    int r = vhost_set_memory(vhost, list, count, memory_fd(memory));

    if (r == -E2BIG) {
        return err_set(
            err, -EINVAL,
            "guest RAM is in %u pieces, and a back end takes %u: let 'ram' options follow "
            "each other",
            count, VHOST_REGIONS_MAX);
    }
    return r == 0 ? 0 : err_sys(err, r, "the back end does not take guest memory");
}

int vdev_host_open_backend(struct vdev_slot *slot, struct err *err)
{
    struct slot_backend *backend = slot->backend;
    pthread_condattr_t attributes;
    int r;

    if (backend == NULL || slot->host->env.is_dry) {
        return 0;
    }
    if (backend->fd < 0 || slot->host->env.memory == NULL) {
        return err_set(err, -ENODEV, "%s: '%s' was not given to vdev '%s'",
                       slot->backend_need.where, slot->backend_need.path, slot->name);
    }
    backend->work_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r = backend->work_fd >= 0 ? vhost_init(&backend->vhost, take_fd(&backend->fd), err)
                              : err_sys(err, -errno, "no descriptor");
    r = r == 0 ? show_memory(slot, &backend->vhost, err) : r;
    if (r != 0) {
        (void)err_prefix(err, "%s: '%s': ", slot->backend_need.where, slot->backend_need.path);
        return r;
    }
    (void)pthread_condattr_init(&attributes); /* none of these can fail for plain ones */
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&backend->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    backend->is_open = true;
    return 0;
}

void vdev_host_close_backend(struct vdev_slot *slot)
{
    struct slot_backend *backend = slot->backend;

    if (backend == NULL) {
        return;
    }
    if (backend->is_open) {
        (void)pthread_cond_destroy(&backend->changed); /* nobody waits: no vCPU runs */
    }
    vhost_fini(&backend->vhost);
    vhost_fini(&backend->fresh);
    cleanup_close(&backend->fd);
    cleanup_close(&backend->work_fd);
    free(backend);
    slot->backend = NULL;
}

void vdev_host_grant_backend(struct vdev_slot *slot, int fd)
{
    cleanup_close(&slot->backend->fd);
    slot->backend->fd = fd;
}

int vdev_host_watch_backend(const struct vdev_slot *slot, int *fds)
{
    if (slot->backend == NULL || !slot->backend->is_open) {
        return 0;
    }
    fds[0] = slot->backend->work_fd;
    fds[1] = slot->backend->vhost.fd;
    return 2;
}

bool vdev_host_has_doorbell(const struct vdev_slot *slot, uint32_t event, uint32_t *call)
{
    *call = CALL_EVENT(event);
    return slot->backend != NULL && slot->backend->has_doorbells && event < VDEV_BACKEND_QUEUES_MAX;
}

/* ---- the I/O thread ---- */

/* What the back end took before it stopped may still be on its way: until it is all used nobody may
 * have that memory. The index is the guest's to spoil, for which it waits alone. */
static int drain_queue(struct vdev_slot *slot, const struct vhost_queue *queue, uint16_t base)
{
    const uint8_t *at = memory_span(slot->host->env.memory, gpa(queue->device + USED_IDX), 2);
    uint32_t waited_ms = 0;

    while (at != NULL && __atomic_load_n((const uint16_t *)at, __ATOMIC_ACQUIRE) != base) {
        if (waited_ms++ == DRAIN_MS || !vhost_is_there(&slot->backend->vhost)) {
            return -ETIMEDOUT;
        }
        (void)poll(NULL, 0, 1); /* there is no descriptor that tells */
    }
    return 0;
}

static void stop_queue(struct vdev_slot *slot, const struct backend_queue *queue, bool is_paused)
{
    struct slot_backend *backend = slot->backend;
    uint32_t i = queue->place.index;
    uint16_t base = 0;

    if (vhost_stop(&backend->vhost, i, &base) == 0 && drain_queue(slot, &queue->place, base) != 0) {
        vhost_lose(&backend->vhost);
    }
    backend->is_running[i] = false;
    backend->bases[i] = is_paused ? base : 0;
}

static bool is_any_running(const struct slot_backend *backend)
{
    for (uint32_t i = 0; i < VDEV_BACKEND_QUEUES_MAX; i++) {
        if (backend->is_running[i]) {
            return true;
        }
    }
    return false;
}

static void start_queue(struct slot_backend *backend, const struct backend_wish *wish, uint32_t i)
{
    struct vhost_queue place = wish->queues[i].place;

    place.base = backend->bases[i];
    if (is_any_running(backend) || vhost_set_features(&backend->vhost, wish->features) == 0) {
        (void)vhost_start(&backend->vhost, &place); /* who fails is lost */
        if (backend->is_resuming[i]) {
            vdev_host_nudge(&place);
        }
        backend->is_resuming[i] = false;
    }
    backend->is_running[i] = true;
}

static void fulfil(struct vdev_slot *slot, const struct backend_wish *wish)
{
    struct slot_backend *backend = slot->backend;

    for (uint32_t i = 0; i < VDEV_BACKEND_QUEUES_MAX; i++) {
        const struct backend_queue *queue = &wish->queues[i];

        if (backend->is_running[i] && (!queue->is_wanted || wish->is_paused)) {
            stop_queue(slot, queue, queue->is_wanted);
        }
        if (!queue->is_wanted) {
            backend->bases[i] = 0;
            backend->is_resuming[i] = backend->is_resting[i] = false;
        }
    }
    for (uint32_t i = 0; i < VDEV_BACKEND_QUEUES_MAX; i++) {
        if (!backend->is_running[i] && !backend->is_resting[i] && wish->queues[i].is_wanted &&
            !wish->is_paused) {
            start_queue(backend, wish, i);
        }
    }
    if (wish->config_size > 0) {
        (void)vhost_write_config(&backend->vhost, wish->config_offset,
                                 wish->config + wish->config_offset, wish->config_size);
    }
}

/* Gone: another one may follow, or the device fails from now on. */
static void tell_lost(struct vdev_slot *slot, bool is_over)
{
    log_line(LOG_warn, "vdev: the back end '%s' is gone device=%s", slot->backend_need.path,
             slot->name);
    if (is_over || !vdev_host_lose_helper(slot)) {
        (void)pthread_mutex_lock(&slot->lock);
        slot->backend->is_over = true;
        (void)pthread_mutex_unlock(&slot->lock);
        vdev_host_ring(slot, slot->backend->lost);
    }
}

/* The one that follows takes the place of the one before, which the control thread will close. */
static bool take_fresh(struct slot_backend *backend)
{
    struct vhost before = backend->vhost;

    if (!backend->has_fresh) {
        return false;
    }
    backend->vhost = backend->fresh;
    backend->fresh = before;
    backend->has_fresh = backend->is_told = false;
    return true;
}

void vdev_host_serve_backend(struct vdev_slot *slot)
{
    struct slot_backend *backend = slot->backend;
    bool is_there, is_first, is_fresh, is_over;

    (void)pthread_mutex_lock(&slot->lock);
    is_fresh = take_fresh(backend);
    while (backend->done != backend->asked || is_fresh) {
        struct backend_wish wish = backend->wish;
        uint64_t serial = backend->asked;

        backend->wish.config_size = 0;
        (void)pthread_mutex_unlock(&slot->lock);
        if (is_fresh) {
            vdev_host_resume_backend(slot, &wish);
        }
        fulfil(slot, &wish);
        is_fresh = false;
        (void)pthread_mutex_lock(&slot->lock);
        backend->done = serial;
        (void)pthread_cond_broadcast(&backend->changed);
    }
    is_there = vhost_is_there(&backend->vhost);
    is_over = backend->is_over;
    is_first = !is_there && !backend->is_told;
    backend->is_told = !is_there;
    (void)pthread_mutex_unlock(&slot->lock);
    if (is_first) {
        tell_lost(slot, is_over);
    }
}

int vdev_host_follow_backend(struct vdev_slot *slot, int fd, struct err *err)
{
    struct slot_backend *backend = slot->backend;
    struct vhost fresh = {.fd = -1};
    uint64_t one = 1;
    int r = fd >= 0 ? vhost_init(&fresh, fd, err) : 0;

    r = r == 0 && fd >= 0 ? show_memory(slot, &fresh, err) : r;
    if (r == 0 && fd >= 0 && (backend->vhost.features & ~fresh.features) != 0) {
        r = err_set(err, -EPROTO, "it can do less than the one before");
    }
    (void)pthread_mutex_lock(&slot->lock);
    if (r == 0 && fd >= 0 && vdev_host_watch_vhost(slot, fresh.fd) != 0) {
        r = err_sys(err, -errno, "it cannot be watched");
    }
    if (r == 0 && fd >= 0) {
        vhost_fini(&backend->fresh); /* the one before the last */
        backend->fresh = fresh;
        backend->has_fresh = true;
        if (backend->is_over) { /* it was given up */
            backend->is_over = false;
            vdev_host_ring(slot, backend->lost);
        }
    } else if (r == 0) {
        backend->is_over = true;
        backend->is_told = false;
    } else {
        vhost_fini(&fresh);
    }
    (void)pthread_mutex_unlock(&slot->lock);
    (void)!write(backend->work_fd, &one, sizeof(one)); /* full: it is awake */
    return r;
}

/* ---- what is wanted; the slot's lock is held ---- */

static uint64_t want(struct slot_backend *backend)
{
    uint64_t one = 1;

    (void)!write(backend->work_fd, &one, sizeof(one)); /* full: it is awake */
    return ++backend->asked;
}

/* Until the wish of that number is fulfilled; false: not by then (0: there is no such time). */
static bool wait_until_done(struct vdev_slot *slot, uint64_t serial, uint64_t deadline_ns)
{
    struct slot_backend *backend = slot->backend;
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                             .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    int r = 0;

    while (backend->done < serial && r == 0) {
        r = deadline_ns == 0 ? pthread_cond_wait(&backend->changed, &slot->lock)
                             : pthread_cond_timedwait(&backend->changed, &slot->lock, &until);
    }
    return backend->done >= serial;
}

static bool has_thread(const struct vdev_slot *slot)
{
    return slot->backend != NULL && slot->backend->is_open && slot->events != NULL &&
           slot->events->has_thread;
}

int vdev_host_hold_backend(struct vdev_slot *slot, uint64_t deadline_ns)
{
    if (!has_thread(slot)) {
        return 0;
    }
    slot->backend->wish.is_paused = true;
    return wait_until_done(slot, want(slot->backend), deadline_ns) ? 0 : -ETIMEDOUT;
}

void vdev_host_release_backend(struct vdev_slot *slot)
{
    if (has_thread(slot) && slot->backend->wish.is_paused) {
        slot->backend->wish.is_paused = false;
        (void)want(slot->backend);
    }
}

/* ---- the services ---- */

bool vdev_host_backend(struct vdev_slot *slot, uint32_t lost, struct vdev_backend *to)
{
    struct slot_backend *backend = slot->backend;

    if (backend == NULL || lost < 2 * VDEV_BACKEND_QUEUES_MAX || lost >= VDEV_EVENTS_MAX ||
        vdev_host_open_event(slot, lost) != 0) {
        return false;
    }
    backend->lost = lost;
    backend->has_doorbells = true;
    to->is_dry = slot->host->env.is_dry;
    to->features = to->is_dry ? UINT64_MAX : backend->vhost.features;
    to->queue_count = to->is_dry ? 0 : backend->vhost.queue_count;
    return true;
}

int vdev_host_backend_config(struct vdev_slot *slot, void *to, uint32_t size)
{
    int r = slot->backend != NULL && slot->backend->is_open
                ? vhost_read_config(&slot->backend->vhost, to, size)
                : -ENOTSUP;

    if (r == 0) {
        memcpy(slot->backend->wish.config, to, size);
    }
    return r;
}

int vdev_host_backend_start(struct vdev_slot *slot, uint64_t features,
                            const struct vdev_backend_queue *queues, uint32_t count)
{
    struct slot_backend *backend = slot->backend;

    if (!has_thread(slot)) {
        return -ENODEV;
    }
    backend->wish.features = features;
    backend->wish.is_paused = slot->is_mute;
    for (uint32_t i = 0; i < count; i++) {
        const struct vdev_backend_queue *from = &queues[i];
        int call_fd = from->call_fd;

        if (from->index >= VDEV_BACKEND_QUEUES_MAX) {
            return -EINVAL;
        }
        call_fd = call_fd >= 0 ? call_fd : slot->events->fds[CALL_EVENT(from->index)];
        backend->wish.queues[from->index] =
            (struct backend_queue){.is_wanted = true,
                                   .place = {.index = from->index,
                                             .size = from->size,
                                             .descriptors = from->descriptors,
                                             .driver = from->driver,
                                             .device = from->device,
                                             .kick_fd = slot->events->fds[from->index],
                                             .call_fd = call_fd}};
    }
    (void)want(backend);
    return 0;
}

void vdev_host_backend_stop(struct vdev_slot *slot, uint32_t queue)
{
    if (has_thread(slot) && queue < VDEV_BACKEND_QUEUES_MAX &&
        slot->backend->wish.queues[queue].is_wanted) {
        slot->backend->wish.queues[queue].is_wanted = false;
        (void)wait_until_done(slot, want(slot->backend), 0); /* each of its steps has a deadline */
    }
}

void vdev_host_backend_configure(struct vdev_slot *slot, uint32_t offset, const void *from,
                                 uint32_t size)
{
    struct backend_wish *wish = slot->backend != NULL ? &slot->backend->wish : NULL;
    uint32_t end;

    if (!has_thread(slot) || size > VDEV_BACKEND_CONFIG_MAX ||
        offset > VDEV_BACKEND_CONFIG_MAX - size) {
        return;
    }
    memcpy(wish->config + offset, from, size);
    if (wish->config_size > 0) { /* what was not yet told goes along; what lies between was, too */
        end = wish->config_offset + wish->config_size;
        end = end > offset + size ? end : offset + size;
        offset = offset < wish->config_offset ? offset : wish->config_offset;
        size = end - offset;
    }
    wish->config_offset = offset;
    wish->config_size = size;
    (void)want(slot->backend);
}

bool vdev_host_backend_is_there(struct vdev_slot *slot)
{
    return slot->backend != NULL && !slot->backend->is_over;
}
