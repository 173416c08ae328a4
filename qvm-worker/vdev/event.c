/* Doorbells, and the threads that hear them.
 *
 * Each event of a device is an eventfd: KVM writes to it when the guest rings (ioeventfd), the bus
 * does where KVM does not look, the device itself does (`ring`). Nobody reads it: each write is an
 * edge, and its count would take centuries to be full. KVM is told of a doorbell when it is rung
 * for the first time: telling it waits for a grace period, which a start would pay for each queue,
 * and a guest that sizes BARs several times. They are watched together by an epoll descriptor,
 * which the device's I/O thread waits for, or the loop. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/image/image.h"
#include "qvm-worker/lockdown/apart.h"
#include "qvm-worker/vdev/backend.h"
#include "qvm-worker/vdev/event_private.h"
#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vdev/sockets.h"
#include "qvm-worker/vdev/tap_kernel.h"

#define BATCH  16 /* events that are looked at before the next wait */
#define ROUNDS 8  /* of transfers that end at once: others want the lock, too */

/* By which a descriptor that is watched is known: events by their numbers, and then */
enum {
    KEY_QUIT = VDEV_EVENTS_MAX,
    KEY_IMAGE,
    KEY_BACKEND,
    KEY_VHOST,
    KEY_NETWORK, /* and its queues: the device has an event for each */
    KEY_SOCKETS = KEY_NETWORK + VDEV_NETWORK_QUEUES_MAX, /* and the handle of a connection */
    KEY_LISTEN = KEY_SOCKETS + VDEV_SOCKETS_MAX,
};

static int watch(const struct vdev_events *events, int fd, uint32_t how, uint32_t key)
{
    struct epoll_event event = {.events = how, .data = {.u32 = key}};

    return epoll_ctl(events->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

int vdev_host_watch_socket(const struct vdev_slot *slot, int fd, uint32_t handle)
{
    return watch(slot->events, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, KEY_SOCKETS + handle);
}

int vdev_host_watch_network(const struct vdev_slot *slot, int fd)
{
    return watch(slot->events, fd, EPOLLIN | EPOLLOUT | EPOLLET, KEY_NETWORK);
}

int vdev_host_watch_vhost(const struct vdev_slot *slot, int fd)
{
    return watch(slot->events, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, KEY_BACKEND);
}

static void hear(const struct vdev_events *events, int fd, uint32_t how, uint32_t key)
{
    struct epoll_event event = {.events = how, .data = {.u32 = key}};

    (void)epoll_ctl(events->epoll_fd, EPOLL_CTL_MOD, fd, &event); /* it is watched: cannot fail */
}

void vdev_host_hear_event(const struct vdev_slot *slot, uint32_t event, bool is_here)
{
    hear(slot->events, slot->events->fds[event], is_here ? EPOLLIN | EPOLLET : 0, event);
}

void vdev_host_hear_network(const struct vdev_slot *slot, uint32_t queue, bool is_here)
{
    hear(slot->events, slot->network_fds[queue], EPOLLET | (is_here ? EPOLLIN | EPOLLOUT : 0),
         KEY_NETWORK + queue); /* an error is told whatever is wanted, and once */
}

static int open_events(struct vdev_slot *slot)
{
    struct vdev_events *events;

    if (slot->events != NULL) {
        return 0;
    }
    events = calloc(1, sizeof(*events));
    if (events == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < VDEV_EVENTS_MAX; i++) {
        events->fds[i] = -1;
    }
    events->quit_fd = -1;
    events->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (events->epoll_fd < 0) {
        free(events);
        return -errno;
    }
    (void)pthread_mutex_init(&events->lock, NULL); /* cannot fail for a plain one */
    slot->events = events;
    return 0;
}

/* One that we do not hear ourselves is for somebody else to read. */
static int open_event(struct vdev_events *events, uint32_t event, bool is_heard)
{
    int r;

    if (events->fds[event] >= 0) {
        return 0;
    }
    events->fds[event] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (events->fds[event] < 0) {
        return -errno;
    }
    if (!is_heard) {
        return 0;
    }
    r = watch(events, events->fds[event], EPOLLIN | EPOLLET, event); /* nobody reads it */
    if (r != 0) {
        cleanup_close(&events->fds[event]);
    }
    return r;
}

int vdev_host_open_event(struct vdev_slot *slot, uint32_t event)
{
    int r = open_events(slot);

    return r == 0 ? open_event(slot->events, event, true) : r;
}

int vdev_host_doorbell(struct vdev_slot *slot, uint32_t region, uint64_t offset, uint32_t access,
                       bool has_value, uint64_t value, uint32_t event)
{
    struct vdev_bell bell = {.region = region,
                             .offset = offset,
                             .access = access,
                             .has_value = has_value,
                             .value = value,
                             .event = event};
    bool is_backends;
    uint32_t call;
    int r;

    if (slot->device != NULL || slot->loaded->ops.event == NULL || event >= VDEV_EVENTS_MAX ||
        (access != 0 && access != 1 && access != 2 && access != 4 && access != 8)) {
        return -EINVAL;
    }
    r = open_events(slot);
    if (r != 0) {
        return r;
    }
    for (uint32_t i = 0; i < slot->events->bell_count; i++) {
        const struct vdev_bell *other = &slot->events->bells[i];

        if (other->region == region && other->offset == offset && other->access == access &&
            other->has_value == has_value && other->value == value) {
            return -EEXIST;
        }
    }
    if (slot->events->bell_count == VDEV_EVENTS_MAX) {
        return -E2BIG;
    }
    is_backends = vdev_host_has_doorbell(slot, event, &call);
    r = open_event(slot->events, event, !is_backends);
    r = r == 0 && is_backends ? open_event(slot->events, call, true) : r;
    if (r == 0) {
        slot->events->bells[slot->events->bell_count++] = bell;
    }
    return r;
}

void vdev_host_ring(struct vdev_slot *slot, uint32_t event)
{
    uint64_t one = 1;

    if (slot->events != NULL && event < VDEV_EVENTS_MAX && slot->events->fds[event] >= 0) {
        (void)!write(slot->events->fds[event], &one, sizeof(one)); /* full: it rings already */
    }
}

void vdev_host_ring_missed(struct vdev_slot *slot)
{
    for (uint32_t i = 0; slot->events != NULL && i < VDEV_EVENTS_MAX; i++) {
        if ((slot->events->missed & UINT64_C(1) << i) != 0) {
            vdev_host_ring(slot, i);
        }
    }
    if (slot->events != NULL) {
        slot->events->missed = 0;
    }
}

/* Have KVM hear the bell where it is, or no more. The bells' lock is held. */
static void tell_kvm(struct vdev_slot *slot, struct vdev_bell *bell, bool is_there)
{
    const struct vdev_host_env *env = &slot->host->env;
    struct vdev_host_bell place = {.fd = slot->events->fds[bell->event],
                                   .space = bell->space,
                                   .address = bell->start + bell->offset,
                                   .size = bell->access,
                                   .has_value = bell->has_value,
                                   .value = bell->value};

    if (bell->is_in_kernel == is_there || env->doorbell == NULL) {
        return;
    }
    if (env->doorbell(env->context, &place, is_there) == 0) {
        bell->is_in_kernel = is_there;
    } else {
        bell->is_refused = true; /* the bus goes on doing it */
    }
}

bool vdev_host_answer(struct vdev_slot *slot, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t value)
{
    for (uint32_t i = 0; slot->events != NULL && i < slot->events->bell_count; i++) {
        struct vdev_bell *bell = &slot->events->bells[i];

        if (bell->region != region || bell->offset != offset ||
            (bell->access != 0 && bell->access != size) ||
            (bell->has_value && bell->value != value)) {
            continue;
        }
        vdev_host_ring(slot, bell->event);
        (void)pthread_mutex_lock(&slot->events->lock);
        if (bell->is_there && !bell->is_refused) {
            tell_kvm(slot, bell, true);
        }
        (void)pthread_mutex_unlock(&slot->events->lock);
        return true;
    }
    return false;
}

void vdev_host_place_bells(struct vdev_slot *slot, uint32_t region, enum vdev_space space,
                           uint64_t start, bool is_there)
{
    if (slot->events == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&slot->events->lock);
    for (uint32_t i = 0; i < slot->events->bell_count; i++) {
        struct vdev_bell *bell = &slot->events->bells[i];

        if (bell->region != region) {
            continue;
        }
        tell_kvm(slot, bell, false); /* where it was */
        bell->space = space;
        bell->start = start;
        bell->is_there = is_there;
        bell->is_refused = false;
    }
    (void)pthread_mutex_unlock(&slot->events->lock);
}

/* What was begun goes to the kernel in one call; what ended in it (it was in memory) is told at
 * once. The slot's lock is held. */
static void submit_transfers(struct vdev_slot *slot)
{
    for (unsigned i = 0; image_submit(slot->image) && i < ROUNDS; i++) {
        vdev_host_take_transfers(slot); /* the rest: the image's descriptor says so */
    }
}

static void take_event(struct vdev_slot *slot, uint32_t key)
{
    if (key == KEY_BACKEND) {
        vdev_host_serve_backend(slot);
        return;
    }
    if (key == KEY_VHOST) {
        vdev_host_serve_vhost(slot);
        return;
    }
    if (key >= KEY_NETWORK && key < KEY_NETWORK + VDEV_NETWORK_QUEUES_MAX) {
        key = slot->network_event + (key - KEY_NETWORK);
    }
    (void)pthread_mutex_lock(&slot->lock);
    slot->is_dispatching = true;
    if (key >= KEY_SOCKETS) {
        key = vdev_host_take_socket(slot, key - KEY_SOCKETS);
    }
    if (key < VDEV_EVENTS_MAX && key == slot->network_event) {
        vdev_host_flush_network(slot);
    }
    if (key < VDEV_EVENTS_MAX && vdev_host_is_still(slot)) {
        slot->events->missed |= UINT64_C(1) << key;
    }
    if (key >= VDEV_EVENTS_MAX) {
        vdev_host_take_transfers(slot);
    } else if (!slot->is_held) {
        slot->loaded->ops.event(slot->device, key);
    }
    if (slot->image != NULL) {
        submit_transfers(slot);
    }
    slot->is_dispatching = false;
    vdev_host_reap_sockets(slot);
    vdev_host_send_vectors(slot);
    (void)pthread_mutex_unlock(&slot->lock);
}

/* Whether to go on. */
static bool take_events(struct vdev_slot *slot, int timeout_ms)
{
    struct epoll_event ready[BATCH];
    int count = epoll_wait(slot->events->epoll_fd, ready, BATCH, timeout_ms);
    bool coalesces = slot->image != NULL && slot->events->has_thread;

    if (coalesces) {
        vdev_host_coalesce(slot);
    }
    for (int i = 0; i < count; i++) {
        if (ready[i].data.u32 == KEY_QUIT) {
            return false;
        }
        vdev_host_look_at_tap(slot, ready[i].data.u32 - KEY_NETWORK, ready[i].events);
        take_event(slot, ready[i].data.u32);
    }
    if (coalesces) {
        vdev_host_end_round(slot);
    }
    return true;
}

static enum vdev_host_thread kind_of_thread(const struct vdev_slot *slot)
{
    return vdev_host_vhost_fd(slot) >= 0 ? VDEV_HOST_THREAD_VHOST
           : slot->backend != NULL       ? VDEV_HOST_THREAD_BACKEND
           : slot->sockets != NULL       ? VDEV_HOST_THREAD_SOCKETS
                                         : VDEV_HOST_THREAD_PLAIN;
}

static void *io_thread_main(void *context)
{
    struct vdev_slot *slot = context;
    struct vdev_events *events = slot->events;
    const struct vdev_host_env *env = &slot->host->env;
    int r = env->on_io_thread != NULL
                ? env->on_io_thread(env->context, kind_of_thread(slot), &events->thread_err)
                : 0;

    (void)pthread_mutex_lock(&slot->lock);
    events->thread_state = r == 0 ? VDEV_THREAD_RUNS : VDEV_THREAD_FAILED;
    (void)pthread_cond_signal(&events->thread_changed);
    (void)pthread_mutex_unlock(&slot->lock);
    while (r == 0 && take_events(slot, -1)) {
    }
    return NULL;
}

static int start_thread(struct vdev_slot *slot, struct err *err)
{
    struct vdev_events *events = slot->events;
    int r;

    events->quit_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (events->quit_fd < 0) {
        return err_sys(err, -errno, "%s: vdev '%s' gets no I/O thread", slot->where, slot->name);
    }
    r = watch(events, events->quit_fd, EPOLLIN, KEY_QUIT);
    if (r != 0) {
        return err_sys(err, r, "%s: vdev '%s' gets no I/O thread", slot->where, slot->name);
    }
    (void)pthread_cond_init(&events->thread_changed, NULL); /* cannot fail for a plain one */
    r = apart_create(&events->thread, io_thread_main, slot);
    if (r != 0) {
        return err_sys(err, -r, "%s: vdev '%s' gets no I/O thread", slot->where, slot->name);
    }
    events->has_thread = true;
    return 0;
}

int vdev_host_await_events(struct vdev_slot *slot, struct err *err)
{
    struct vdev_events *events = slot->events;

    if (events == NULL || !events->has_thread) {
        return 0;
    }
    (void)pthread_mutex_lock(&slot->lock);
    while (events->thread_state == VDEV_THREAD_BEGINS) {
        (void)pthread_cond_wait(&events->thread_changed, &slot->lock);
    }
    (void)pthread_mutex_unlock(&slot->lock);
    return events->thread_state == VDEV_THREAD_FAILED
               ? err_set(err, events->thread_err.code, "%s", events->thread_err.msg)
               : 0;
}

static void on_events(uv_poll_t *poll, int status UNUSED, int uv_events UNUSED)
{
    (void)take_events(poll->data, 0);
}

static int watch_in_loop(struct vdev_slot *slot, struct err *err)
{
    struct vdev_events *events = slot->events;
    int r = uv_poll_init(slot->host->env.loop, &events->poll, events->epoll_fd);

    if (r != 0) {
        return err_set(err, r, "%s: vdev '%s' hears no doorbell: %s", slot->where, slot->name,
                       uv_strerror(r));
    }
    events->poll.data = slot;
    events->has_poll = true;
    slot->open_handles++;
    (void)uv_poll_start(&events->poll, UV_READABLE, on_events); /* fails when closed alone */
    return 0;
}

int vdev_host_listen_events(struct vdev_slot *slot, struct err *err)
{
    int fds[2] = {-1, -1}, r = 0;

    if (slot->image != NULL) {
        r = open_events(slot);
        r = r == 0 ? watch(slot->events, image_fd(slot->image), EPOLLIN, KEY_IMAGE) : r;
        if (r != 0) {
            return err_sys(err, r, "%s: vdev '%s' cannot watch its image", slot->where, slot->name);
        }
    }
    if (slot->events == NULL || slot->host->env.is_dry) {
        return 0;
    }
    /* Both at their edges: a network that is ready for ever is told once. */
    for (uint32_t i = 0; r == 0 && i < VDEV_NETWORK_QUEUES_MAX; i++) {
        if (slot->network_fds[i] >= 0) {
            r = watch(slot->events, slot->network_fds[i], EPOLLIN | EPOLLOUT | EPOLLET,
                      KEY_NETWORK + i);
        }
    }
    if (r == 0 && vdev_host_vhost_fd(slot) >= 0) {
        r = watch(slot->events, vdev_host_vhost_fd(slot), EPOLLIN | EPOLLET, KEY_VHOST);
    }
    if (r != 0) {
        return err_sys(err, r, "%s: vdev '%s' cannot watch its network", slot->where, slot->name);
    }
    if (vdev_host_listen_fd(slot) >= 0) {
        r = watch(slot->events, vdev_host_listen_fd(slot), EPOLLIN | EPOLLET, KEY_LISTEN);
    }
    if (r != 0) {
        return err_sys(err, r, "%s: vdev '%s' cannot watch its socket", slot->where, slot->name);
    }
    for (int i = 0, count = vdev_host_watch_backend(slot, fds); r == 0 && i < count; i++) {
        r = watch(slot->events, fds[i], EPOLLIN | EPOLLRDHUP | EPOLLET, KEY_BACKEND);
    }
    if (r != 0) {
        return err_sys(err, r, "%s: vdev '%s' cannot watch its back end", slot->where, slot->name);
    }
    for (uint32_t i = 0; !slot->is_on_pci && i < slot->region_count; i++) {
        vdev_host_place_bells(slot, i, slot->regions[i].space, slot->regions[i].start, true);
    }
    return slot->loaded->module.has_io_thread ? start_thread(slot, err) : watch_in_loop(slot, err);
}

void vdev_host_stop_events(struct vdev_slot *slot)
{
    struct vdev_events *events = slot->events;
    uint64_t one = 1;

    if (events != NULL && events->has_thread) {
        (void)!write(events->quit_fd, &one, sizeof(one)); /* cannot be full: nobody else writes */
        (void)pthread_join(events->thread, NULL);
        (void)pthread_cond_destroy(&events->thread_changed);
        events->has_thread = false;
    }
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct vdev_slot *slot = handle->data;

    vdev_host_closed_handle(slot);
}

void vdev_host_close_events(struct vdev_slot *slot)
{
    struct vdev_events *events = slot->events;

    if (events == NULL) {
        return;
    }
    if (events->has_poll) {
        uv_close((uv_handle_t *)&events->poll, on_poll_closed);
    }
    for (uint32_t i = 0; i < VDEV_EVENTS_MAX; i++) {
        cleanup_close(&events->fds[i]);
    }
    cleanup_close(&events->quit_fd);
    cleanup_close(&events->epoll_fd);
    (void)pthread_mutex_destroy(&events->lock); /* no vCPU runs */
}
