/* The device's end of a split virtqueue, rule by rule: virtio 1.2, 2.7.4 to 2.7.6. */
#include "tests/unit/virtio_queue_unit.h"

/* ---- 2.7.4: framing ---- */

START_TEST(buffer_may_be_cut_into_descriptors_in_any_way_2_7_4_1)
{
    static const char text[] = "a header and more";
    char read[sizeof(text)];

    set_up(false, false);
    memcpy(fake_slot_memory(&slot, buffers, sizeof(text)), text, sizeof(text));
    ring_describe(&ring, 3, buffers, 1, RING_NEXT, 5);
    ring_describe(&ring, 5, buffers + 1, 4, RING_NEXT, 1);
    ring_describe(&ring, 1, buffers + 5, sizeof(text) - 5, RING_NEXT, 0);
    ring_describe(&ring, 0, buffers + 100, 2, RING_NEXT | RING_WRITE, 7);
    ring_describe(&ring, 7, buffers + 200, 5, RING_WRITE, 0);
    ring_offer(&ring, 3);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.token.head, 3);
    ck_assert_uint_eq(chain.read_size, sizeof(text));
    ck_assert_uint_eq(chain.write_size, 7);
    ck_assert_uint_eq(virtq_read(&chain, 0, read, sizeof(read)), sizeof(text));
    ck_assert_str_eq(read, text);
    ck_assert_uint_eq(virtq_read(&chain, 3, read, 4), 4);
    ck_assert_mem_eq(read, text + 3, 4);
    ck_assert_uint_eq(virtq_write(&chain, 1, "UVWXYZ", 7), 6);
    ck_assert_mem_eq(fake_slot_memory(&slot, buffers + 100, 2), "\0U", 2);
    ck_assert_mem_eq(fake_slot_memory(&slot, buffers + 200, 5), "VWXYZ", 5);
}
END_TEST

START_TEST(part_of_a_buffer_is_found_whatever_the_cuts)
{
    struct vdev_piece *first = NULL;

    set_up(false, false);
    ring_describe(&ring, 0, buffers, 16, RING_NEXT, 1);
    ring_describe(&ring, 1, buffers + 100, 10, RING_NEXT | RING_WRITE, 2);
    ring_describe(&ring, 2, buffers + 200, 10, RING_NEXT | RING_WRITE, 3);
    ring_describe(&ring, 3, buffers + 300, 10, RING_WRITE, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(virtq_cut(&chain, true, 31, 0, &first), 0);
    ck_assert_uint_eq(virtq_cut(&chain, true, 0, 31, &first), 0);
    ck_assert_uint_eq(virtq_cut(&chain, true, UINT64_MAX, 2, &first), 0);
    ck_assert_uint_eq(virtq_cut(&chain, true, 4, 18, &first), 3);
    ck_assert_ptr_eq(first[0].base, fake_slot_memory(&slot, buffers + 104, 6));
    ck_assert_uint_eq(first[0].size, 6);
    ck_assert_uint_eq(first[1].size, 10);
    ck_assert_uint_eq(first[2].size, 2);
}
END_TEST

START_TEST(readable_descriptor_behind_a_writable_one_is_nonsense_2_7_4_2)
{
    set_up(false, false);
    ring_describe(&ring, 0, buffers, 4, RING_NEXT | RING_WRITE, 1);
    ring_describe(&ring, 1, buffers, 4, 0, 0);
    ring_offer(&ring, 0);
    expect_broken();
}
END_TEST

/* ---- 2.7.5: the descriptor table ---- */

START_TEST(device_writes_nothing_readable_2_7_5_1)
{
    set_up(false, false);
    ring_describe(&ring, 0, buffers, 64, 0, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(virtq_write(&chain, 0, "x", 1), 0);
    ck_assert_uint_eq(chain.write_count, 0);
}
END_TEST

START_TEST(head_outside_the_table_is_nonsense_2_7_5)
{
    set_up(false, false);
    ring_offer(&ring, SIZE);
    expect_broken();
}
END_TEST

START_TEST(next_outside_the_table_is_nonsense_2_7_5)
{
    set_up(false, false);
    ring_describe(&ring, 0, buffers, 4, RING_NEXT, SIZE);
    ring_offer(&ring, 0);
    expect_broken();
}
END_TEST

START_TEST(chain_that_bites_its_tail_is_nonsense_2_7_5_2)
{
    set_up(false, false);
    ring_describe(&ring, 0, buffers, 4, RING_NEXT, 1);
    ring_describe(&ring, 1, buffers, 0, RING_NEXT, 0); /* empty ones count as well */
    ring_offer(&ring, 0);
    expect_broken();
}
END_TEST

START_TEST(chain_may_be_as_long_as_the_queue_and_no_longer_2_7_5_3_1)
{
    set_up(false, true);
    for (uint16_t i = 0; i < SIZE; i++) {
        ring_describe(&ring, i, buffers, 1, (unsigned)i + 1 < SIZE ? RING_NEXT : 0, i + 1u);
    }
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.read_count, SIZE);
    for (uint16_t i = 0; i <= SIZE; i++) {
        ring_describe_at(&slot, buffers, i, buffers, 1, i < SIZE ? RING_NEXT : 0, i + 1u);
    }
    ring_describe(&ring, 0, buffers, (SIZE + 1) * 16, RING_INDIRECT, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), -EPROTO);
}
END_TEST

START_TEST(chain_of_more_pieces_than_there_is_room_is_nonsense)
{
    set_up(false, false);
    chain.room = 1;
    ring_describe(&ring, 0, buffers, 1, 0, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ring_describe(&ring, 1, buffers, 1, RING_NEXT, 2);
    ring_describe(&ring, 2, buffers, 1, 0, 0);
    ring_offer(&ring, 1);
    ck_assert_int_eq(virtq_take(&queue, &chain), -EPROTO);
}
END_TEST

START_TEST(chain_of_4_gib_is_nonsense_2_7_5_2)
{
    static uint8_t page[4096];

    set_up(false, true);
    slot.memory[2] = (struct fake_memory){UINT64_C(1) << 32, page, UINT64_C(1) << 31};
    ring_describe(&ring, 0, UINT64_C(1) << 32, 0x80000000u, RING_NEXT, 1);
    ring_describe(&ring, 1, UINT64_C(1) << 32, 0x7fffffffu, 0, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.read_size, UINT32_MAX);
    ring_describe(&ring, 1, UINT64_C(1) << 32, 0x80000000u, 0, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), -EPROTO);
}
END_TEST

START_TEST(empty_descriptors_are_passed_over)
{
    set_up(false, false);
    ring_describe(&ring, 0, 0, 0, RING_NEXT, 1); /* address 0 is no RAM here */
    ring_describe(&ring, 1, buffers, 4, RING_NEXT, 2);
    ring_describe(&ring, 2, UINT64_MAX, 0, RING_WRITE, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.read_count, 1);
    ck_assert_uint_eq(chain.write_count, 0);
}
END_TEST

START_TEST(buffer_outside_ram_is_nonsense)
{
    static const struct {
        uint64_t address;
        uint32_t size;
    } outside[] = {{0, 1},
                   {RING_MEMORY_START - 1, 1},
                   {RING_MEMORY_START - 1, 2},
                   {RING_MEMORY_END, 1},
                   {RING_MEMORY_END - 1, 2},
                   {RING_MEMORY_END - 1, UINT32_MAX},
                   {UINT64_MAX, 1},
                   {UINT64_MAX, 2},
                   {UINT64_MAX - 1, UINT32_MAX}};

    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        set_up(false, false);
        ring_describe(&ring, 0, outside[i].address, outside[i].size, 0, 0);
        ring_offer(&ring, 0);
        expect_broken();
    }
}
END_TEST

START_TEST(buffer_over_a_border_of_ram_is_two_pieces)
{
    set_up(false, false);
    memcpy(fake_slot_memory(&slot, RING_MEMORY_BORDER - 3, 3), "abc", 3);
    memcpy(fake_slot_memory(&slot, RING_MEMORY_BORDER, 3), "def", 3);
    ring_describe(&ring, 0, RING_MEMORY_BORDER - 3, 6, 0, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.read_count, 2);
    ck_assert_uint_eq(segments[0].size, 3);
    ck_assert_mem_eq(segments[0].base, "abc", 3);
    ck_assert_mem_eq(segments[1].base, "def", 3);
}
END_TEST

/* ---- 2.7.5.3: indirect descriptors ---- */

START_TEST(indirect_descriptor_needs_its_feature_2_7_5_3_1)
{
    set_up(false, false);
    ring_describe_at(&slot, buffers, 0, buffers, 1, 0, 0);
    ring_describe(&ring, 0, buffers, 16, RING_INDIRECT, 0);
    ring_offer(&ring, 0);
    expect_broken();
}
END_TEST

START_TEST(write_flag_of_a_table_is_ignored_2_7_5_3_2)
{
    set_up(false, true);
    ring_describe_at(&slot, buffers, 0, buffers + 64, 4, RING_NEXT, 1);
    ring_describe_at(&slot, buffers, 1, buffers + 80, 8, RING_WRITE, 0);
    ring_describe(&ring, 2, buffers, 32, RING_INDIRECT | RING_WRITE, 0);
    ring_offer(&ring, 2);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.token.head, 2);
    ck_assert_uint_eq(chain.read_size, 4);
    ck_assert_uint_eq(chain.write_size, 8);
}
END_TEST

START_TEST(chain_may_end_in_a_table_2_7_5_3_2)
{
    set_up(false, true);
    ring_describe_at(&slot, buffers, 0, buffers + 64, 4, RING_WRITE, 0);
    ring_describe(&ring, 0, buffers + 80, 2, RING_NEXT, 1);
    ring_describe(&ring, 1, buffers + 90, 3, RING_NEXT, 2);
    ring_describe(&ring, 2, buffers, 16, RING_INDIRECT, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.read_size, 5);
    ck_assert_uint_eq(chain.write_size, 4);
}
END_TEST

START_TEST(table_in_a_table_is_nonsense_2_7_5_3_1)
{
    set_up(false, true);
    ring_describe_at(&slot, buffers, 0, buffers, 16, RING_INDIRECT, 0);
    ring_describe(&ring, 0, buffers, 16, RING_INDIRECT, 0);
    ring_offer(&ring, 0);
    expect_broken();
}
END_TEST

START_TEST(table_with_a_next_is_nonsense_2_7_5_3_1)
{
    set_up(false, true);
    ring_describe_at(&slot, buffers, 0, buffers, 4, 0, 0);
    ring_describe(&ring, 0, buffers, 16, RING_INDIRECT | RING_NEXT, 1);
    ring_describe(&ring, 1, buffers, 4, 0, 0);
    ring_offer(&ring, 0);
    expect_broken();
}
END_TEST

START_TEST(table_of_a_wrong_size_is_nonsense_2_7_5_3)
{
    static const uint32_t sizes[] = {0, 1, 15, 17, UINT32_MAX};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        set_up(false, true);
        ring_describe_at(&slot, buffers, 0, buffers, 4, 0, 0);
        ring_describe(&ring, 0, buffers, sizes[i], RING_INDIRECT, 0);
        ring_offer(&ring, 0);
        expect_broken();
    }
}
END_TEST

START_TEST(next_outside_its_table_is_nonsense_2_7_5_3)
{
    set_up(false, true);
    ring_describe_at(&slot, buffers, 0, buffers, 4, RING_NEXT, 2);
    ring_describe_at(&slot, buffers, 2, buffers, 4, 0, 0);
    ring_describe(&ring, 0, buffers, 32, RING_INDIRECT, 0);
    ring_offer(&ring, 0);
    expect_broken();
}
END_TEST

START_TEST(table_may_lie_over_a_border_of_ram_and_not_outside)
{
    uint64_t table = RING_MEMORY_BORDER - 20;

    set_up(false, true);
    ring_describe_at(&slot, table, 0, buffers, 4, RING_NEXT, 1);
    ring_describe_at(&slot, table, 1, buffers + 8, 5, 0, 0);
    ring_describe(&ring, 0, table, 32, RING_INDIRECT, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.read_size, 9);
    table = RING_MEMORY_END - 16;
    ring_describe_at(&slot, table, 0, buffers, 4, RING_NEXT, 1);
    ring_describe(&ring, 0, table, 32, RING_INDIRECT, 0);
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), -EPROTO);
}
END_TEST

/* ---- 2.7.6: the available ring ---- */

START_TEST(index_wraps_at_65536_2_7_6)
{
    uint32_t id, size;

    set_up(false, false);
    ring_describe(&ring, 2, buffers, 4, RING_WRITE, 0);
    for (uint32_t i = 0; i < 70000; i++) {
        ring_offer(&ring, 2);
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
        ck_assert_int_eq(virtq_take(&queue, &chain), 0);
        ck_assert(virtq_use(&queue, &chain, 3));
        ck_assert(ring_take(&ring, &id, &size));
        ck_assert_uint_eq(id, 2);
        ck_assert_uint_eq(size, 3);
    }
}
END_TEST

START_TEST(more_buffers_than_descriptors_are_nonsense_2_7_6)
{
    set_up(false, false);
    ring_describe(&ring, 0, buffers, 4, 0, 0);
    ring_set_available_index(&ring, SIZE);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    set_up(false, false);
    ring_set_available_index(&ring, SIZE + 1);
    expect_broken();
    set_up(false, false);
    ring_set_available_index(&ring, 0xffff); /* decremented */
    expect_broken();
}
END_TEST

START_TEST(buffers_that_nobody_gave_back_cannot_be_offered_again)
{
    set_up(false, false);
    ring_describe(&ring, 0, buffers, 4, 0, 0);
    for (unsigned i = 0; i < SIZE; i++) {
        ring_offer(&ring, 0);
        ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    }
    ring_offer(&ring, 0);
    ck_assert_int_eq(virtq_take(&queue, &chain), -EPROTO);
}
END_TEST

START_TEST(buffer_that_was_put_back_comes_again)
{
    set_up(false, false);
    ring_describe(&ring, 4, buffers, 4, 0, 0);
    ring_offer(&ring, 4);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    virtq_untake(&queue, &chain);
    ck_assert_int_eq(virtq_take(&queue, &chain), 1);
    ck_assert_uint_eq(chain.token.head, 4);
}
END_TEST

UNIT_MAIN("virtio_queue", buffer_may_be_cut_into_descriptors_in_any_way_2_7_4_1,
          part_of_a_buffer_is_found_whatever_the_cuts,
          readable_descriptor_behind_a_writable_one_is_nonsense_2_7_4_2,
          device_writes_nothing_readable_2_7_5_1, head_outside_the_table_is_nonsense_2_7_5,
          next_outside_the_table_is_nonsense_2_7_5, chain_that_bites_its_tail_is_nonsense_2_7_5_2,
          chain_may_be_as_long_as_the_queue_and_no_longer_2_7_5_3_1,
          chain_of_more_pieces_than_there_is_room_is_nonsense, chain_of_4_gib_is_nonsense_2_7_5_2,
          empty_descriptors_are_passed_over, buffer_outside_ram_is_nonsense,
          buffer_over_a_border_of_ram_is_two_pieces,
          indirect_descriptor_needs_its_feature_2_7_5_3_1,
          write_flag_of_a_table_is_ignored_2_7_5_3_2, chain_may_end_in_a_table_2_7_5_3_2,
          table_in_a_table_is_nonsense_2_7_5_3_1, table_with_a_next_is_nonsense_2_7_5_3_1,
          table_of_a_wrong_size_is_nonsense_2_7_5_3, next_outside_its_table_is_nonsense_2_7_5_3,
          table_may_lie_over_a_border_of_ram_and_not_outside, index_wraps_at_65536_2_7_6,
          more_buffers_than_descriptors_are_nonsense_2_7_6,
          buffers_that_nobody_gave_back_cannot_be_offered_again,
          buffer_that_was_put_back_comes_again)
