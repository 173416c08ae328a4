/* A card's slot, and a kernel with vhost-net and taps that is none: calls come here. The test's
 * thread is the device's I/O thread, but where another one is the point. */
#ifndef QVM_TESTS_TAP_KERNEL_UNIT_H
#define QVM_TESTS_TAP_KERNEL_UNIT_H

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <net/if.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/vdev/event_private.h"
#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vdev/tap_kernel.h"
#include "tests/unit/unit.h"

#define EVENT_IDX (UINT64_C(1) << 29)
#define VERSION_1 (UINT64_C(1) << 32)
#define LOG_ALL   (UINT64_C(1) << 26)
#define KERNEL    (EVENT_IDX | VERSION_1 | LOG_ALL)
#define OFFLOADS  (UINT64_C(1) << 1 | UINT64_C(1) << 7) /* GUEST_CSUM, GUEST_TSO4 */

enum { MIB = 1 << 20, FIRMWARE = 0x20000, SIZE = 16, EVENT = 40, NONSENSE = EVENT + 16, PAIRS = 2 };
enum { DESCRIPTORS = 0x1000, DRIVER = 0x2000, DEVICE = 0x3000, RING = 0x10000 };
enum { VHOST_FD = 900 }; /* of pair 0 */

static struct memory *memory;
static struct vdev_host host;
static struct vdev_slot slot;
static struct err err;
static int ends[PAIRS]; /* the host's of each queue of the tap */

struct seen_ring {
    struct vhost_vring_addr place;
    uint32_t size, base, stops_at;
    int kick_fd, call_fd, error_fd, tap_fd;
    unsigned begins;
};

static struct {
    unsigned long refused; /* this call fails once, after as many that did not */
    unsigned refused_after;
    int errno_refused; /* 0: EBADFD */
    uint64_t features, offered;
    unsigned offloads, attached, detached, own_count, regions;
    uint64_t memory_size;
    uint64_t cid; /* of a vsock */
    bool is_vsock_running;
    struct seen_ring rings[2 * PAIRS];
    sem_t *in_tap, *go_on; /* NULL: the tap's calls return at once */
} world;

static int tell_tap(unsigned long request, const void *argument, unsigned long value)
{
    if (request == TUNSETQUEUE) {
        const struct ifreq *wanted = argument;

        world.attached += wanted->ifr_flags == IFF_ATTACH_QUEUE;
        world.detached += wanted->ifr_flags == IFF_DETACH_QUEUE;
        return 0;
    }
    ck_assert_uint_eq(request, TUNSETOFFLOAD);
    world.offloads = (unsigned)value;
    if (world.in_tap != NULL) {
        (void)sem_post(world.in_tap);
        while (sem_wait(world.go_on) != 0) {
        }
    }
    return 0;
}

static int tell_ring(struct seen_ring *rings, unsigned long request, void *argument)
{
    struct vhost_vring_state *state = argument;
    const struct vhost_vring_file *file = argument;
    struct seen_ring *ring = &rings[state->index];

    ck_assert_uint_lt(state->index, 2);
    switch (request) {
    case VHOST_SET_VRING_NUM:
        ring->size = state->num;
        return 0;
    case VHOST_SET_VRING_BASE:
        ring->base = state->num;
        return 0;
    case VHOST_GET_VRING_BASE:
        ck_assert_int_eq(ring->tap_fd, -1); /* where it is still worked off is nowhere */
        state->num = ring->stops_at;
        return 0;
    case VHOST_SET_VRING_ADDR:
        ring->place = *(struct vhost_vring_addr *)argument;
        return 0;
    case VHOST_SET_VRING_KICK:
        ring->kick_fd = file->fd;
        return 0;
    case VHOST_SET_VRING_CALL:
        ring->call_fd = file->fd;
        return 0;
    case VHOST_SET_VRING_ERR:
        ring->error_fd = file->fd;
        return 0;
    case VHOST_NET_SET_BACKEND:
        ring->begins += ring->tap_fd < 0 && file->fd >= 0;
        ring->tap_fd = file->fd;
        return 0;
    default:
        ck_abort_msg("call %#lx", request);
    }
}

static int tell_vhost(unsigned pair, unsigned long request, void *argument)
{
    switch (request) {
    case VHOST_SET_OWNER:
        world.own_count++;
        return 0;
    case VHOST_GET_FEATURES:
        *(uint64_t *)argument = world.offered;
        return 0;
    case VHOST_SET_FEATURES:
        world.features = *(uint64_t *)argument;
        return 0;
    case VHOST_SET_MEM_TABLE: {
        const struct vhost_memory *table = argument;

        world.regions = table->nregions;
        world.memory_size = 0;
        for (uint32_t i = 0; i < table->nregions; i++) {
            world.memory_size += table->regions[i].memory_size;
        }
        return 0;
    }
    case VHOST_VSOCK_SET_GUEST_CID:
        world.cid = *(const uint64_t *)argument;
        return 0;
    case VHOST_VSOCK_SET_RUNNING:
        world.is_vsock_running = *(const int *)argument != 0;
        return 0;
    default:
        return tell_ring(&world.rings[2 * pair], request, argument);
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    void *argument;
    va_list arguments;

    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    if (request == world.refused && world.refused_after-- == 0) {
        world.refused = world.refused_after = 0;
        errno = world.errno_refused != 0 ? world.errno_refused : EBADFD;
        return -1;
    }
    return fd >= VHOST_FD ? tell_vhost((unsigned)(fd - VHOST_FD), request, argument)
                          : tell_tap(request, argument, (unsigned long)argument);
}

/* ---- a card's slot ---- */

static void open_slot(enum vdev_host_vhost vhost)
{
    vdev_host_close_vhost(&slot); /* the one before */
    slot.vhost = vhost;
    slot.vhost_where = "t:3";
    slot.network_need = (struct vdev_host_need){
        .path = "vm0", .kind = VDEV_HOST_NEED_TAP, .vhost = vhost, .count = PAIRS};
    for (uint32_t i = 0; i < PAIRS; i++) {
        int fd = fcntl(slot.network_fds[i], F_DUPFD_CLOEXEC, VHOST_FD + (int)i);

        ck_assert_int_eq(fd, VHOST_FD + (int)i);
        ck_assert_int_eq(vdev_host_grant_vhost(&slot, i, fd), 0);
    }
}

static void set_up(void)
{
    const struct memory_range ram = {.size = MIB, .where = "t:1"};
    int pair[2];

    ck_assert_int_eq(memory_create(&ram, 1, &memory, &err), 0);
    host.env.memory = memory;
    slot = (struct vdev_slot){.host = &host, .name = "net0"};
    world.offered = KERNEL;
    for (uint32_t i = 0; i < 2 * PAIRS; i++) {
        world.rings[i].tap_fd = -1;
    }
    (void)pthread_mutex_init(&slot.lock, NULL);
    for (uint32_t i = 0; i < VDEV_NETWORK_QUEUES_MAX; i++) {
        slot.network_fds[i] = -1;
    }
    for (uint32_t i = 0; i < PAIRS; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
        slot.network_fds[i] = pair[0];
        ends[i] = pair[1];
    }
    open_slot(VDEV_HOST_VHOST_AUTO);
}

/* From its start to its doorbells. */
static void open_card(void)
{
    bool is_required;

    ck_assert_int_eq(vdev_host_open_vhost(&slot, &err), 0);
    ck_assert_uint_eq(vdev_host_tap_services.features(&slot, EVENT, &is_required), KERNEL);
    for (uint32_t i = 0; i < 2 * PAIRS; i++) {
        ck_assert_int_eq(vdev_host_open_event(&slot, i), 0);
    }
    slot.events->has_thread = true;
    slot.events->thread = pthread_self();
    (void)pthread_mutex_lock(&slot.lock);
}

static void tear_down(void)
{
    vdev_host_close_vhost(&slot);
    if (slot.events != NULL) {
        slot.events->has_thread = false;
        vdev_host_close_events(&slot);
        free(slot.events);
    }
    for (uint32_t i = 0; i < PAIRS; i++) {
        (void)close(slot.network_fds[i]);
        (void)close(ends[i]);
    }
    (void)pthread_mutex_destroy(&slot.lock);
    memory_destroy(memory);
}

static void close_card(void)
{
    (void)pthread_mutex_unlock(&slot.lock);
    tear_down();
}

/* The I/O thread's turn. */
static void serve(void)
{
    (void)pthread_mutex_unlock(&slot.lock);
    vdev_host_serve_vhost(&slot);
    (void)pthread_mutex_lock(&slot.lock);
}

/* Queues of all pairs, in RAM, that begin with buffer `base`. */
static const struct vdev_tap_queue *queues_from(uint16_t base)
{
    static struct vdev_tap_queue queues[2 * PAIRS];

    for (uint32_t i = 0; i < 2 * PAIRS; i++) {
        uint64_t at = (uint64_t)RING * i;

        queues[i] = (struct vdev_tap_queue){.place = {.index = i,
                                                      .size = SIZE,
                                                      .descriptors = at + DESCRIPTORS,
                                                      .driver = at + DRIVER,
                                                      .device = at + DEVICE,
                                                      .call_fd = -1},
                                            .base = base};
    }
    return queues;
}

static int run(uint64_t features, const struct vdev_tap_queue *queues, uint32_t pairs)
{
    int r = vdev_host_tap_services.run(&slot, features, queues, pairs);

    serve();
    return r;
}

static bool is_rung(uint32_t event)
{
    uint64_t count;

    return read(slot.events->fds[event], &count, sizeof(count)) == sizeof(count);
}

static unsigned count_running(void)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < 2 * PAIRS; i++) {
        count += world.rings[i].tap_fd >= 0;
    }
    return count;
}

static uintptr_t in_ram(uint64_t address)
{
    return (uintptr_t)memory_span(memory, gpa(address), 1);
}

/* Whether doorbells of the first pair are heard here. */
static bool is_heard(void)
{
    struct epoll_event ready[VDEV_EVENTS_MAX];
    bool is_bell = false;
    int count;

    vdev_host_ring(&slot, 0);
    count = epoll_wait(slot.events->epoll_fd, ready, VDEV_EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        is_bell = is_bell || ready[i].data.u32 == 0;
    }
    return is_bell;
}

#endif
