/* The device's end of a split virtqueue, rule by rule: virtio 1.2, 2.7.7 to 2.7.10, and where
 * queues lie and end: 2.6.1, 2.7. */
#include "tests/unit/virtio_queue_unit.h"

/* ---- 2.7.7: when the driver is told ---- */

/* Use one buffer; returns whether the driver wants to know. */
static bool use_one(void)
{
    ring_describe(&ring, 0, buffers, 4, RING_WRITE, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert(virtq_use(&queue, &chain, 4));
    return virtq_wants_interrupt(&queue);
}

START_TEST(without_event_idx_the_flag_decides_2_7_7_2)
{
    set_up(false, false);
    ck_assert(use_one());
    ring_set_available_flags(&ring, RING_NO_INTERRUPT);
    ck_assert(!use_one());
    ring_set_available_flags(&ring, 0);
    ck_assert(use_one());
}
END_TEST

START_TEST(without_event_idx_used_event_is_ignored_2_7_7_2)
{
    set_up(false, false);
    for (uint16_t i = 0; i < 5; i++) {
        ring_set_used_event(&ring, (uint16_t)(i + 100));
        ck_assert(use_one());
    }
}
END_TEST

START_TEST(with_event_idx_the_flag_is_ignored_2_7_7_2)
{
    set_up(true, false);
    ring_set_available_flags(&ring, RING_NO_INTERRUPT);
    ring_set_used_event(&ring, 0);
    ck_assert(use_one());
}
END_TEST

START_TEST(with_event_idx_the_index_decides_2_7_7_2)
{
    set_up(true, false);
    ring_set_used_event(&ring, 1);
    ck_assert(!use_one()); /* index 0 */
    ck_assert(use_one());  /* index 1 */
    ck_assert(!use_one());
    ring_set_used_event(&ring, 2); /* late: 2 is over */
    ck_assert(!use_one());
}
END_TEST

START_TEST(event_anywhere_in_a_batch_is_told_2_7_7_2)
{
    set_up(true, false);
    queue.next_used = queue.decided_used = 65533;
    ring_describe(&ring, 0, buffers, 4, RING_WRITE, 0);
    for (unsigned i = 0; i < 6; i++) {
        ring_offer(&ring, 0);
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
        ck_assert(virtq_use(&queue, &chain, 4));
    }
    ring_set_used_event(&ring, 1); /* of 65533 .. 2 */
    ck_assert(virtq_wants_interrupt(&queue));
    ck_assert(!virtq_wants_interrupt(&queue)); /* nothing was used since */
}
END_TEST

START_TEST(what_was_decided_once_is_not_decided_again)
{
    set_up(true, false);
    ring_set_used_event(&ring, 5);
    ck_assert(!use_one());
    ring_set_used_event(&ring, 0); /* lies before the last decision: not told */
    ck_assert(!use_one());
}
END_TEST

START_TEST(nothing_used_is_nothing_told)
{
    set_up(false, false);
    ck_assert(!virtq_wants_interrupt(&queue));
}
END_TEST

/* ---- 2.7.8: the used ring ---- */

START_TEST(element_and_length_stand_before_the_index_2_7_8_2)
{
    uint32_t id, size;

    set_up(false, false);
    ring_describe(&ring, 6, buffers, 100, RING_WRITE, 0);
    ring_offer(&ring, 6);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert(!ring_take(&ring, &id, &size));
    ck_assert(virtq_use(&queue, &chain, 42));
    ck_assert(ring_take(&ring, &id, &size));
    ck_assert_uint_eq(id, 6);
    ck_assert_uint_eq(size, 42);
}
END_TEST

START_TEST(several_are_used_at_once_over_the_end_of_the_ring)
{
    static struct vdev_piece pieces[3][1];
    struct virtq_chain chains[3];
    const uint32_t written[3] = {1, 2, 3};
    uint32_t id, size;

    set_up(true, false);
    for (unsigned i = 0; i < SIZE - 2; i++) {
        (void)use_one();
        ck_assert(ring_take(&ring, &id, &size));
    }
    for (uint16_t i = 0; i < 3; i++) {
        chains[i] = (struct virtq_chain){.segments = pieces[i], .room = 1};
        ring_describe(&ring, i, buffers, 4, RING_WRITE, 0);
        ring_offer(&ring, i);
        ck_assert_int_eq(virtq_take(&queue, &chains[i]), 1);
    }
    (void)virtq_wants_interrupt(&queue);
    ring_set_used_event(&ring, SIZE - 1); /* the second of them */
    ck_assert(virtq_use_all(&queue, chains, written, 3));
    for (uint16_t i = 0; i < 3; i++) {
        ck_assert(ring_take(&ring, &id, &size));
        ck_assert_uint_eq(id, i);
        ck_assert_uint_eq(size, i + 1u);
    }
    ck_assert(virtq_wants_interrupt(&queue));
    ck_assert(!virtq_use_all(&queue, chains, written, 3)); /* none is in flight any more */
    ck_assert(!ring_take(&ring, &id, &size));
}
END_TEST

START_TEST(our_own_index_is_never_read_back)
{
    uint16_t forged = 700;

    set_up(false, false);
    (void)use_one();
    ck_assert_int_eq(fake_slot_services.memory_write(&slot, ring.used + 2, &forged, sizeof(forged)),
                     0);
    (void)use_one();
    ck_assert_uint_eq(ring_used_index(&ring), 2);
}
END_TEST

/* ---- 2.7.10: when the device is told ---- */

START_TEST(without_event_idx_the_device_sets_its_flag_to_0_or_1_2_7_10_2)
{
    set_up(false, false);
    virtq_silence(&queue);
    ck_assert_uint_eq(ring_used_flags(&ring), RING_NO_NOTIFY);
    ck_assert(virtq_listen(&queue));
    ck_assert_uint_eq(ring_used_flags(&ring), 0);
}
END_TEST

START_TEST(with_event_idx_the_flag_stays_0_2_7_10_2)
{
    set_up(true, false);
    (void)use_one();
    (void)use_one();
    virtq_silence(&queue);
    ck_assert_uint_eq(ring_used_flags(&ring), 0);
    ck_assert(virtq_listen(&queue));
    ck_assert_uint_eq(ring_used_flags(&ring), 0);
    ck_assert_uint_eq(ring_avail_event(&ring), 2);
}
END_TEST

START_TEST(who_listens_hears_of_what_came_meanwhile)
{
    for (int with = 0; with < 2; with++) {
        set_up(with != 0, false);
        ring_describe(&ring, 0, buffers, 4, 0, 0);
        virtq_silence(&queue);
        ring_offer(&ring, 0);
        ck_assert(!virtq_listen(&queue));
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
        ck_assert(virtq_listen(&queue));
    }
}
END_TEST

/* ---- 2.6.1 and the geometry ---- */

START_TEST(what_was_taken_before_a_reset_is_void_2_6_1_1)
{
    static struct vdev_piece piece;
    struct virtq_chain fresh = {.segments = &piece, .room = 1};
    const uint32_t written = 4;

    set_up(false, false);
    ring_describe(&ring, 0, buffers, 4, RING_WRITE, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    virtq_reset(&queue);
    ck_assert(!virtq_use(&queue, &chain, 4));
    queue.descriptors = ring.table;
    queue.driver = ring.available;
    queue.device = ring.used;
    ck_assert_int_eq(virtq_enable(&queue, 0), 0);
    ck_assert(!virtq_use(&queue, &chain, 4));
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &fresh), 1); /* of the new life: does not count for it */
    ck_assert(!virtq_use_all(&queue, &chain, &written, 1));
    ck_assert_uint_eq(ring_used_index(&ring), 0);
}
END_TEST

START_TEST(reset_gives_the_state_of_the_beginning_2_6_1_1)
{
    set_up(true, true);
    (void)use_one();
    virtq_reset(&queue);
    ck_assert(!queue.is_enabled);
    ck_assert_uint_eq(queue.size, SIZE);
    ck_assert_uint_eq(queue.descriptors | queue.driver | queue.device, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 0);
}
END_TEST

START_TEST(queue_that_was_stopped_touches_no_ring)
{
    set_up(false, false);
    ring_describe(&ring, 0, buffers, 4, RING_WRITE, 0);
    ring_offer(&ring, 0);
    virtq_disable(&queue);
    ck_assert_int_eq(virtq_take(&queue, &chain), 0);
    virtq_silence(&queue);
    ck_assert(virtq_listen(&queue));
    ck_assert_uint_eq(ring_used_flags(&ring), 0);
}
END_TEST

START_TEST(size_must_be_a_power_of_two_up_to_the_most_2_7)
{
    static const uint16_t sizes[] = {0, 3, 6, 7, 16, 32768, 65535};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        set_up(false, false);
        queue.size = sizes[i];
        ck_assert_int_eq(virtq_enable(&queue, 0), -EINVAL);
        ck_assert_int_eq(virtq_take(&queue, &chain), 0);
    }
    for (uint16_t size = 1; size <= SIZE; size *= 2) {
        set_up(false, false);
        queue.size = size;
        ck_assert_int_eq(virtq_enable(&queue, 0), 0);
    }
}
END_TEST

START_TEST(parts_must_be_aligned_2_7_1)
{
    for (unsigned i = 1; i < 16; i++) {
        set_up(false, false);
        queue.descriptors += i;
        ck_assert_int_eq(virtq_enable(&queue, 0), -EINVAL);
    }
    set_up(false, false);
    queue.driver += 1;
    ck_assert_int_eq(virtq_enable(&queue, 0), -EINVAL);
    set_up(false, false);
    queue.device += 2;
    ck_assert_int_eq(virtq_enable(&queue, 0), -EINVAL);
}
END_TEST

START_TEST(parts_must_lie_in_ram_in_one_piece)
{
    static const uint64_t outside[] = {0, RING_MEMORY_BORDER - 16, RING_MEMORY_END - 16,
                                       UINT64_MAX - 15};

    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        for (int part = 0; part < 3; part++) {
            set_up(false, false);
            *(part == 0   ? &queue.descriptors
              : part == 1 ? &queue.driver
                          : &queue.device) = outside[i];
            ck_assert_int_eq(virtq_enable(&queue, VIRTIO_BIT(VIRTIO_F_EVENT_IDX)), -EFAULT);
            ck_assert_int_eq(virtq_take(&queue, &chain), 0);
            ck_assert(!virtq_use(&queue, &chain, 0));
            ck_assert(!virtq_wants_interrupt(&queue));
        }
    }
}
END_TEST

START_TEST(geometry_that_changes_later_changes_nothing)
{
    set_up(false, false);
    ring_describe(&ring, 0, buffers, 4, RING_WRITE, 0);
    queue.descriptors = queue.driver = queue.device = 0;
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert(virtq_use(&queue, &chain, 4));
    ck_assert_uint_eq(ring_used_index(&ring), 1);
}
END_TEST

UNIT_MAIN("virtio_used", without_event_idx_the_flag_decides_2_7_7_2,
          without_event_idx_used_event_is_ignored_2_7_7_2,
          with_event_idx_the_flag_is_ignored_2_7_7_2, with_event_idx_the_index_decides_2_7_7_2,
          event_anywhere_in_a_batch_is_told_2_7_7_2, what_was_decided_once_is_not_decided_again,
          nothing_used_is_nothing_told, element_and_length_stand_before_the_index_2_7_8_2,
          several_are_used_at_once_over_the_end_of_the_ring, our_own_index_is_never_read_back,
          without_event_idx_the_device_sets_its_flag_to_0_or_1_2_7_10_2,
          with_event_idx_the_flag_stays_0_2_7_10_2, who_listens_hears_of_what_came_meanwhile,
          what_was_taken_before_a_reset_is_void_2_6_1_1,
          reset_gives_the_state_of_the_beginning_2_6_1_1, queue_that_was_stopped_touches_no_ring,
          size_must_be_a_power_of_two_up_to_the_most_2_7, parts_must_be_aligned_2_7_1,
          parts_must_lie_in_ram_in_one_piece, geometry_that_changes_later_changes_nothing)
