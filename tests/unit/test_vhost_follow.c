/* A back end that follows another one: what its queues are told, against ones in threads. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/base/err.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/vdev/backend.h"
#include "qvm-worker/vdev/backend_private.h"
#include "qvm-worker/vdev/private.h"
#include "tests/fake/vhost_back.h"
#include "tests/unit/unit.h"

#define VERSION_1 (UINT64_C(1) << 32)

enum { QUEUE_SIZE = 4, DRIVER = 0x2000, DEVICE = 0x3000, TAKEN = 2 };

struct driver_ring {
    uint16_t flags, index, ring[QUEUE_SIZE];
};

struct device_ring {
    uint16_t flags, index;
    struct {
        uint32_t id, size;
    } ring[QUEUE_SIZE];
};

static struct vhost_back backs[2]; /* the first, and the one that follows */
static struct slot_backend backend;
static struct memory *memory;
static struct vdev_host host;
static struct vdev_slot slot;
static struct vhost_queue *place;
static bool has_ended;

static void connect_to(struct vhost_back *back, struct vhost *vhost)
{
    *back = (struct vhost_back){.features = VERSION_1 | WIRE_BIT(WIRE_F_PROTOCOL_FEATURES),
                                .protocol = UINT64_MAX,
                                .queue_count = 4,
                                .base = TAKEN};
    vhost_back_start(back);
    ck_assert_int_eq(vhost_init(vhost, back->fd, NULL), 0);
}

/* The I/O thread hears of what is wanted. */
static void serve(void)
{
    backend.asked++;
    vdev_host_serve_backend(&slot);
    ck_assert_uint_eq(backend.done, backend.asked);
}

static void follow(void)
{
    connect_to(&backs[1], &backend.fresh);
    backend.has_fresh = true;
    serve();
}

/* Three were made available, and two given back. */
static void make_rings(bool is_in_order)
{
    struct driver_ring *driver = memory_span(memory, gpa(DRIVER), sizeof(*driver));
    struct device_ring *device = memory_span(memory, gpa(DEVICE), sizeof(*device));

    *driver = (struct driver_ring){.index = 3, .ring = {0, 1, 2}};
    *device = (struct device_ring){.index = TAKEN, .ring = {{.id = 0}, {.id = 1}}};
    if (!is_in_order) {
        device->ring[1].id = 2;
    }
}

static void set_up(void)
{
    const struct memory_range ram = {.size = 1 << 20, .where = "t:1"};
    struct err err = {0};

    memset(&host, 0, sizeof(host));
    memset(&backend, 0, sizeof(backend));
    has_ended = false;
    ck_assert_int_eq(memory_create(&ram, 1, &memory, &err), 0);
    host.env.memory = memory;
    slot = (struct vdev_slot){.host = &host, .name = "fs", .backend = &backend};
    (void)pthread_mutex_init(&slot.lock, NULL);
    (void)pthread_cond_init(&backend.changed, NULL);
    connect_to(&backs[0], &backend.vhost);
    backend.fresh.fd = -1;
    backend.wish.features = VERSION_1;
    backend.wish.queues[0] =
        (struct backend_queue){.is_wanted = true,
                               .place = {.size = QUEUE_SIZE,
                                         .driver = DRIVER,
                                         .device = DEVICE,
                                         .kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
                                         .call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)}};
    place = &backend.wish.queues[0].place;
    serve();
}

static void end(void)
{
    vhost_fini(&backend.vhost);
    vhost_fini(&backend.fresh);
    for (int i = 0; i < 2 && !has_ended; i++) {
        vhost_back_join(&backs[i]);
    }
    has_ended = true;
}

static void tear_down(void)
{
    end();
    vhost_back_fini(&backs[0]);
    vhost_back_fini(&backs[1]);
    (void)close(place->kick_fd);
    (void)close(place->call_fd);
    (void)pthread_cond_destroy(&backend.changed);
    (void)pthread_mutex_destroy(&slot.lock);
    memory_destroy(memory);
}

static bool is_nudged(void)
{
    uint64_t kicks = 0, calls = 0;
    bool is_kicked = read(place->kick_fd, &kicks, sizeof(kicks)) == sizeof(kicks);
    bool is_called = read(place->call_fd, &calls, sizeof(calls)) == sizeof(calls);

    ck_assert(is_kicked == is_called);
    return is_kicked;
}

/* How often the one that follows was told so, until its end. */
static unsigned count_heard(uint32_t request)
{
    unsigned count = 0;

    while (vhost_back_heard(&backs[1], request, count) != NULL) {
        count++;
    }
    return count;
}

START_TEST(who_follows_goes_on_where_the_last_one_was_and_looks_at_once)
{
    make_rings(true);
    ck_assert(!is_nudged());
    follow();
    ck_assert(backend.is_running[0]);
    ck_assert_uint_eq(backend.bases[0], TAKEN);
    ck_assert(is_nudged());
    serve();
    ck_assert(!is_nudged()); /* once */
}
END_TEST

START_TEST(who_follows_while_the_device_is_paused_looks_when_it_goes_on)
{
    make_rings(true);
    backend.wish.is_paused = true;
    follow();
    serve();
    ck_assert(!backend.is_running[0]);
    ck_assert(!is_nudged());
    backend.wish.is_paused = false;
    serve();
    ck_assert(backend.is_running[0]);
    ck_assert_uint_eq(backend.bases[0], TAKEN);
    ck_assert(is_nudged());
    backend.wish.is_paused = true;
    serve();
    backend.wish.is_paused = false;
    serve();
    ck_assert(!is_nudged()); /* nothing was lost this time */
}
END_TEST

START_TEST(what_was_left_of_a_queue_is_nobodys_after_its_reset)
{
    make_rings(true);
    backend.wish.is_paused = true;
    follow();
    backend.wish.queues[0].is_wanted = false;
    serve();
    backend.wish.queues[0].is_wanted = true;
    backend.wish.is_paused = false;
    serve();
    ck_assert(backend.is_running[0]);
    ck_assert_uint_eq(backend.bases[0], 0);
    ck_assert(!is_nudged());
}
END_TEST

START_TEST(queue_that_rests_is_neither_begun_nor_stopped_until_its_reset)
{
    make_rings(false);
    follow();
    for (int i = 0; i < 2; i++) {
        ck_assert(backend.is_resting[0] && !backend.is_running[0]);
        backend.wish.is_paused = i == 0; /* a pause changes nothing */
        serve();
    }
    ck_assert(!is_nudged());
    backend.wish.queues[0].is_wanted = false;
    serve(); /* it was never asked where a ring stopped that it does not have */
    ck_assert(vhost_is_there(&backend.vhost));
    ck_assert(!backend.is_resting[0]);
    backend.wish.queues[0].is_wanted = true;
    serve();
    ck_assert(backend.is_running[0]);
    end();
    ck_assert_uint_eq(count_heard(WIRE_GET_VRING_BASE), 0);
    ck_assert_uint_eq(count_heard(WIRE_SET_VRING_ADDR), 1);
}
END_TEST

UNIT_MAIN_WITH("vhost_follow", set_up, tear_down,
               who_follows_goes_on_where_the_last_one_was_and_looks_at_once,
               who_follows_while_the_device_is_paused_looks_when_it_goes_on,
               what_was_left_of_a_queue_is_nobodys_after_its_reset,
               queue_that_rests_is_neither_begun_nor_stopped_until_its_reset)
