/* What every virtio device does, whatever carries it, rule by rule: virtio 1.2, 2.1 to 2.6, 3.1. */
#include "tests/unit/virtio_mmio_unit.h"

START_TEST(nothing_is_consumed_before_driver_ok_2_1_2)
{
    set_up();
    negotiate(BARE_FEATURES);
    tell_queue(0, SIZE_0, RING_MEMORY_START);
    set(QUEUE_READY, 1);
    offer_one();
    set(QUEUE_NOTIFY, 0);
    ck_assert_uint_eq(made_up->kick_count[0], 0);
    ck_assert(!use_one());
    ck_assert_uint_eq(get(INTERRUPT_STATUS), 0);
    set(STATUS, ALL_SET);
    ck_assert_uint_eq(made_up->start_count, 1);
    fake_slot_run(&slot); /* what was offered before is looked at */
    ck_assert_uint_eq(made_up->kick_count[0], 1);
    ck_assert(use_one());
}
END_TEST

START_TEST(driver_clears_no_status_bit_2_1_1)
{
    set_up();
    set(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    set(STATUS, VIRTIO_DRIVER);
    ck_assert_uint_eq(get(STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    set(STATUS, VIRTIO_NEEDS_RESET | 0x30); /* not the driver's, or unknown */
    ck_assert_uint_eq(get(STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    set(STATUS, VIRTIO_FAILED);
    ck_assert_uint_eq(get(STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FAILED);
}
END_TEST

START_TEST(device_that_needs_a_reset_says_so_once_and_does_nothing_2_1_2)
{
    set_up();
    drive(BARE_FEATURES);
    ring_offer(&rings[0], SIZE_0); /* there is no such descriptor */
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(!use_one());
    }
    ck_assert_uint_eq(get(STATUS), ALL_SET | VIRTIO_NEEDS_RESET);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), VIRTIO_CHANGED);
    ck_assert_uint_eq(slot.rise_count, 1);
    ck_assert_uint_eq(made_up->virtio.reset_count, 1);
    made_up->kick_count[1] = 0;
    set(QUEUE_NOTIFY, 1); /* the other queue rests as well */
    ck_assert_uint_eq(made_up->kick_count[1], 0);
    drive(BARE_FEATURES);
    memset(fake_slot_memory(&slot, rings[0].available, 20), 0, 20);
    offer_one();
    ck_assert(use_one());
}
END_TEST

START_TEST(reset_that_is_needed_before_driver_ok_is_told_with_it_2_1_2)
{
    set_up();
    negotiate(BARE_FEATURES);
    tell_queue(0, SIZE_0, RING_MEMORY_END); /* no RAM */
    set(QUEUE_READY, 1);
    ck_assert_uint_ne(get(STATUS) & VIRTIO_NEEDS_RESET, 0);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), 0);
    set(STATUS, ALL_SET);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), VIRTIO_CHANGED);
    ck_assert_uint_eq(made_up->start_count, 0);
}
END_TEST

START_TEST(features_that_were_not_offered_are_refused_2_2_2)
{
    set_up();
    negotiate(BARE_FEATURES | VIRTIO_BIT(5));
    ck_assert_uint_eq(get(STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    set(STATUS, ALL_SET); /* a driver that does not look */
    ck_assert_uint_eq(get(STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    ck_assert_uint_eq(made_up->start_count, 0);
}
END_TEST

START_TEST(any_subset_of_features_is_accepted_2_2_2)
{
    static const unsigned bits[] = {FEATURE, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC,
                                    VIRTIO_F_RING_RESET};

    for (unsigned set_of = 0; set_of < 16; set_of++) {
        uint64_t features = BARE_FEATURES;

        for (unsigned i = 0; i < 4; i++) {
            features |= (set_of & 1u << i) != 0 ? VIRTIO_BIT(bits[i]) : 0;
        }
        set_up();
        negotiate(features);
        ck_assert_uint_ne(get(STATUS) & VIRTIO_FEATURES_OK, 0);
        ck_assert_uint_eq(made_up->virtio.negotiated, features);
    }
}
END_TEST

START_TEST(same_features_are_accepted_again_after_a_reset_2_2_2)
{
    set_up();
    for (unsigned i = 0; i < 3; i++) {
        drive(BARE_FEATURES | VIRTIO_BIT(FEATURE));
        ck_assert_uint_eq(get(STATUS), ALL_SET);
    }
}
END_TEST

START_TEST(version_1_is_offered_6_2)
{
    set_up();
    set(FEATURES_SELECT, 1);
    ck_assert_uint_eq(get(FEATURES) & 1, 1);
}
END_TEST

START_TEST(driver_without_version_1_is_refused_6_1)
{
    set_up();
    negotiate(VIRTIO_BIT(FEATURE));
    ck_assert_uint_eq(get(STATUS) & VIRTIO_FEATURES_OK, 0);
}
END_TEST

START_TEST(features_are_settled_once_3_1_1)
{
    set_up();
    negotiate(BARE_FEATURES);
    set(ACCEPTED_SELECT, 0);
    set(ACCEPTED, UINT32_MAX);
    set(STATUS, ALL_SET);
    ck_assert_uint_eq(made_up->virtio.negotiated, BARE_FEATURES);
    ck_assert_uint_eq(made_up->virtio.accepted, BARE_FEATURES);
}
END_TEST

START_TEST(driver_ok_needs_features_ok_3_1_1)
{
    set_up();
    set(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
    ck_assert_uint_eq(get(STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    ck_assert_uint_eq(made_up->start_count, 0);
}
END_TEST

START_TEST(queue_is_not_enabled_before_the_features_are_settled_3_1_1)
{
    set_up();
    set(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    tell_queue(0, SIZE_0, RING_MEMORY_START);
    set(QUEUE_READY, 1);
    ck_assert_uint_eq(get(QUEUE_READY), 0);
}
END_TEST

START_TEST(reset_says_nothing_and_touches_nothing_until_the_next_start_2_4_1)
{
    struct virtq_chain chain = {.room = SIZE_0};

    set_up();
    chain.segments = made_up->pieces;
    drive(BARE_FEATURES);
    offer_one();
    ck_assert(virtio_take(&made_up->virtio, 0, &chain));
    set(STATUS, 0);
    ck_assert_uint_eq(get(STATUS), 0);
    virtio_use(&made_up->virtio, 0, &chain, 4); /* a transfer that ends late */
    virtio_tell(&made_up->virtio, 0);
    virtio_config_changed(&made_up->virtio);
    ck_assert_uint_eq(ring_used_index(&rings[0]), 0);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), 0);
    drive(BARE_FEATURES); /* of another life: still not used */
    virtio_use(&made_up->virtio, 0, &chain, 4);
    ck_assert_uint_eq(ring_used_index(&rings[0]), 0);
}
END_TEST

START_TEST(configuration_can_be_read_before_features_ok_2_5_2)
{
    set_up();
    ck_assert_uint_eq(ops.read(made_up, 0, CONFIG, 1), 0x10);
}
END_TEST

START_TEST(queue_that_was_reset_is_not_executed_nor_told_of_2_6_1_1)
{
    struct virtq_chain chain = {.room = SIZE_0};

    set_up();
    chain.segments = made_up->pieces;
    drive(BARE_FEATURES | VIRTIO_BIT(VIRTIO_F_RING_RESET));
    offer_one();
    ck_assert(virtio_take(&made_up->virtio, 0, &chain));
    set(QUEUE_SELECT, 0);
    set(QUEUE_RESET, 1);
    virtio_use(&made_up->virtio, 0, &chain, 4);
    virtio_tell(&made_up->virtio, 0);
    ck_assert_uint_eq(ring_used_index(&rings[0]), 0);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), 0);
    ck_assert(!use_one());
}
END_TEST

START_TEST(queue_may_come_back_smaller_2_6_1_2)
{
    set_up();
    drive(BARE_FEATURES | VIRTIO_BIT(VIRTIO_F_RING_RESET));
    set(QUEUE_SELECT, 0);
    set(QUEUE_RESET, 1);
    ck_assert_uint_eq(get(QUEUE_SIZE_MAX), SIZE_0);
    tell_queue(0, 2, RING_MEMORY_START + 0x4000);
    set(QUEUE_READY, 1);
    for (unsigned i = 0; i < 5; i++) {
        offer_one();
        ck_assert(use_one());
    }
    ck_assert_uint_eq(ring_used_index(&rings[0]), 5);
}
END_TEST

START_TEST(notifications_without_buffers_are_harmless_2_7_10_2)
{
    set_up();
    drive(BARE_FEATURES);
    for (unsigned i = 0; i < 1000; i++) {
        set(QUEUE_NOTIFY, 0);
    }
    ck_assert(!use_one());
    ck_assert_uint_eq(get(STATUS), ALL_SET);
}
END_TEST

START_TEST(host_may_reset_the_device_at_any_time)
{
    set_up();
    drive(BARE_FEATURES);
    offer_one();
    fake_slot_reset(&slot);
    ck_assert_uint_eq(get(STATUS), 0);
    ck_assert(!use_one());
    drive(BARE_FEATURES);
    ck_assert_uint_eq(get(STATUS), ALL_SET);
}
END_TEST

START_TEST(state_tells_of_each_queue)
{
    set_up();
    drive(BARE_FEATURES);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "status=0f\n"));
    ck_assert_ptr_nonnull(strstr(slot.state, "queue-1=4 of 4, on, taken 0 used 0 in flight 0\n"));
}
END_TEST

START_TEST(packed_rings_are_offered_where_the_configuration_says_so_6)
{
    packed.boolean = false;
    set_up();
    set(FEATURES_SELECT, 1);
    ck_assert_uint_eq(get(FEATURES) & 4, 0);
    negotiate(BARE_FEATURES | VIRTIO_BIT(VIRTIO_F_RING_PACKED));
    ck_assert_uint_eq(get(STATUS) & VIRTIO_FEATURES_OK, 0);
    packed.boolean = true;
    set_up();
    set(FEATURES_SELECT, 1);
    ck_assert_uint_eq(get(FEATURES) & 4, 4);
    negotiate(BARE_FEATURES); /* and nobody must have them */
    ck_assert_uint_ne(get(STATUS) & VIRTIO_FEATURES_OK, 0);
}
END_TEST

START_TEST(device_that_knows_no_rings_works_with_packed_ones_2_8)
{
    struct packed_ring ring;
    uint16_t id;
    uint32_t size;

    packed.boolean = true;
    set_up();
    negotiate(BARE_FEATURES | VIRTIO_BIT(VIRTIO_F_RING_PACKED));
    (void)packed_ring_place(&ring, &slot, 5, RING_MEMORY_START);
    set(QUEUE_SELECT, 0);
    set(QUEUE_SIZE, 5); /* no power of two */
    set(QUEUE_TABLE, (uint32_t)ring.ring);
    set(QUEUE_DRIVER, (uint32_t)ring.driver);
    set(QUEUE_DEVICE, (uint32_t)ring.device);
    set(QUEUE_READY, 1);
    set(STATUS, ALL_SET);
    for (uint16_t i = 0; i < 12; i++) {
        packed_ring_offer(&ring, RING_MEMORY_START + 0x2000, 4, i, RING_WRITE);
        ck_assert(use_one());
        ck_assert(packed_ring_take(&ring, 1, &id, &size));
        ck_assert_uint_eq(id, i);
        ck_assert_uint_eq(get(INTERRUPT_STATUS), VIRTIO_USED);
        set(INTERRUPT_ACK, VIRTIO_USED);
    }
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "5 of 8, on, packed"));
    packed_ring_put(&ring, 2, 0, 1, 0, PACKED_AVAIL); /* the lap's bits, and no RAM there */
    ck_assert(!use_one());
    ck_assert_uint_eq(get(STATUS), ALL_SET | VIRTIO_NEEDS_RESET);
}
END_TEST

/* PCI 3.0, 6.2.2: of any device, since it is the slot that knows. */
START_TEST(device_that_is_no_bus_master_leaves_the_rings_alone_until_it_is_one)
{
    struct vdev_piece pieces[4];
    struct virtq_chain chain = {.segments = pieces, .room = 4};

    set_up();
    drive(BARE_FEATURES);
    slot.is_mute = true;
    offer_one();
    ck_assert(!virtio_take(&made_up->virtio, 0, &chain));
    ck_assert(!virtio_take_or_wait(&made_up->virtio, 0, &chain));
    virtio_tell(&made_up->virtio, 0);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), 0);
    slot.is_mute = false;
    ck_assert(use_one());
    ck_assert_uint_eq(get(INTERRUPT_STATUS), VIRTIO_USED);
}
END_TEST

UNIT_MAIN("virtio_device", device_that_is_no_bus_master_leaves_the_rings_alone_until_it_is_one,
          nothing_is_consumed_before_driver_ok_2_1_2, driver_clears_no_status_bit_2_1_1,
          device_that_needs_a_reset_says_so_once_and_does_nothing_2_1_2,
          reset_that_is_needed_before_driver_ok_is_told_with_it_2_1_2,
          features_that_were_not_offered_are_refused_2_2_2,
          any_subset_of_features_is_accepted_2_2_2,
          same_features_are_accepted_again_after_a_reset_2_2_2, version_1_is_offered_6_2,
          driver_without_version_1_is_refused_6_1, features_are_settled_once_3_1_1,
          driver_ok_needs_features_ok_3_1_1,
          queue_is_not_enabled_before_the_features_are_settled_3_1_1,
          reset_says_nothing_and_touches_nothing_until_the_next_start_2_4_1,
          configuration_can_be_read_before_features_ok_2_5_2,
          queue_that_was_reset_is_not_executed_nor_told_of_2_6_1_1,
          queue_may_come_back_smaller_2_6_1_2, notifications_without_buffers_are_harmless_2_7_10_2,
          host_may_reset_the_device_at_any_time, state_tells_of_each_queue,
          packed_rings_are_offered_where_the_configuration_says_so_6,
          device_that_knows_no_rings_works_with_packed_ones_2_8)
