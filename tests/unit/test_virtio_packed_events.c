/* The device's end of a packed virtqueue, rule by rule: virtio 1.2, 2.8.10: who is told when, and
 * where queues lie, end, and go on. */
#include "tests/unit/virtio_packed_unit.h"

/* ---- 2.8.10, 2.8.14: who is told when ---- */

START_TEST(driver_says_whether_it_is_told_2_8_10)
{
    set_up(0);
    ck_assert(use_one());
    packed_ring_wish(&ring, 0, PACKED_EVENTS_DISABLE);
    ck_assert(!use_one());
    packed_ring_wish(&ring, 0, PACKED_EVENTS_ENABLE | 0xfffc); /* reserved bits */
    ck_assert(use_one());
    packed_ring_wish(&ring, SIZE - 1, PACKED_EVENTS_AT); /* without its feature: no wish at all */
    ck_assert(use_one());
    ck_assert(!virtq_wants_interrupt(&queue)); /* nothing was used since */
}
END_TEST

START_TEST(driver_waits_for_one_descriptor_of_one_lap_2_8_10)
{
    set_up(EVENTS);
    packed_ring_wish(&ring, 1 | PACKED_LAP, PACKED_EVENTS_AT);
    ck_assert(!use_one()); /* 0 */
    ck_assert(use_one());  /* 1 */
    ck_assert(!use_one());
    packed_ring_wish(&ring, 1, PACKED_EVENTS_AT); /* of the next lap */
    for (unsigned i = 3; i < SIZE + 1; i++) {
        ck_assert(!use_one());
    }
    ck_assert(use_one());
    packed_ring_wish(&ring, 0, PACKED_EVENTS_AT); /* late: it is over */
    for (unsigned i = 2; i < SIZE; i++) {
        ck_assert(!use_one());
    }
}
END_TEST

START_TEST(descriptor_anywhere_in_a_batch_is_told_2_8_10)
{
    for (uint16_t at = 0; at < SIZE; at++) {
        set_up(EVENTS);
        packed_ring_wish(&ring, at | PACKED_LAP, PACKED_EVENTS_AT);
        for (unsigned i = 0; i < SIZE - 1; i++) {
            packed_ring_offer(&ring, buffers, 4, 0, 0);
            ck_assert_int_eq(virtq_take(&queue, &chain), 1);
            ck_assert(virtq_use(&queue, &chain, 0));
        }
        ck_assert(virtq_wants_interrupt(&queue) == (at < SIZE - 1));
    }
}
END_TEST

START_TEST(list_is_passed_as_a_whole_2_8_10)
{
    set_up(EVENTS);
    packed_ring_wish(&ring, 2 | PACKED_LAP, PACKED_EVENTS_AT); /* in its middle */
    packed_ring_offer(&ring, buffers, 4, 0, RING_NEXT);
    packed_ring_offer(&ring, buffers, 4, 0, RING_NEXT);
    packed_ring_offer(&ring, buffers, 4, 0, RING_NEXT);
    packed_ring_offer(&ring, buffers, 4, 0, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert(virtq_use(&queue, &chain, 0));
    ck_assert(virtq_wants_interrupt(&queue));
}
END_TEST

START_TEST(laps_that_nobody_was_asked_about_are_told_2_8_10)
{
    set_up(EVENTS);
    packed_ring_wish(&ring, 3, PACKED_EVENTS_AT);
    for (unsigned i = 0; i < 2 * SIZE; i++) { /* as far as where it began */
        packed_ring_offer(&ring, buffers, 4, 0, 0);
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
        ck_assert(virtq_use(&queue, &chain, 0));
    }
    ck_assert(virtq_wants_interrupt(&queue));
}
END_TEST

START_TEST(place_outside_the_ring_is_told_and_does_no_harm_2_8_10)
{
    set_up(EVENTS);
    for (uint32_t place = SIZE; place <= 0x7fff; place++) {
        packed_ring_wish(&ring, (uint16_t)place, PACKED_EVENTS_AT);
        ck_assert(use_one());
    }
}
END_TEST

START_TEST(device_asks_for_none_or_for_all_2_8_10)
{
    set_up(0);
    virtq_silence(&queue);
    ck_assert_uint_eq(packed_ring_device_wish(&ring), (uint32_t)PACKED_EVENTS_DISABLE << 16);
    ck_assert(virtq_listen(&queue));
    ck_assert_uint_eq(packed_ring_device_wish(&ring), (uint32_t)PACKED_EVENTS_ENABLE << 16);
}
END_TEST

START_TEST(device_asks_for_the_next_one_2_8_10)
{
    set_up(EVENTS);
    (void)use_one();
    virtq_silence(&queue);
    ck_assert(virtq_listen(&queue));
    ck_assert_uint_eq(packed_ring_device_wish(&ring),
                      (1u | PACKED_LAP) | (uint32_t)PACKED_EVENTS_AT << 16);
}
END_TEST

START_TEST(who_listens_hears_of_what_came_meanwhile)
{
    for (int with = 0; with < 2; with++) {
        set_up(with != 0 ? EVENTS : 0);
        virtq_silence(&queue);
        packed_ring_offer(&ring, buffers, 4, 0, 0);
        ck_assert(!virtq_listen(&queue));
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
        ck_assert(virtq_listen(&queue));
    }
}
END_TEST

/* ---- where it lies, its ends, and its beginning again ---- */

START_TEST(size_need_not_be_a_power_of_two_2_8_10_1)
{
    for (uint16_t size = 1; size <= 8; size++) {
        set_up(0);
        queue.size = size;
        ck_assert_int_eq(virtq_enable(&queue, PACKED), 0);
    }
    queue.size = 9; /* more than it may have */
    ck_assert_int_eq(virtq_enable(&queue, PACKED), -EINVAL);
    queue.size = 0;
    ck_assert_int_eq(virtq_enable(&queue, PACKED), -EINVAL);
    ck_assert_int_eq(virtq_take(&queue, &chain), 0);
}
END_TEST

START_TEST(areas_must_be_aligned_2_8_10_1)
{
    for (unsigned i = 1; i < 16; i++) {
        set_up(0);
        queue.descriptors += i;
        ck_assert_int_eq(virtq_enable(&queue, PACKED), -EINVAL);
    }
    for (unsigned i = 1; i < 4; i++) {
        set_up(0);
        queue.driver += i;
        ck_assert_int_eq(virtq_enable(&queue, PACKED), -EINVAL);
        set_up(0);
        queue.device += i;
        ck_assert_int_eq(virtq_enable(&queue, PACKED), -EINVAL);
    }
}
END_TEST

START_TEST(areas_must_lie_in_ram_in_one_piece)
{
    static const uint64_t outside[] = {0, RING_MEMORY_BORDER - 16, RING_MEMORY_END,
                                       UINT64_MAX - 15};

    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        for (int part = 0; part < 3; part++) {
            if (part > 0 && outside[i] == RING_MEMORY_BORDER - 16) {
                continue; /* 4 bytes lie there */
            }
            set_up(0);
            *(part == 0   ? &queue.descriptors
              : part == 1 ? &queue.driver
                          : &queue.device) = outside[i];
            ck_assert_int_eq(virtq_enable(&queue, PACKED), -EFAULT);
            ck_assert_int_eq(virtq_take(&queue, &chain), 0);
            ck_assert(!virtq_use(&queue, &chain, 0));
            ck_assert(!virtq_wants_interrupt(&queue));
        }
    }
}
END_TEST

START_TEST(what_was_taken_before_a_reset_is_void_2_6_1_1)
{
    uint16_t id;
    uint32_t size;

    set_up(0);
    packed_ring_offer(&ring, buffers, 4, 0, RING_WRITE);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    virtq_reset(&queue);
    ck_assert(!virtq_use(&queue, &chain, 4));
    queue.descriptors = ring.ring;
    queue.driver = ring.driver;
    queue.device = ring.device;
    ck_assert_int_eq(virtq_enable(&queue, PACKED), 0);
    ck_assert(!virtq_use(&queue, &chain, 4));
    ck_assert(!packed_ring_take(&ring, 1, &id, &size));
}
END_TEST

START_TEST(queue_is_split_again_after_a_reset_if_so_negotiated)
{
    set_up(0);
    (void)use_one();
    virtq_reset(&queue);
    queue.descriptors = RING_MEMORY_START;
    queue.driver = RING_MEMORY_START + 0x100;
    queue.device = RING_MEMORY_START + 0x200;
    ck_assert_int_eq(virtq_enable(&queue, 0), 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 0);
    ck_assert_uint_eq(queue.next_available, 0);
}
END_TEST

START_TEST(buffer_that_was_put_back_comes_again)
{
    set_up(0);
    for (unsigned i = 0; i < 2 * SIZE; i++) { /* over both ends */
        packed_ring_offer(&ring, buffers, 4, 1, RING_NEXT);
        packed_ring_offer(&ring, buffers, 4, 4, 0);
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
        virtq_untake(&queue, &chain);
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
        ck_assert_uint_eq(chain.token.head, 4);
        ck_assert(virtq_use(&queue, &chain, 0));
    }
}
END_TEST

START_TEST(queue_goes_on_where_it_was)
{
    struct virtq restored;

    set_up(EVENTS);
    for (unsigned i = 0; i < SIZE + 2; i++) {
        (void)use_one();
    }
    virtq_init(&restored, 8, &fake_slot_services, &slot);
    restored.size = SIZE;
    restored.descriptors = ring.ring;
    restored.driver = ring.driver;
    restored.device = ring.device;
    restored.next_available = queue.next_available;
    restored.next_used = queue.next_used;
    restored.decided_used = queue.decided_used;
    queue = restored;
    ck_assert_int_eq(virtq_resume(&queue, PACKED | EVENTS), 0);
    packed_ring_wish(&ring, 2, PACKED_EVENTS_AT);
    ck_assert(use_one());
    ck_assert(!use_one());
}
END_TEST

START_TEST(queue_does_not_go_on_outside_its_ring)
{
    for (int which = 0; which < 3; which++) {
        set_up(0);
        *(which == 0   ? &queue.next_available
          : which == 1 ? &queue.next_used
                       : &queue.decided_used) = SIZE | PACKED_LAP;
        ck_assert_int_eq(virtq_resume(&queue, PACKED), -EINVAL);
        ck_assert(!queue.is_enabled);
    }
}
END_TEST

UNIT_MAIN("virtio_packed_events", driver_says_whether_it_is_told_2_8_10,
          driver_waits_for_one_descriptor_of_one_lap_2_8_10,
          descriptor_anywhere_in_a_batch_is_told_2_8_10, list_is_passed_as_a_whole_2_8_10,
          laps_that_nobody_was_asked_about_are_told_2_8_10,
          place_outside_the_ring_is_told_and_does_no_harm_2_8_10,
          device_asks_for_none_or_for_all_2_8_10, device_asks_for_the_next_one_2_8_10,
          who_listens_hears_of_what_came_meanwhile, size_need_not_be_a_power_of_two_2_8_10_1,
          areas_must_be_aligned_2_8_10_1, areas_must_lie_in_ram_in_one_piece,
          what_was_taken_before_a_reset_is_void_2_6_1_1,
          queue_is_split_again_after_a_reset_if_so_negotiated, buffer_that_was_put_back_comes_again,
          queue_goes_on_where_it_was, queue_does_not_go_on_outside_its_ring)
