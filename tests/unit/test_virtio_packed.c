/* The device's end of a packed virtqueue, rule by rule: virtio 1.2, 2.8.1 to 2.8.7 and what their
 * MUSTs say in 2.8.12 to 2.8.19: what is available, and what is used. */
#include "tests/unit/virtio_packed_unit.h"

/* ---- 2.8.1: the wrap counters ---- */

START_TEST(ring_of_zeroes_offers_nothing_2_8_1)
{
    set_up(0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 0);
    packed_ring_put(&ring, 0, buffers, 4, 0, PACKED_AVAIL | PACKED_USED); /* used */
    ck_assert_int_eq(virtq_take(&queue, &chain), 0);
    packed_ring_put(&ring, 0, buffers, 4, 0, PACKED_USED); /* of another lap */
    ck_assert_int_eq(virtq_take(&queue, &chain), 0);
    packed_ring_put(&ring, 0, buffers, 4, 0, PACKED_AVAIL);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
}
END_TEST

START_TEST(counters_change_with_each_lap_2_8_1)
{
    uint16_t id;
    uint32_t size;

    set_up(0);
    for (uint32_t i = 0; i < 70000; i++) {
        packed_ring_offer(&ring, buffers, 4, (uint16_t)i, RING_WRITE);
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
        ck_assert_int_eq(virtq_take(&queue, &chain), 0);
        ck_assert(virtq_use(&queue, &chain, 3));
        ck_assert(packed_ring_take(&ring, 1, &id, &size));
        ck_assert_uint_eq(id, (uint16_t)i);
        ck_assert_uint_eq(size, 3);
        ck_assert(!packed_ring_take(&ring, 1, &id, &size));
    }
}
END_TEST

START_TEST(buffer_that_is_in_flight_is_not_seen_again_a_lap_later_2_8_1)
{
    set_up(0);
    for (uint16_t i = 0; i < SIZE; i++) {
        packed_ring_offer(&ring, buffers, 4, i, RING_WRITE);
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    }
    ck_assert_int_eq(virtq_take(&queue, &chain), 0);
    ck_assert_uint_eq(queue.in_flight, SIZE);
}
END_TEST

/* ---- 2.8.3 to 2.8.6: lists ---- */

START_TEST(list_lies_behind_its_first_over_the_end_of_the_ring_2_8_6)
{
    char read[8] = "";

    set_up(0);
    for (unsigned i = 0; i < SIZE - 2; i++) {
        ck_assert(use_one());
    }
    memcpy(fake_slot_memory(&slot, buffers, 6), "header", 6);
    packed_ring_offer(&ring, buffers, 2, 99, RING_NEXT);
    packed_ring_offer(&ring, buffers + 2, 4, 98, RING_NEXT);
    packed_ring_offer(&ring, buffers + 16, 3, 97, RING_NEXT | RING_WRITE); /* the next lap */
    packed_ring_offer(&ring, buffers + 32, 5, 3, RING_WRITE);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.token.head, 3); /* the last one's */
    ck_assert_uint_eq(chain.token.count, 4);
    ck_assert_uint_eq(virtq_read(&chain, 0, read, sizeof(read)), 6);
    ck_assert_str_eq(read, "header");
    ck_assert_uint_eq(chain.write_size, 8);
    ck_assert_uint_eq(virtq_write(&chain, 0, "abcdefgh", 8), 8);
    ck_assert_mem_eq(fake_slot_memory(&slot, buffers + 32, 5), "defgh", 5);
    ck_assert_int_eq(virtq_take(&queue, &chain), 0);
}
END_TEST

START_TEST(one_used_descriptor_stands_for_a_list_which_is_skipped_2_8_6)
{
    uint16_t id;
    uint32_t size;

    set_up(0);
    for (unsigned lap = 0; lap < 20; lap++) {
        packed_ring_offer(&ring, buffers, 4, 1, RING_NEXT);
        packed_ring_offer(&ring, buffers, 4, 2, RING_NEXT);
        packed_ring_offer(&ring, buffers, 4, 30, 0);
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
        ck_assert(virtq_use(&queue, &chain, 0));
        ck_assert(packed_ring_take(&ring, 3, &id, &size));
        ck_assert_uint_eq(id, 30);
        ck_assert(!packed_ring_take(&ring, 1, &id, &size));
    }
}
END_TEST

START_TEST(write_flag_of_what_is_used_says_whether_anything_was_written_2_8_3)
{
    set_up(0);
    packed_ring_offer(&ring, buffers, 4, 0, RING_WRITE);
    packed_ring_offer(&ring, buffers, 4, 0, RING_WRITE);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert(virtq_use(&queue, &chain, 0));
    ck_assert_uint_eq(packed_ring_flags(&ring, 0), PACKED_AVAIL | PACKED_USED);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert(virtq_use(&queue, &chain, 1));
    ck_assert_uint_eq(packed_ring_flags(&ring, 1), PACKED_AVAIL | PACKED_USED | RING_WRITE);
}
END_TEST

START_TEST(buffers_are_used_in_the_order_in_which_they_end_2_8_12)
{
    static struct vdev_piece more[4];
    struct virtq_chain other = {.segments = more, .room = 4};
    uint16_t id;
    uint32_t size;

    set_up(0);
    packed_ring_offer(&ring, buffers, 4, 0, RING_NEXT | RING_WRITE);
    packed_ring_offer(&ring, buffers, 4, 10, RING_WRITE);
    packed_ring_offer(&ring, buffers, 4, 11, RING_WRITE);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_int_eq(virtq_take(&queue, &other), 1);
    ck_assert(virtq_use(&queue, &other, 2));
    ck_assert(virtq_use(&queue, &chain, 1));
    ck_assert(packed_ring_take(&ring, 1, &id, &size)); /* where the first of the list stood */
    ck_assert_uint_eq(id, 11);
    ck_assert(packed_ring_take(&ring, 2, &id, &size));
    ck_assert_uint_eq(id, 10);
}
END_TEST

START_TEST(several_are_used_at_once_over_the_end_of_the_ring)
{
    static struct vdev_piece pieces[3][2];
    struct virtq_chain chains[3];
    const uint32_t written[3] = {1, 0, 3};
    uint16_t id;
    uint32_t size;

    set_up(0);
    for (unsigned i = 0; i < 3; i++) {
        (void)use_one();
        ck_assert(packed_ring_take(&ring, 1, &id, &size));
    }
    for (uint16_t i = 0; i < 3; i++) {
        chains[i] = (struct virtq_chain){.segments = pieces[i], .room = 2};
        if (i == 1) { /* over the end */
            packed_ring_offer(&ring, buffers, 4, i, RING_NEXT | RING_WRITE);
        }
        packed_ring_offer(&ring, buffers, 4, i, RING_WRITE);
        ck_assert_int_eq(virtq_take(&queue, &chains[i]), 1);
    }
    ck_assert(virtq_use_all(&queue, chains, written, 3));
    for (uint16_t i = 0; i < 3; i++) {
        ck_assert(packed_ring_take(&ring, i == 1 ? 2 : 1, &id, &size));
        ck_assert_uint_eq(id, i);
        ck_assert_uint_eq(size, written[i]);
    }
    ck_assert(!virtq_use_all(&queue, chains, written, 3)); /* none is in flight any more */
    ck_assert(!packed_ring_take(&ring, 1, &id, &size));
}
END_TEST

START_TEST(list_may_be_as_long_as_the_ring_and_loops_in_none_2_8_17)
{
    set_up(0);
    for (uint16_t i = 0; i < SIZE; i++) {
        packed_ring_offer(&ring, buffers, 1, i, i + 1u < SIZE ? RING_NEXT : 0);
    }
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.read_count, SIZE);
    set_up(0);
    for (uint16_t i = 0; i < SIZE; i++) {
        packed_ring_offer(&ring, buffers, 0, i, RING_NEXT);
    }
    expect_broken();
}
END_TEST

START_TEST(list_that_takes_descriptors_in_flight_is_nonsense_2_8_17)
{
    set_up(0);
    packed_ring_offer(&ring, buffers, 4, 0, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    for (uint16_t i = 0; i < SIZE; i++) {
        packed_ring_offer(&ring, buffers, 4, i, i + 1u < SIZE ? RING_NEXT : 0);
    }
    expect_broken();
}
END_TEST

START_TEST(buffer_over_one_in_flight_is_nonsense_2_8_16)
{
    set_up(0);
    for (uint16_t i = 0; i < SIZE; i++) {
        packed_ring_offer(&ring, buffers, 4, i, 0);
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    }
    packed_ring_offer(&ring, buffers, 4, 0, 0);
    expect_broken();
}
END_TEST

START_TEST(rest_of_a_list_that_is_not_available_is_nonsense_2_8_6)
{
    static const unsigned wrong[] = {0, PACKED_USED, PACKED_AVAIL | PACKED_USED};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        set_up(0);
        packed_ring_put(&ring, 1, buffers, 4, 0, wrong[i]);
        packed_ring_put(&ring, 0, buffers, 4, 0, PACKED_AVAIL | RING_NEXT);
        expect_broken();
    }
}
END_TEST

START_TEST(readable_descriptor_behind_a_writable_one_is_nonsense_2_8_17)
{
    set_up(0);
    packed_ring_offer(&ring, buffers, 4, 0, RING_NEXT | RING_WRITE);
    packed_ring_offer(&ring, buffers, 4, 0, 0);
    expect_broken();
}
END_TEST

START_TEST(device_writes_nothing_readable_2_8_15)
{
    set_up(0);
    packed_ring_offer(&ring, buffers, 64, 0, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(virtq_write(&chain, 0, "x", 1), 0);
}
END_TEST

START_TEST(buffer_outside_ram_or_of_4_gib_is_nonsense)
{
    static uint8_t page[16];
    static const struct {
        uint64_t address;
        uint32_t size;
    } outside[] = {{0, 1},
                   {RING_MEMORY_START - 1, 2},
                   {RING_MEMORY_END - 1, 2},
                   {RING_MEMORY_END - 1, UINT32_MAX},
                   {UINT64_MAX, 2}};

    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        set_up(0);
        packed_ring_offer(&ring, outside[i].address, outside[i].size, 0, 0);
        expect_broken();
    }
    set_up(0);
    slot.memory[2] = (struct fake_memory){UINT64_C(1) << 32, page, UINT64_C(1) << 31};
    packed_ring_offer(&ring, UINT64_C(1) << 32, 0x80000000u, 0, RING_NEXT);
    packed_ring_offer(&ring, UINT64_C(1) << 32, 0x80000000u, 0, 0);
    expect_broken();
}
END_TEST

START_TEST(buffer_over_a_border_of_ram_is_two_pieces)
{
    set_up(0);
    packed_ring_offer(&ring, RING_MEMORY_BORDER - 3, 7, 0, RING_WRITE);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.write_count, 2);
    ck_assert_uint_eq(segments[0].size, 3);
    ck_assert_uint_eq(segments[1].size, 4);
}
END_TEST

/* ---- 2.8.7: indirect descriptors ---- */

START_TEST(table_has_its_descriptors_in_order_and_only_their_write_flags_2_8_7)
{
    uint16_t id;
    uint32_t size;

    set_up(INDIRECT);
    /* In a split table these would be id 7, and flags: next fields and reserved ones. */
    ring_describe_at(&slot, buffers, 0, buffers + 64, 4, 7, RING_INDIRECT | PACKED_USED);
    ring_describe_at(&slot, buffers, 1, buffers + 80, 5, 7, RING_WRITE | RING_NEXT);
    ring_describe_at(&slot, buffers, 2, buffers + 96, 6, 7, RING_WRITE | PACKED_AVAIL);
    packed_ring_offer(&ring, buffers, 48, 21, RING_INDIRECT | RING_WRITE);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.read_size, 4);
    ck_assert_uint_eq(chain.write_size, 11);
    ck_assert(virtq_use(&queue, &chain, 11));
    ck_assert(packed_ring_take(&ring, 1, &id, &size)); /* one in the ring, whatever the table has */
    ck_assert_uint_eq(id, 21);
    ck_assert_uint_eq(size, 11);
}
END_TEST

START_TEST(table_needs_its_feature_2_8_19)
{
    set_up(0);
    ring_describe_at(&slot, buffers, 0, buffers + 64, 4, 0, 0);
    packed_ring_offer(&ring, buffers, 16, 0, RING_INDIRECT);
    expect_broken();
}
END_TEST

START_TEST(table_is_no_part_of_a_list_2_8_19)
{
    set_up(INDIRECT);
    ring_describe_at(&slot, buffers, 0, buffers + 64, 4, 0, 0);
    packed_ring_offer(&ring, buffers, 16, 0, RING_INDIRECT | RING_NEXT);
    packed_ring_offer(&ring, buffers, 16, 0, 0);
    expect_broken();
    set_up(INDIRECT);
    ring_describe_at(&slot, buffers, 0, buffers + 64, 4, 0, 0);
    packed_ring_offer(&ring, buffers, 16, 0, RING_NEXT);
    packed_ring_offer(&ring, buffers, 16, 0, RING_INDIRECT);
    expect_broken();
}
END_TEST

START_TEST(table_of_a_wrong_size_or_place_is_nonsense_2_8_7)
{
    static const struct {
        uint64_t address;
        uint32_t size;
    } wrong[] = {
        {RING_MEMORY_BORDER, 0},           {RING_MEMORY_BORDER, 15},   {RING_MEMORY_BORDER, 17},
        {RING_MEMORY_BORDER, 9 * 16}, /* more than the queue could have */
        {RING_MEMORY_BORDER, 0xfffffff0u}, {RING_MEMORY_END - 16, 32}, {UINT64_MAX - 15, 16}};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        set_up(INDIRECT);
        packed_ring_offer(&ring, wrong[i].address, wrong[i].size, 0, RING_INDIRECT);
        expect_broken();
    }
}
END_TEST

START_TEST(table_may_lie_over_a_border_of_ram)
{
    uint64_t table = RING_MEMORY_BORDER - 20;

    set_up(INDIRECT);
    ring_describe_at(&slot, table, 0, buffers, 4, 0, 0);
    ring_describe_at(&slot, table, 1, buffers, 5, 0, RING_WRITE);
    packed_ring_offer(&ring, table, 32, 0, RING_INDIRECT);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.read_size, 4);
    ck_assert_uint_eq(chain.write_size, 5);
}
END_TEST

UNIT_MAIN("virtio_packed", ring_of_zeroes_offers_nothing_2_8_1, counters_change_with_each_lap_2_8_1,
          buffer_that_is_in_flight_is_not_seen_again_a_lap_later_2_8_1,
          list_lies_behind_its_first_over_the_end_of_the_ring_2_8_6,
          one_used_descriptor_stands_for_a_list_which_is_skipped_2_8_6,
          write_flag_of_what_is_used_says_whether_anything_was_written_2_8_3,
          buffers_are_used_in_the_order_in_which_they_end_2_8_12,
          several_are_used_at_once_over_the_end_of_the_ring,
          list_may_be_as_long_as_the_ring_and_loops_in_none_2_8_17,
          list_that_takes_descriptors_in_flight_is_nonsense_2_8_17,
          buffer_over_one_in_flight_is_nonsense_2_8_16,
          rest_of_a_list_that_is_not_available_is_nonsense_2_8_6,
          readable_descriptor_behind_a_writable_one_is_nonsense_2_8_17,
          device_writes_nothing_readable_2_8_15, buffer_outside_ram_or_of_4_gib_is_nonsense,
          buffer_over_a_border_of_ram_is_two_pieces,
          table_has_its_descriptors_in_order_and_only_their_write_flags_2_8_7,
          table_needs_its_feature_2_8_19, table_is_no_part_of_a_list_2_8_19,
          table_of_a_wrong_size_or_place_is_nonsense_2_8_7, table_may_lie_over_a_border_of_ram)
