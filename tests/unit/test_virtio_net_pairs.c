/* Several pairs of queues of a network card: virtio 1.2, 5.1.6.5.5 and 5.1.6.5.6. */
#include "proto/base/cleanup.h"
#include "tests/unit/virtio_net_unit.h"

enum { BUFFER = DATA + 0x1000, ROOM = 1000 };
enum { NETWORK_MS = 1000000 };

#define CTRL_VQ FEATURE(17)
#define MQ      FEATURE(22)

static uint32_t control; /* the queue of commands */

static void create_pairs(uint64_t pairs)
{
    const struct vdev_value value = {.option = OPTION_QUEUES, .number = {pairs}};

    create_net(&value, 1);
}

static void set_up_pairs(uint64_t features)
{
    create_pairs(2);
    drive(VERSION_1 | features);
    control = (features & MQ) != 0 ? 4 : 2;
}

static uint8_t set_pairs(unsigned pairs)
{
    return command_pairs(control, pairs);
}

/* A buffer for pair number `pair`. */
static void give_buffer(uint32_t pair, uint16_t i)
{
    ring_describe(&rings[2 * pair], i, BUFFER + pair * 0x1000u + i * ROOM, ROOM, RING_WRITE, 0);
    ring_offer(&rings[2 * pair], i);
    kick(2 * pair);
}

static void come(uint32_t lane)
{
    fake_slot_queue_frame(&slot, lane, bytes, HEADER + SIZE);
}

static void send(uint32_t pair)
{
    struct ring *ring = &rings[2 * pair + 1];

    memset(memory(DATA), 0, HEADER);
    ring_describe(ring, 0, DATA, HEADER + SIZE, 0, 0);
    ring_offer(ring, 0);
    kick(2 * pair + 1);
}

START_TEST(queues_are_where_the_features_say_5_1_2)
{
    create_pairs(2);
    ck_assert_uint_ne(offered() & MQ, 0);
    ck_assert_uint_eq(get(CONFIG + 8) & 0xffff, 2); /* max_virtqueue_pairs, 5.1.4 */
    for (uint32_t i = 0; i < 6; i++) {
        set(0x30, i);
        ck_assert_uint_eq(get(0x34), i < 5 ? 256 : 0);
    }
    fake_slot_destroy(&slot);
    create_pairs(1);
    ck_assert_uint_eq(offered() & MQ, 0);
    ck_assert_uint_eq(get(CONFIG + 8) & 0xffff, 0);
    set(0x30, 3);
    ck_assert_uint_eq(get(0x34), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(most_pairs_of_queues_work_as_one_does)
{
    create_pairs(VDEV_NETWORK_QUEUES_MAX);
    ck_assert_uint_eq(get(CONFIG + 8) & 0xffff, VDEV_NETWORK_QUEUES_MAX);
    set(0x30, 2 * VDEV_NETWORK_QUEUES_MAX);
    ck_assert_uint_eq(get(0x34), 256);
    drive(VERSION_1 | CTRL_VQ | MQ);
    give_buffer(0, 0);
    come(VDEV_NETWORK_QUEUES_MAX - 1);
    expect_used(0, 0, HEADER + SIZE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(until_it_is_told_all_goes_to_the_first_pair_5_1_6_5_6_2)
{
    set_up_pairs(CTRL_VQ | MQ);
    give_buffer(0, 0);
    give_buffer(0, 1);
    give_buffer(1, 0);
    come(0);
    come(1);
    expect_used(0, 0, HEADER + SIZE);
    expect_used(0, 1, HEADER + SIZE);
    ck_assert(!is_used(2));
    expect_state("pairs=1 of 2\n");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(each_pair_has_a_lane_of_the_network_5_1_6_5_6)
{
    set_up_pairs(CTRL_VQ | MQ);
    ck_assert_uint_eq(set_pairs(2), OK);
    expect_state("pairs=2 of 2\n");
    give_buffer(0, 0);
    give_buffer(1, 0);
    come(1);
    ck_assert(!is_used(0));
    expect_used(2, 0, HEADER + SIZE);
    come(0);
    expect_used(0, 0, HEADER + SIZE);
    send(1);
    send(0);
    ck_assert_uint_eq(slot.out_count, 2);
    ck_assert_uint_eq(slot.out[0].queue, 1);
    ck_assert_uint_eq(slot.out[1].queue, 0);
    expect_used(3, 0, 0);
    expect_used(1, 0, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(queues_that_are_used_no_more_get_nothing_5_1_6_5_6_2)
{
    set_up_pairs(CTRL_VQ | MQ);
    ck_assert_uint_eq(set_pairs(2), OK);
    give_buffer(1, 0);
    ck_assert_uint_eq(set_pairs(1), OK);
    give_buffer(0, 0);
    come(1);
    ck_assert(!is_used(2));
    expect_used(0, 0, HEADER + SIZE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_frame_that_waits_for_buffers_gets_those_of_the_queue_that_is_used)
{
    set_up_pairs(CTRL_VQ | MQ);
    ck_assert_uint_eq(set_pairs(2), OK);
    come(1);
    give_buffer(0, 0);
    ck_assert(!is_used(0) && !is_used(2)); /* it is for the second pair */
    ck_assert_uint_eq(set_pairs(1), OK);
    expect_used(0, 0, HEADER + SIZE);
    expect_state("received-lost=0\n");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(who_waits_for_buffers_holds_nobody_else_up)
{
    set_up_pairs(CTRL_VQ | MQ);
    ck_assert_uint_eq(set_pairs(2), OK);
    come(0); /* waits */
    give_buffer(1, 0);
    come(1);
    expect_used(2, 0, HEADER + SIZE);
    give_buffer(0, 0);
    expect_used(0, 0, HEADER + SIZE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(another_queue_takes_what_is_for_one_that_is_reset_5_1_6_5_6_2)
{
    set_up_pairs(CTRL_VQ | MQ | FEATURE(40));
    ck_assert_uint_eq(set_pairs(2), OK);
    set(0x30, 2);
    set(0xc0, 1); /* QueueReset */
    give_buffer(0, 0);
    come(1);
    expect_used(0, 0, HEADER + SIZE);
    set(0x30, 0);
    set(0xc0, 1);
    come(0); /* there is none left */
    come(1);
    expect_state("received-lost=2\n");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(numbers_of_pairs_that_there_are_not_are_refused_5_1_6_5_5)
{
    set_up_pairs(CTRL_VQ | MQ);
    ck_assert_uint_eq(set_pairs(2), OK);
    ck_assert_uint_eq(set_pairs(0), ERR);
    ck_assert_uint_eq(set_pairs(3), ERR);
    ck_assert_uint_eq(set_pairs(0x8001), ERR);
    expect_state("pairs=2 of 2\n"); /* as it was */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(without_the_feature_there_is_one_pair_and_its_commands_follow_5_1_2)
{
    set_up_pairs(CTRL_VQ);
    ck_assert_uint_eq(set_pairs(1), ERR); /* as queue 2 */
    give_buffer(0, 0);
    give_buffer(0, 1);
    come(0);
    come(1);
    expect_used(0, 0, HEADER + SIZE);
    expect_used(0, 1, HEADER + SIZE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_goes_back_to_one_pair_5_1_6_5_6_2)
{
    set_up_pairs(CTRL_VQ | MQ);
    ck_assert_uint_eq(set_pairs(2), OK);
    come(1); /* waits, and is lost */
    drive(VERSION_1 | CTRL_VQ | MQ);
    expect_state("pairs=1 of 2\n");
    give_buffer(0, 0);
    ck_assert(!is_used(0));
    come(1);
    expect_used(0, 0, HEADER + SIZE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(each_lane_is_waited_for_alone)
{
    set_up_pairs(CTRL_VQ | MQ);
    ck_assert_uint_eq(set_pairs(2), OK);
    slot.frame_room = 0;
    send(0);
    fake_slot_advance(&slot, 150 * NETWORK_MS);
    fake_slot_run(&slot);
    send(1);
    ck_assert(!is_used(1) && !is_used(3));
    fake_slot_advance(&slot, 100 * NETWORK_MS); /* the first one's time is over */
    fake_slot_run(&slot);
    expect_used(1, 0, 0);
    ck_assert(!is_used(3));
    fake_slot_advance(&slot, 100 * NETWORK_MS);
    fake_slot_run(&slot);
    expect_used(3, 0, 0);
    ck_assert_uint_eq(slot.deadline_ns, 0);
    expect_state("sent-lost=2\n");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_restored_card_uses_the_pairs_that_it_used)
{
    struct fields_writer saved = {0};

    set_up_pairs(CTRL_VQ | MQ);
    ck_assert_uint_eq(set_pairs(2), OK);
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    fake_slot_reset(&slot);
    expect_state("pairs=1 of 2\n");
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    expect_state("pairs=2 of 2\n");
    give_buffer(1, 0);
    come(1);
    expect_used(2, 0, HEADER + SIZE);
    fake_slot_destroy(&slot);
    create_pairs(1); /* another card has not so many */
    ck_assert_int_ne(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_net_pairs", queues_are_where_the_features_say_5_1_2,
          most_pairs_of_queues_work_as_one_does,
          until_it_is_told_all_goes_to_the_first_pair_5_1_6_5_6_2,
          each_pair_has_a_lane_of_the_network_5_1_6_5_6,
          queues_that_are_used_no_more_get_nothing_5_1_6_5_6_2,
          a_frame_that_waits_for_buffers_gets_those_of_the_queue_that_is_used,
          who_waits_for_buffers_holds_nobody_else_up,
          another_queue_takes_what_is_for_one_that_is_reset_5_1_6_5_6_2,
          numbers_of_pairs_that_there_are_not_are_refused_5_1_6_5_5,
          without_the_feature_there_is_one_pair_and_its_commands_follow_5_1_2,
          a_reset_goes_back_to_one_pair_5_1_6_5_6_2, each_lane_is_waited_for_alone,
          a_restored_card_uses_the_pairs_that_it_used)
