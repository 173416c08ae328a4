/* What is asked of vhost-net and of the tap for a card's queues, and in which order. */
#include "tests/unit/tap_kernel_unit.h"

/* ---- begin and end ---- */

START_TEST(rings_are_told_where_they_are_in_ram_with_whom_to_hear_and_to_call)
{
    struct vdev_tap_queue queues[2 * PAIRS];

    open_card();
    memcpy(queues, queues_from(7), sizeof(queues));
    queues[1].place.call_fd = slot.events->fds[3]; /* a vector's */
    ck_assert(is_heard());
    ck_assert_int_eq(run(VERSION_1 | OFFLOADS, queues, PAIRS), 0);
    ck_assert_uint_eq(count_running(), 4);
    ck_assert_uint_eq(world.features, VERSION_1); /* the tap's are not vhost's */
    ck_assert_uint_eq(world.offloads, TUN_F_CSUM | TUN_F_TSO4);
    for (uint32_t i = 0; i < 4; i++) {
        const struct seen_ring *ring = &world.rings[i];
        uint64_t at = (uint64_t)RING * i;

        ck_assert_uint_eq(ring->size, SIZE);
        ck_assert_uint_eq(ring->base, 7);
        ck_assert_uint_eq(ring->place.desc_user_addr, in_ram(at + DESCRIPTORS));
        ck_assert_uint_eq(ring->place.avail_user_addr, in_ram(at + DRIVER));
        ck_assert_uint_eq(ring->place.used_user_addr, in_ram(at + DEVICE));
        ck_assert_uint_eq(ring->place.flags, 0);
        ck_assert_int_eq(ring->kick_fd, slot.events->fds[i]);
        ck_assert_int_eq(ring->call_fd, slot.events->fds[i == 1 ? 3 : EVENT + i]);
        ck_assert_int_eq(ring->error_fd, slot.events->fds[NONSENSE]);
        ck_assert_int_eq(ring->tap_fd, slot.network_fds[i / 2]);
        ck_assert(is_rung(i)); /* whoever rang when nobody heard */
    }
    ck_assert(!is_rung(NONSENSE));
    ck_assert(!is_heard());
    world.rings[0].stops_at = 9;
    vdev_host_tap_services.rest(&slot);
    ck_assert_uint_eq(count_running(), 0);
    ck_assert_uint_eq(vdev_host_tap_services.base(&slot, 0), 9);
    ck_assert_uint_eq(vdev_host_tap_services.base(&slot, VDEV_NETWORK_QUEUES_MAX * 2), 0);
    ck_assert_int_eq(world.rings[0].kick_fd, -1);
    ck_assert(is_heard());
    close_card();
}
END_TEST

START_TEST(ring_outside_ram_never_gets_to_the_kernel)
{
    static const struct {
        uint64_t descriptors, driver, device;
        uint16_t size;
        uint64_t features;
    } wrong[] = {
        {MIB, DRIVER, DEVICE, SIZE, 0},
        {MIB - 16 * SIZE + 16, DRIVER, DEVICE, SIZE, 0},
        {UINT64_MAX - 15, DRIVER, DEVICE, SIZE, 0},
        {DESCRIPTORS, MIB - 4 - 2 * SIZE + 2, DEVICE, SIZE, 0},
        {DESCRIPTORS, MIB - 4 - 2 * SIZE, DEVICE, SIZE, EVENT_IDX}, /* two bytes more */
        {DESCRIPTORS, DRIVER, MIB - 4 - 8 * SIZE + 4, SIZE, 0},
        {DESCRIPTORS, DRIVER, MIB - 4 - 8 * SIZE, SIZE, EVENT_IDX},
        {DESCRIPTORS, DRIVER, 0xfee00000, SIZE, 0},
        {DESCRIPTORS, DRIVER, UINT64_C(1) << 63, SIZE, 0},
        {DESCRIPTORS, DRIVER, DEVICE, 0, 0},
        {DESCRIPTORS, DRIVER, DEVICE, UINT16_MAX, 0},
    };

    open_card();
    for (uint32_t i = 0; i < 2 * ARRAY_LEN(wrong); i++) { /* of the first pair, and of the second */
        struct vdev_tap_queue queues[2 * PAIRS];
        struct vdev_tap_queue *queue = &queues[i % 2 == 0 ? 0 : 3];
        uint32_t at = i / 2;

        memcpy(queues, queues_from(1), sizeof(queues));
        queue->place.descriptors = wrong[at].descriptors;
        queue->place.driver = wrong[at].driver;
        queue->place.device = wrong[at].device;
        queue->place.size = wrong[at].size;
        world.rings[2].begins = 0;
        ck_assert_int_eq(run(VERSION_1 | wrong[at].features, queues, PAIRS), 0);
        ck_assert_uint_eq(count_running(), 0);
        ck_assert_uint_eq(world.rings[2].begins, 0);
        ck_assert(is_rung(NONSENSE));
        ck_assert(is_heard());
        vdev_host_tap_services.rest(&slot); /* the device's answer */
    }
    ck_assert_int_eq(run(VERSION_1, queues_from(1), PAIRS), 0);
    ck_assert_uint_eq(count_running(), 4);
    close_card();
}
END_TEST

START_TEST(whatever_the_kernel_refuses_is_undone_and_said)
{
    static const unsigned long calls[] = {
        VHOST_SET_FEATURES,   VHOST_SET_VRING_NUM,   VHOST_SET_VRING_BASE,
        VHOST_SET_VRING_ADDR, VHOST_SET_VRING_KICK,  VHOST_SET_VRING_CALL,
        VHOST_SET_VRING_ERR,  VHOST_NET_SET_BACKEND, TUNSETOFFLOAD};

    open_card();
    for (uint32_t i = 0; i < ARRAY_LEN(calls); i++) {
        for (unsigned after = 0; after < (calls[i] == TUNSETOFFLOAD ? 1 : 2); after++) {
            world.refused = calls[i];
            world.refused_after = after;
            ck_assert_int_eq(run(VERSION_1, queues_from(1), PAIRS), 0);
            ck_assert_uint_eq(count_running(), 0);
            ck_assert(is_rung(NONSENSE));
            ck_assert(is_heard());
            vdev_host_tap_services.rest(&slot);
            ck_assert_int_eq(run(VERSION_1, queues_from(1), PAIRS), 0);
            ck_assert_uint_eq(count_running(), 4);
            ck_assert(!is_rung(NONSENSE));
            vdev_host_tap_services.rest(&slot);
        }
    }
    close_card();
}
END_TEST

START_TEST(what_makes_no_sense_is_refused)
{
    struct vdev_tap_queue queues[2 * PAIRS];

    open_card();
    ck_assert_int_eq(run(VERSION_1, queues_from(0), 0), -EINVAL);
    ck_assert_int_eq(run(VERSION_1, queues_from(0), PAIRS + 1), -EINVAL);
    memcpy(queues, queues_from(0), sizeof(queues));
    queues[1].place.index = 2;
    ck_assert_int_eq(run(VERSION_1, queues, PAIRS), -EINVAL);
    ck_assert_int_eq(run(VERSION_1, queues_from(0), PAIRS), 0);
    ck_assert_int_eq(run(VERSION_1, queues_from(0), PAIRS), -EINVAL); /* it runs */
    ck_assert_uint_eq(world.rings[0].begins, 1);
    close_card();
}
END_TEST

START_TEST(pairs_that_are_not_used_leave_the_tap)
{
    open_card();
    ck_assert_int_eq(run(VERSION_1, queues_from(0), 1), 0);
    ck_assert_uint_eq(count_running(), 2);
    ck_assert_uint_eq(world.detached, 1);
    vdev_host_tap_services.rest(&slot);
    ck_assert_int_eq(run(VERSION_1, queues_from(0), 2), 0);
    ck_assert_uint_eq(world.attached, 1);
    ck_assert_uint_eq(count_running(), 4);
    close_card();
}
END_TEST

/* ---- a pause, and frames meanwhile ---- */

static uint32_t count_frames(void)
{
    uint8_t frame[16];
    uint32_t count = 0;

    while (read(slot.network_fds[0], frame, sizeof(frame)) > 0) {
        count++;
    }
    return count;
}

START_TEST(pause_stops_it_where_it_is_and_frames_wait_in_the_tap)
{
    open_card();
    ck_assert_int_eq(run(VERSION_1, queues_from(0), 1), 0);
    world.rings[0].stops_at = 3;
    world.rings[1].stops_at = 65535;
    ck_assert_int_eq(vdev_host_hold_vhost(&slot, 0), 0);
    ck_assert_uint_eq(count_running(), 0);
    ck_assert_uint_eq(vdev_host_tap_services.base(&slot, 1), 65535); /* what is saved */
    ck_assert_int_eq(send(ends[0], "frame", 5, 0), 5);
    serve(); /* whatever wakes it: it is paused */
    ck_assert_uint_eq(count_running(), 0);
    vdev_host_release_vhost(&slot);
    serve();
    ck_assert_uint_eq(count_running(), 2);
    ck_assert_uint_eq(world.rings[0].base, 3);
    ck_assert_uint_eq(world.rings[1].base, 65535);
    ck_assert_uint_eq(count_frames(), 1);
    close_card();
}
END_TEST

START_TEST(driver_that_comes_gets_an_empty_tap_and_one_that_goes_on_its_frames)
{
    open_card();
    ck_assert_int_eq(send(ends[0], "old", 3, 0), 3);
    ck_assert_int_eq(run(VERSION_1, queues_from(0), 1), 0);
    ck_assert_uint_eq(count_frames(), 0);
    vdev_host_tap_services.rest(&slot);
    ck_assert_int_eq(send(ends[0], "mine", 4, 0), 4);
    ck_assert_int_eq(run(VERSION_1, queues_from(5), 1), 0);
    ck_assert_uint_eq(count_frames(), 1);
    close_card();
}
END_TEST

START_TEST(who_may_not_reach_into_memory_has_nothing_worked_off)
{
    open_card();
    slot.is_mute = true;
    ck_assert_int_eq(run(VERSION_1, queues_from(0), 1), 0);
    ck_assert_uint_eq(count_running(), 0);
    slot.is_mute = false;
    vdev_host_release_vhost(&slot);
    serve();
    ck_assert_uint_eq(count_running(), 2);
    slot.is_held = true;
    ck_assert_int_eq(vdev_host_hold_vhost(&slot, 0), 0);
    vdev_host_tap_services.rest(&slot); /* its driver is gone meanwhile */
    slot.is_held = false;
    vdev_host_release_vhost(&slot);
    serve();
    ck_assert_uint_eq(count_running(), 0);
    close_card();
}
END_TEST

/* ---- another thread ---- */

static sem_t in_tap, go_on;

static void *io_thread(void *context UNUSED)
{
    vdev_host_serve_vhost(&slot);
    return NULL;
}

/* The kernel's network configuration is somebody's, for long. */
static void begin_in_thread(pthread_t *thread)
{
    (void)sem_init(&in_tap, 0, 0);
    (void)sem_init(&go_on, 0, 0);
    world.in_tap = &in_tap;
    world.go_on = &go_on;
    ck_assert_int_eq(pthread_create(thread, NULL, io_thread, NULL), 0);
    slot.events->thread = *thread;
    ck_assert_int_eq(vdev_host_tap_services.run(&slot, VERSION_1, queues_from(0), 1), 0);
    (void)pthread_mutex_unlock(&slot.lock); /* from here on it begins, if it has not yet */
    while (sem_wait(&in_tap) != 0) {
    }
}

static void *let_go_on(void *context UNUSED)
{
    (void)pthread_mutex_lock(&slot.lock); /* free again: whoever rests waits */
    (void)pthread_mutex_unlock(&slot.lock);
    (void)sem_post(&go_on);
    return NULL;
}

START_TEST(who_looks_at_the_device_does_not_wait_for_the_hosts_network)
{
    pthread_t thread, other;

    open_card();
    begin_in_thread(&thread);
    (void)pthread_mutex_lock(&slot.lock); /* it is free */
    ck_assert_uint_eq(count_running(), 0);
    ck_assert_int_eq(vdev_host_hold_vhost(&slot, 1), -ETIMEDOUT);
    ck_assert_int_eq(vdev_host_tap_services.run(&slot, VERSION_1, queues_from(0), 1), -EINVAL);
    vdev_host_release_vhost(&slot);
    ck_assert_int_eq(pthread_create(&other, NULL, let_go_on, NULL), 0);
    vdev_host_tap_services.rest(&slot); /* waits for it, and nothing has begun then */
    ck_assert_uint_eq(world.rings[0].begins, 0);
    (void)pthread_mutex_unlock(&slot.lock);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    ck_assert_uint_eq(world.rings[0].begins, 0);
    (void)pthread_mutex_lock(&slot.lock);
    close_card();
}
END_TEST

/* ---- its part at all ---- */

START_TEST(kernel_is_shown_ram_once_for_each_pair)
{
    open_card();
    ck_assert_uint_eq(world.own_count, PAIRS);
    ck_assert_uint_eq(world.memory_size, MIB - FIRMWARE); /* that is read-only */
    close_card();
}
END_TEST

START_TEST(kernel_that_cannot_is_an_error_where_it_must_and_else_no_part)
{
    world.refused = VHOST_SET_MEM_TABLE;
    open_slot(VDEV_HOST_VHOST_ON);
    ck_assert_int_ne(vdev_host_open_vhost(&slot, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.msg, "t:3: the kernel does not work off the queues of 'vm0'"));
    vdev_host_close_vhost(&slot);
    world.refused = VHOST_SET_OWNER;
    open_slot(VDEV_HOST_VHOST_AUTO);
    ck_assert_int_eq(vdev_host_open_vhost(&slot, &err), 0);
    ck_assert_int_eq(vdev_host_vhost_fd(&slot), -1);
    tear_down();
}
END_TEST

START_TEST(features_are_those_of_all_pairs_and_nothing_without_a_kernel)
{
    bool is_required = true;

    ck_assert_uint_eq(vdev_host_tap_services.features(&slot, EVENT, &is_required), 0);
    ck_assert(!is_required);
    host.env.is_dry = true;
    ck_assert_uint_eq(vdev_host_tap_services.features(&slot, EVENT, &is_required), UINT64_MAX);
    slot.network_need.vhost = slot.vhost = VDEV_HOST_VHOST_OFF;
    ck_assert_uint_eq(vdev_host_tap_services.features(&slot, EVENT, &is_required), 0);
    host.env.is_dry = false;
    slot.network_need.vhost = slot.vhost = VDEV_HOST_VHOST_ON;
    ck_assert_int_eq(vdev_host_open_vhost(&slot, &err), 0);
    ck_assert_uint_eq(vdev_host_tap_services.features(&slot, VDEV_EVENTS_MAX - 16, &is_required),
                      0);
    ck_assert_uint_eq(vdev_host_tap_services.features(&slot, EVENT, &is_required), KERNEL);
    ck_assert(is_required);
    ck_assert_int_eq(vdev_host_tap_services.run(&slot, VERSION_1, queues_from(0), 1), -EINVAL);
    tear_down();
}
END_TEST

/* ---- a vsock ---- */

static int settle_vsock(enum vdev_host_vhost vhost, const char *cid_where)
{
    const struct vdev_value cid = {.number = {77}, .where = cid_where};

    vdev_host_close_vhost(&slot);
    slot.network_need = slot.cid_need = (struct vdev_host_need){0};
    slot.vhost = vhost;
    slot.vhost_where = "t:4";
    vdev_host_read_cid(&slot, &cid, cid_where == NULL);
    return vdev_host_settle_vhost(&slot, &err);
}

static void grant_vsock(void)
{
    for (uint32_t i = 0; i < PAIRS; i++) { /* it has no tap */
        cleanup_close(&slot.network_fds[i]);
    }
    ck_assert_int_eq(fcntl(ends[0], F_DUPFD_CLOEXEC, VHOST_FD), VHOST_FD);
    ck_assert_int_eq(vdev_host_grant_vhost(&slot, 0, VHOST_FD), 0);
}

START_TEST(vsock_asks_for_its_address_where_the_kernel_has_it)
{
    ck_assert_int_eq(settle_vsock(VDEV_HOST_VHOST_OFF, "t:3"), 0);
    ck_assert_ptr_null(slot.cid_need.path);
    ck_assert_int_eq(settle_vsock(VDEV_HOST_VHOST_ON, "t:3"), 0);
    ck_assert_str_eq(slot.cid_need.path, "77");
    ck_assert_str_eq(slot.cid_need.where, "t:3");
    ck_assert_int_eq(slot.cid_need.kind, VDEV_HOST_NEED_CID);
    ck_assert_int_eq(settle_vsock(VDEV_HOST_VHOST_ON, NULL), 0); /* the usual one */
    ck_assert_str_eq(slot.cid_need.where, "t:4");
    ck_assert_int_eq(settle_vsock(VDEV_HOST_VHOST_AUTO, "t:3"), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "t:4: "));
    slot.listen_need = (struct vdev_host_need){.path = "/run/a", .where = "t:5"};
    ck_assert_int_eq(settle_vsock(VDEV_HOST_VHOST_ON, "t:3"), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "t:5: "));
    tear_down();
}
END_TEST

START_TEST(vsock_runs_as_a_whole_and_has_no_tap)
{
    ck_assert_int_eq(settle_vsock(VDEV_HOST_VHOST_ON, "t:3"), 0);
    grant_vsock();
    open_card();
    ck_assert_uint_eq(world.cid, 77);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(run(VERSION_1, queues_from(3), 1), 0);
        ck_assert(world.is_vsock_running);
        ck_assert_uint_eq(world.features, VERSION_1);
        ck_assert_uint_eq(world.rings[0].begins + world.rings[1].begins, 0);
        ck_assert_uint_eq(world.rings[1].base, 3);
        ck_assert_uint_eq(world.rings[1].place.used_user_addr, in_ram(RING + DEVICE));
        ck_assert_int_eq(world.rings[1].kick_fd, slot.events->fds[1]);
        ck_assert_int_eq(world.rings[1].call_fd, slot.events->fds[EVENT + 1]);
        ck_assert_int_eq(world.rings[1].error_fd, slot.events->fds[NONSENSE]);
        ck_assert(!is_heard());
        world.rings[1].stops_at = 5;
        vdev_host_tap_services.rest(&slot);
        ck_assert(!world.is_vsock_running);
        ck_assert_uint_eq(vdev_host_tap_services.base(&slot, 1), 5);
        ck_assert_int_eq(world.rings[1].kick_fd, -1);
        ck_assert(is_heard());
    }
    ck_assert_uint_eq(world.offloads + world.attached + world.detached, 0);
    ck_assert_int_eq(run(VERSION_1, queues_from(0), 2), -EINVAL); /* it has one pair */
    close_card();
}
END_TEST

START_TEST(vsock_that_the_kernel_does_not_run_needs_a_reset)
{
    ck_assert_int_eq(settle_vsock(VDEV_HOST_VHOST_ON, "t:3"), 0);
    grant_vsock();
    open_card();
    world.refused = VHOST_VSOCK_SET_RUNNING;
    ck_assert_int_eq(run(VERSION_1, queues_from(0), 1), 0);
    ck_assert(!world.is_vsock_running);
    ck_assert(is_rung(NONSENSE));
    ck_assert(is_heard());
    close_card();
}
END_TEST

START_TEST(address_that_another_program_of_the_host_has_is_refused)
{
    ck_assert_int_eq(settle_vsock(VDEV_HOST_VHOST_ON, "t:3"), 0);
    ck_assert_int_ne(vdev_host_open_vhost(&slot, &err), 0); /* nothing was granted */
    grant_vsock();
    world.refused = VHOST_VSOCK_SET_GUEST_CID;
    world.errno_refused = EADDRINUSE;
    ck_assert_int_eq(vdev_host_open_vhost(&slot, &err), -EADDRINUSE);
    ck_assert_str_eq(err.msg, "t:3: another program of the host has the cid 77 for a guest of its "
                              "own: take another one");
    tear_down();
}
END_TEST

UNIT_MAIN_WITH("tap_kernel", set_up, NULL,
               rings_are_told_where_they_are_in_ram_with_whom_to_hear_and_to_call,
               ring_outside_ram_never_gets_to_the_kernel,
               whatever_the_kernel_refuses_is_undone_and_said, what_makes_no_sense_is_refused,
               pairs_that_are_not_used_leave_the_tap,
               pause_stops_it_where_it_is_and_frames_wait_in_the_tap,
               driver_that_comes_gets_an_empty_tap_and_one_that_goes_on_its_frames,
               who_may_not_reach_into_memory_has_nothing_worked_off,
               who_looks_at_the_device_does_not_wait_for_the_hosts_network,
               kernel_is_shown_ram_once_for_each_pair,
               kernel_that_cannot_is_an_error_where_it_must_and_else_no_part,
               features_are_those_of_all_pairs_and_nothing_without_a_kernel,
               vsock_asks_for_its_address_where_the_kernel_has_it,
               vsock_runs_as_a_whole_and_has_no_tap,
               vsock_that_the_kernel_does_not_run_needs_a_reset,
               address_that_another_program_of_the_host_has_is_refused)
