/* Queues that the host's kernel works off: a tap's, or a vsock's.
 *
 * A card that has a tap may use it or not, and where it stopped it goes on itself: what it saves is
 * the same. The kernel was told of guest memory and of its owner before the door closed
 * (kernel_open.c); the device's I/O thread says where the rings are, which were looked up here and
 * not by the kernel, and who hears doorbells.
 *
 * What is asked of the tap takes the lock of the host's whole network configuration, which others
 * may hold for long: the slot's lock is let go of meanwhile, so that who looks at the device need
 * not wait. What is asked of vhost-net waits for nothing but its own thread. */
#include "qvm-worker/vdev/tap_kernel.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/conf/value.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/vdev/event_private.h"
#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vdev/tap_kernel_private.h"

#define NS_PER_S    1000000000ull
#define STALE_MAX   1024u /* frames: more than a tap keeps */
#define DESCRIPTOR  16u   /* virtio 1.2, 2.7.5; the others 2.7.6 and 2.7.8 */
#define DRIVER_HEAD 4u
#define DRIVER_EACH 2u
#define DEVICE_HEAD 4u
#define DEVICE_EACH 8u
#define EVENT       2u
#define F_EVENT_IDX 29u

/* 5.1.3: what a driver can take from a tap, and the tap's words for it */
static const struct {
    unsigned feature, offload;
} offloads[] = {{1, TUN_F_CSUM}, {7, TUN_F_TSO4}, {8, TUN_F_TSO6}, {9, TUN_F_TSO_ECN}};

int vdev_host_vhost_fd(const struct vdev_slot *slot)
{
    return slot->tap_kernel != NULL && slot->tap_kernel->is_open ? slot->tap_kernel->work_fd : -1;
}

/* ---- the I/O thread; the slot's lock is held, unless said otherwise ---- */

/* Each queue of the tap that a driver uses takes part. */
static void attach(const struct vdev_slot *slot, uint32_t pairs)
{
    for (uint32_t i = 1; i < slot->network_need.count; i++) {
        struct ifreq request = {.ifr_flags = i < pairs ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

        (void)ioctl(slot->network_fds[i], TUNSETQUEUE, &request); /* it may be so already */
    }
}

static unsigned offloads_of(uint64_t features)
{
    unsigned all = 0;

    for (size_t i = 0; i < ARRAY_LEN(offloads); i++) {
        all |= (features >> offloads[i].feature & 1) != 0 ? offloads[i].offload : 0;
    }
    return all;
}

/* What came before its driver did is lost; such frames may ask for what it cannot do. */
static void drop_stale(const struct vdev_slot *slot)
{
    uint8_t start[VDEV_FRAME_HEADER];

    for (uint32_t i = 0; i < slot->network_need.count; i++) {
        for (uint32_t n = 0; n < STALE_MAX && read(slot->network_fds[i], start, sizeof(start)) > 0;
             n++) {
        }
    }
}

/* Where a ring is, if it lies in RAM. */
static int find_ring(const struct vdev_slot *slot, const struct vdev_tap_queue *queue,
                     struct vhost_kernel_ring *ring)
{
    const struct memory *memory = slot->host->env.memory;
    const struct vdev_backend_queue *place = &queue->place;
    const struct slot_vhost *vhost = slot->tap_kernel;
    uint64_t size = place->size;
    uint64_t more = (vhost->features >> F_EVENT_IDX & 1) != 0 ? EVENT : 0;
    int call_fd = place->call_fd;

    *ring = (struct vhost_kernel_ring){
        .size = place->size,
        .base = queue->base,
        .descriptors = memory_span(memory, gpa(place->descriptors), DESCRIPTOR * size),
        .driver = memory_span(memory, gpa(place->driver), DRIVER_HEAD + DRIVER_EACH * size + more),
        .device = memory_span(memory, gpa(place->device), DEVICE_HEAD + DEVICE_EACH * size + more),
        .kick_fd = slot->events->fds[place->index],
        .call_fd = call_fd >= 0 ? call_fd : slot->events->fds[vhost->event + place->index],
        .error_fd = slot->events->fds[vhost->event + QUEUES_MAX],
    };
    return size != 0 && ring->descriptors != NULL && ring->driver != NULL && ring->device != NULL
               ? 0
               : -EFAULT;
}

/* Whether doorbells and tap are heard here. */
static void hear(const struct vdev_slot *slot, bool is_here)
{
    for (uint32_t i = 0; i < 2 * slot->tap_kernel->pairs; i++) {
        vdev_host_hear_event(slot, i, is_here);
    }
    for (uint32_t i = 0; slot->network_need.path != NULL && i < slot->network_need.count; i++) {
        vdev_host_hear_network(slot, i, is_here);
    }
}

/* Both sides look at their rings, in case that somebody rang when nobody heard. */
static void nudge(const struct slot_vhost *vhost)
{
    uint64_t one = 1;

    for (uint32_t i = 0; i < 2 * vhost->pairs; i++) {
        (void)!write(vhost->rings[i].kick_fd, &one, sizeof(one)); /* full: it rings already */
        (void)!write(vhost->rings[i].call_fd, &one, sizeof(one));
    }
}

static void stop(struct vdev_slot *slot, uint32_t pairs)
{
    struct slot_vhost *vhost = slot->tap_kernel;

    for (uint32_t i = 0; i < pairs; i++) {
        if (vhost_kernel_stop(vhost->fds[i], &vhost->rings[2 * i], slot->network_fds[i]) != 0) {
            vdev_host_ring(slot, vhost->event + QUEUES_MAX);
        }
        vhost->queues[2 * i].base = vhost->rings[2 * i].base;
        vhost->queues[2 * i + 1].base = vhost->rings[2 * i + 1].base;
    }
    hear(slot, true);
    vhost->is_running = false;
}

/* Have the tap as its driver wants it; without the lock. It stays so also while nobody works it
 * off: what comes meanwhile asks for nothing that this driver cannot take, and the next one begins
 * with an empty tap. */
static int prepare(struct vdev_slot *slot)
{
    struct slot_vhost *vhost = slot->tap_kernel;
    int r;

    if (slot->network_need.path == NULL) { /* a vsock: nobody else to ask */
        return 0;
    }
    vhost->is_beginning = true;
    (void)pthread_mutex_unlock(&slot->lock);
    attach(slot, vhost->pairs);
    r = ioctl(slot->network_fds[0], TUNSETOFFLOAD, offloads_of(vhost->features)) == 0 ? 0 : -errno;
    if (vhost->is_fresh) {
        drop_stale(slot);
    }
    (void)pthread_mutex_lock(&slot->lock);
    vhost->is_fresh = false;
    vhost->is_beginning = false;
    return r;
}

static void start(struct vdev_slot *slot, int r)
{
    struct slot_vhost *vhost = slot->tap_kernel;
    uint32_t i;

    hear(slot, false);
    for (i = 0; r == 0 && i < vhost->pairs; i++) {
        r = find_ring(slot, &vhost->queues[2 * i], &vhost->rings[2 * i]);
        r = r == 0 ? find_ring(slot, &vhost->queues[2 * i + 1], &vhost->rings[2 * i + 1]) : r;
        r = r == 0 ? vhost_kernel_start(vhost->fds[i], vhost->features & vhost->offered,
                                        &vhost->rings[2 * i], slot->network_fds[i])
                   : r;
        if (r != 0) {
            break;
        }
    }
    vhost->is_running = r == 0;
    if (r != 0) { /* the device asks its driver for a reset */
        stop(slot, i);
        vdev_host_ring(slot, vhost->event + QUEUES_MAX);
        return;
    }
    nudge(vhost);
}

static bool is_due(const struct vdev_slot *slot)
{
    const struct slot_vhost *vhost = slot->tap_kernel;

    return vhost->is_wanted && !vhost->is_paused && !vdev_host_is_still(slot);
}

/* End what is not wanted any more; whoever waits for that goes on. */
static void end(struct vdev_slot *slot)
{
    struct slot_vhost *vhost = slot->tap_kernel;

    if (vhost->is_running && !is_due(slot)) {
        stop(slot, vhost->pairs);
    }
    (void)pthread_cond_broadcast(&vhost->changed);
}

static void fulfil(struct vdev_slot *slot)
{
    struct slot_vhost *vhost = slot->tap_kernel;

    if (!vhost->is_running && is_due(slot)) {
        int r = prepare(slot);

        if (is_due(slot)) { /* still */
            start(slot, r);
            vhost->is_wanted = vhost->is_running;
        }
    }
    end(slot);
}

void vdev_host_serve_vhost(struct vdev_slot *slot)
{
    (void)pthread_mutex_lock(&slot->lock);
    fulfil(slot);
    (void)pthread_mutex_unlock(&slot->lock);
}

/* ---- what is wanted; the slot's lock is held ---- */

static bool has_thread(const struct vdev_slot *slot)
{
    return slot->tap_kernel != NULL && slot->tap_kernel->is_open && slot->events != NULL &&
           slot->events->has_thread;
}

/* Soon; and what is to end, on the I/O thread itself, at once. */
static void ask(struct vdev_slot *slot)
{
    uint64_t one = 1;

    if (pthread_equal(pthread_self(), slot->events->thread)) {
        end(slot);
    }
    (void)!write(slot->tap_kernel->work_fd, &one, sizeof(one)); /* full: it is awake */
}

static int wait_until_stopped(struct vdev_slot *slot, uint64_t deadline_ns)
{
    struct slot_vhost *vhost = slot->tap_kernel;
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                             .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    int r = 0;

    while ((vhost->is_running || vhost->is_beginning) && r == 0) {
        r = deadline_ns == 0 ? pthread_cond_wait(&vhost->changed, &slot->lock)
                             : pthread_cond_timedwait(&vhost->changed, &slot->lock, &until);
    }
    return vhost->is_running || vhost->is_beginning ? -ETIMEDOUT : 0;
}

int vdev_host_hold_vhost(struct vdev_slot *slot, uint64_t deadline_ns)
{
    if (!has_thread(slot)) {
        return 0;
    }
    slot->tap_kernel->is_paused = true;
    ask(slot);
    return wait_until_stopped(slot, deadline_ns);
}

void vdev_host_release_vhost(struct vdev_slot *slot)
{
    if (has_thread(slot)) { /* also if it was wanted in the moment of the hold */
        slot->tap_kernel->is_paused = false;
        ask(slot);
    }
}

/* ---- the services ---- */

static uint64_t tap_features(struct vdev_slot *slot, uint32_t event, bool *is_required)
{
    *is_required = slot->vhost == VDEV_HOST_VHOST_ON;
    if (vdev_host_vhost_need(slot)->vhost == VDEV_HOST_VHOST_OFF) {
        return 0;
    }
    if (slot->host->env.is_dry) {
        return UINT64_MAX;
    }
    if (slot->tap_kernel == NULL || !slot->tap_kernel->is_open ||
        event > VDEV_EVENTS_MAX - QUEUES_MAX - 1) {
        return 0;
    }
    for (uint32_t i = 0; i <= QUEUES_MAX; i++) {
        if ((i < 2 * slot->tap_kernel->count || i == QUEUES_MAX) &&
            vdev_host_open_event(slot, event + i) != 0) {
            return 0;
        }
    }
    slot->tap_kernel->event = event;
    return slot->tap_kernel->offered;
}

static int tap_run(struct vdev_slot *slot, uint64_t features, const struct vdev_tap_queue *queues,
                   uint32_t pairs)
{
    struct slot_vhost *vhost = slot->tap_kernel;
    bool is_fresh = true;

    if (!has_thread(slot) || pairs == 0 || pairs > vhost->count || vhost->is_running ||
        vhost->is_beginning) {
        return -EINVAL;
    }
    for (uint32_t i = 0; i < 2 * pairs; i++) {
        if (queues[i].place.index != i || slot->events->fds[i] < 0) {
            return -EINVAL;
        }
        vhost->queues[i] = queues[i];
        is_fresh = is_fresh && queues[i].base == 0;
    }
    vhost->features = features;
    vhost->pairs = pairs;
    vhost->is_wanted = true;
    vhost->is_fresh = is_fresh;
    vhost->is_paused = vdev_host_is_still(slot);
    ask(slot);
    return 0;
}

static void tap_rest(struct vdev_slot *slot)
{
    if (has_thread(slot) && slot->tap_kernel->is_wanted) {
        slot->tap_kernel->is_wanted = false;
        ask(slot);
        (void)wait_until_stopped(slot, 0); /* for the kernel's networking at most */
    }
}

static uint16_t tap_base(struct vdev_slot *slot, uint32_t queue)
{
    return slot->tap_kernel != NULL && queue < QUEUES_MAX ? slot->tap_kernel->queues[queue].base
                                                          : 0;
}

const struct vdev_tap_services vdev_host_tap_services = {.size = sizeof(vdev_host_tap_services),
                                                         .features = tap_features,
                                                         .run = tap_run,
                                                         .rest = tap_rest,
                                                         .base = tap_base};
