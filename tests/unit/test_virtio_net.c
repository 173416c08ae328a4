/* The network card, rule by rule: virtio 1.2, 5.1. */
#include "tests/unit/virtio_net_unit.h"

enum { INTERRUPT_STATUS = 0x60, INTERRUPT_ACK = 0x64, CHANGED = 2 }; /* 4.2.2 */

#define CSUM       FEATURE(0)
#define GUEST_CSUM FEATURE(1)
#define MAC        FEATURE(5)
#define GUEST_TSO4 FEATURE(7)
#define HOST_TSO4  FEATURE(11)
#define MRG_RXBUF  FEATURE(15)
#define STATUS     FEATURE(16)

static void give(uint32_t queue, uint16_t i, uint64_t at, uint32_t size)
{
    ring_describe(&rings[queue], i, at, size, queue == RECEIVE ? RING_WRITE : 0, 0);
    ring_offer(&rings[queue], i);
    kick(queue);
}

/* A frame of SIZE bytes with that header goes from DATA. */
static void send_with(const struct net_header *header)
{
    memcpy(memory(DATA), header, HEADER);
    memset(memory(DATA) + HEADER, 7, SIZE);
    give(TRANSMIT, 0, DATA, HEADER + SIZE);
}

static uint16_t buffers_at(uint64_t at)
{
    uint16_t count;

    memcpy(&count, memory(at) + 10, sizeof(count));
    return count;
}

START_TEST(it_wants_a_network)
{
    slot.has_network = false;
    ck_assert_int_ne(create(vdev_virtio_net_module, NULL, 0), 0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "'tap NAME'"));
}
END_TEST

START_TEST(its_address_is_the_names_own_and_stays)
{
    uint32_t first, second;

    create_net(NULL, 0);
    first = get(CONFIG), second = get(CONFIG + 4);
    ck_assert_uint_eq(first & 3, 2);    /* administered here, and one device's */
    ck_assert_uint_eq(second >> 16, 1); /* the link is up */
    fake_slot_destroy(&slot);
    create_net(NULL, 0);
    ck_assert_uint_eq(get(CONFIG), first);
    ck_assert_uint_eq(get(CONFIG + 4), second);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(mac_is_six_bytes_of_one_device)
{
    static const char *const wrong[] = {"",
                                        "02:00:00:00:00",
                                        "02:00:00:00:00:00:00",
                                        "2:0:0:0:0:0",
                                        "02-00-00-00-00-00",
                                        "02:00:00:00:00: 1",
                                        "02:00:00:00:00:0x",
                                        "01:00:00:00:00:01",
                                        "00:00:00:00:00:00"};
    struct vdev_value value = {.option = OPTION_MAC, .text = "0A:0b:00:ff:01:02"};

    create_net(&value, 1);
    ck_assert_uint_eq(get(CONFIG), 0xff000b0a);
    ck_assert_uint_eq(get(CONFIG + 4) & 0xffff, 0x0201);
    expect_state("mac=0a:0b:00:ff:01:02\n");
    fake_slot_destroy(&slot);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        value.text = wrong[i];
        slot.has_network = true;
        ck_assert_msg(create(vdev_virtio_net_module, &value, 1) != 0, "%s", wrong[i]);
        ck_assert_ptr_nonnull(strstr(slot.failure, "mac '"));
    }
}
END_TEST

START_TEST(peerfeats_leaves_features_out)
{
    struct vdev_value value = {.option = OPTION_PEERFEATS, .number = {GUEST_CSUM}};

    create_net(NULL, 0);
    ck_assert_uint_eq(offered() & 0xffffff, 0x87bba3);
    fake_slot_destroy(&slot);
    create_net(&value, 1);
    ck_assert_uint_eq(offered() & 0xffffff, GUEST_CSUM | MAC);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_frame_goes_with_its_header_5_1_6_2)
{
    static const struct net_header header = {
        .flags = 0xff & ~NET_NEEDS_CSUM, .hdr_len = 9999, .num_buffers = 7};
    static const struct net_header sent = {.hdr_len = SIZE};

    set_up(0);
    send_with(&header);
    ck_assert_uint_eq(slot.out_count, 1);
    ck_assert_uint_eq(slot.out[0].size, HEADER + SIZE);
    ck_assert_mem_eq(slot.out[0].bytes, &sent, HEADER); /* what it may not say is not there */
    ck_assert_uint_eq(slot.out[0].bytes[HEADER], 7);
    expect_used(TRANSMIT, 0, 0);
    expect_state("sent-frames=1\nsent-bytes=100\nsent-lost=0\n");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_was_not_agreed_on_is_lost_5_1_6_2)
{
    static const struct net_header sum = {
        .flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
    struct net_header large = sum;

    large.gso_type = NET_GSO_TCPV4;
    large.gso_size = 10;
    set_up(0);
    send_with(&sum);
    ck_assert_uint_eq(slot.out_count, 0);
    expect_used(TRANSMIT, 0, 0);
    fake_slot_destroy(&slot);
    set_up(CSUM);
    send_with(&sum);
    send_with(&large);
    ck_assert_uint_eq(slot.out_count, 1);
    fake_slot_destroy(&slot);
    set_up(CSUM | HOST_TSO4);
    send_with(&large);
    ck_assert_uint_eq(slot.out_count, 1);
    ck_assert_uint_eq(slot.out[0].bytes[1], NET_GSO_TCPV4);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(frames_that_are_too_short_or_too_long_are_lost)
{
    set_up(0);
    memset(memory(DATA), 0, HEADER);
    give(TRANSMIT, 0, DATA, HEADER - 1);
    give(TRANSMIT, 1, DATA, HEADER + NET_FRAME_MIN - 1);
    ck_assert_uint_eq(slot.out_count, 0);
    give(TRANSMIT, 2, DATA, HEADER + NET_FRAME_MIN);
    ck_assert_uint_eq(slot.out_count, 1);
    for (uint16_t i = 3; i < 9; i++) { /* six times 12,288 bytes are too many */
        ring_describe(&rings[TRANSMIT], i, DATA, 0x3000, i < 8 ? RING_NEXT : 0, i + 1u);
    }
    ring_offer(&rings[TRANSMIT], 3);
    kick(TRANSMIT);
    ck_assert_uint_eq(slot.out_count, 1);
    expect_state("sent-lost=3\n");
    ck_assert(!needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(who_does_not_read_is_waited_for_and_then_loses_frames)
{
    static const struct net_header header = {.flags = 0};

    set_up(0);
    slot.frame_room = 1;
    send_with(&header);
    send_with(&header);
    ck_assert_uint_eq(slot.out_count, 1);
    expect_used(TRANSMIT, 0, 0);
    ck_assert(!is_used(TRANSMIT)); /* the second waits */
    slot.frame_room = 1;
    slot.module->ops->event(slot.device, slot.network_event);
    ck_assert_uint_eq(slot.out_count, 2);
    expect_used(TRANSMIT, 0, 0);
    ck_assert_uint_eq(slot.deadline_ns, 0);
    send_with(&header);
    ck_assert(!is_used(TRANSMIT));
    fake_slot_advance(&slot, 250000000);
    fake_slot_run(&slot);
    expect_used(TRANSMIT, 0, 0); /* lost */
    send_with(&header);
    expect_used(TRANSMIT, 0, 0); /* lost at once */
    expect_state("sent-lost=2\n");
    slot.frame_room = 1;
    send_with(&header);
    ck_assert_uint_eq(slot.out_count, 3);
    expect_used(TRANSMIT, 0, 0);
    send_with(&header); /* it read: it is waited for again */
    ck_assert(!is_used(TRANSMIT));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_frame_that_comes_fills_a_buffer_5_1_6_4)
{
    set_up(0);
    give(RECEIVE, 0, DATA, 1000);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    expect_used(RECEIVE, 0, HEADER + SIZE);
    ck_assert_uint_eq(buffers_at(DATA), 1);
    ck_assert_mem_eq(memory(DATA + HEADER), bytes + HEADER, SIZE);
    ck_assert(slot.is_high);
    expect_state("received-frames=1\nreceived-bytes=100\nreceived-lost=0\n");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_frame_waits_for_buffers_and_none_is_told_before)
{
    set_up(MRG_RXBUF);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    give(RECEIVE, 0, DATA, 60);
    ck_assert(!is_used(RECEIVE));
    give(RECEIVE, 1, DATA + 1000, 60);
    expect_used(RECEIVE, 0, 60);
    expect_used(RECEIVE, 1, HEADER + SIZE - 60);
    ck_assert_uint_eq(buffers_at(DATA), 2);
    ck_assert_mem_eq(memory(DATA + 1000), bytes + HEADER + 48, SIZE - 48);
    give(RECEIVE, 2, DATA, 1000);
    expect_used(RECEIVE, 2, HEADER + SIZE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_doorbell_of_no_queue_rings_nothing_4_2_2)
{
    set_up(0);
    give(RECEIVE, 0, DATA, 1000);
    memset(slot.in[0].bytes, 0, HEADER);
    slot.in[0].size = HEADER + SIZE;
    slot.in_count = 1; /* a frame has come, and nobody was told yet */
    for (uint32_t value = 2; value < 40; value++) {
        set(0x50, value);
    }
    set(0x50, UINT32_MAX);
    ck_assert(!is_used(RECEIVE));
    ck_assert_uint_eq(slot.in_next, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(without_merging_a_frame_that_is_too_large_is_lost)
{
    set_up(0);
    give(RECEIVE, 0, DATA, HEADER + SIZE - 1);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    ck_assert(!is_used(RECEIVE));
    expect_state("received-lost=1\n");
    fake_slot_frame(&slot, bytes, HEADER + SIZE - 1);
    expect_used(RECEIVE, 0, HEADER + SIZE - 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_buffer_without_room_for_the_header_breaks_the_rules_5_1_6_3_1)
{
    set_up(MRG_RXBUF);
    give(RECEIVE, 0, DATA, HEADER - 1);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    ck_assert(needs_reset());
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    expect_state("received-lost=2\n");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_comes_before_the_driver_is_ready_is_lost)
{
    create_net(NULL, 0);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    expect_state("received-lost=1\n");
    drive(VERSION_1);
    give(RECEIVE, 0, DATA, 1000);
    ck_assert(!is_used(RECEIVE));
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    ck_assert(is_used(RECEIVE));
    set(0x70, 0);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    expect_state("received-lost=2\n");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_other_end_is_checked_as_the_driver_is)
{
    struct net_header header = {.flags = NET_NEEDS_CSUM, .csum_start = 99, .csum_offset = 16};

    set_up(GUEST_CSUM);
    give(RECEIVE, 0, DATA, 1000);
    memcpy(bytes, &header, HEADER);
    fake_slot_frame(&slot, bytes, HEADER + SIZE); /* its checksum is outside */
    memset(bytes, 0, HEADER);
    fake_slot_frame(&slot, bytes, HEADER + NET_FRAME_MIN - 1);
    fake_slot_frame(&slot, bytes, HEADER - 1);
    fake_slot_frame(&slot, bytes, VDEV_FRAME_MAX + 1);
    expect_state("received-lost=4\n");
    ck_assert(!is_used(RECEIVE));
    memcpy(bytes, &(struct net_header){.flags = 0xfe, .hdr_len = 9999}, HEADER);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    expect_used(RECEIVE, 0, HEADER + SIZE);
    ck_assert_uint_eq(*memory(DATA), NET_DATA_VALID); /* nobody knows the other bits */
    ck_assert_uint_eq(*memory(DATA + 2), 0);          /* a hint beyond the frame */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_driver_without_checksums_gets_them_filled_in_5_1_6_4_1)
{
    struct net_header header = {.flags = NET_NEEDS_CSUM, .csum_start = 14, .csum_offset = 0};

    set_up(0);
    give(RECEIVE, 0, DATA, 1000);
    memcpy(bytes, &header, HEADER);
    bytes[HEADER + 14] = bytes[HEADER + 15] = 0;
    fake_slot_frame(&slot, bytes, HEADER + 20);
    expect_used(RECEIVE, 0, HEADER + 20);
    ck_assert_uint_eq(*memory(DATA), 0);
    ck_assert_uint_eq(*memory(DATA + HEADER + 14), 0xed); /* of 0x0909 twice, one's complement */
    ck_assert_uint_eq(*memory(DATA + HEADER + 15), 0xed);
    fake_slot_destroy(&slot);
}
END_TEST

/* A large segment of 600 bytes of data in steps of 250. */
static void come_large(void)
{
    static const struct net_header header = {.flags = NET_NEEDS_CSUM,
                                             .gso_type = NET_GSO_TCPV4,
                                             .gso_size = 250,
                                             .csum_start = 34,
                                             .csum_offset = 16};

    static const uint8_t ip[] = {8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 0x40, 6};

    memcpy(bytes, &header, HEADER);
    memcpy(bytes + HEADER + 12, ip, sizeof(ip));
    bytes[HEADER + 46] = 0x50;
    fake_slot_frame(&slot, bytes, HEADER + 54 + 600);
}

START_TEST(a_driver_without_large_segments_gets_small_ones)
{
    set_up(GUEST_CSUM);
    give(RECEIVE, 0, DATA, 1000);
    give(RECEIVE, 1, DATA + 1000, 1000);
    come_large();
    expect_used(RECEIVE, 0, HEADER + 54 + 250);
    expect_used(RECEIVE, 1, HEADER + 54 + 250);
    ck_assert(!is_used(RECEIVE)); /* the third waits for a buffer */
    give(RECEIVE, 2, DATA, 1000);
    expect_used(RECEIVE, 2, HEADER + 54 + 100);
    ck_assert_uint_eq(*memory(DATA), 0);
    fake_slot_destroy(&slot);
    set_up(GUEST_CSUM | GUEST_TSO4);
    give(RECEIVE, 0, DATA, 1000);
    come_large();
    expect_used(RECEIVE, 0, HEADER + 54 + 600);
    ck_assert_uint_eq(*memory(DATA + 1), NET_GSO_TCPV4);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_driver_is_told_of_its_link_5_1_4_2)
{
    slot.is_unlinked = true;
    set_up(STATUS);
    ck_assert_uint_eq(get(CONFIG + 4) >> 16, 0);
    expect_state("link=down\n");
    fake_slot_link(&slot, true);
    ck_assert_uint_eq(get(CONFIG + 4) >> 16, 1);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), CHANGED);
    set(INTERRUPT_ACK, CHANGED);
    fake_slot_link(&slot, true); /* it is so already */
    ck_assert_uint_eq(get(INTERRUPT_STATUS), 0);
    fake_slot_link(&slot, false);
    ck_assert_uint_eq(get(CONFIG + 4) >> 16, 0);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), CHANGED);
    expect_state("link-changes=2\n");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(without_anybody_at_the_other_end_frames_are_lost)
{
    const struct net_header plain = {.flags = 0};

    set_up(STATUS);
    slot.frame_room = 0;
    send_with(&plain);
    ck_assert(!is_used(TRANSMIT)); /* it waits */
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    fake_slot_link(&slot, false);
    kick(TRANSMIT); /* as the device did by itself */
    ck_assert(is_used(TRANSMIT));
    give(RECEIVE, 0, DATA, HEADER + SIZE);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    ck_assert(!is_used(RECEIVE));
    expect_state("sent-lost=1\n");
    slot.frame_room = 1;
    fake_slot_link(&slot, true);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    ck_assert(is_used(RECEIVE));
    send_with(&plain);
    ck_assert(is_used(TRANSMIT));
    ck_assert_uint_eq(slot.out_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(one_round_is_bounded)
{
    create_net(NULL, 0);
    for (unsigned i = 0; i < 99; i++) {
        slot.in[slot.in_count++].size = HEADER + SIZE;
    }
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    ck_assert_uint_eq(slot.in_next, 64);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.in_next, 100);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_net", it_wants_a_network, its_address_is_the_names_own_and_stays,
          mac_is_six_bytes_of_one_device, peerfeats_leaves_features_out,
          a_frame_goes_with_its_header_5_1_6_2, what_was_not_agreed_on_is_lost_5_1_6_2,
          frames_that_are_too_short_or_too_long_are_lost,
          who_does_not_read_is_waited_for_and_then_loses_frames,
          a_frame_that_comes_fills_a_buffer_5_1_6_4,
          a_frame_waits_for_buffers_and_none_is_told_before,
          a_doorbell_of_no_queue_rings_nothing_4_2_2,
          without_merging_a_frame_that_is_too_large_is_lost,
          a_buffer_without_room_for_the_header_breaks_the_rules_5_1_6_3_1,
          what_comes_before_the_driver_is_ready_is_lost, the_other_end_is_checked_as_the_driver_is,
          a_driver_without_checksums_gets_them_filled_in_5_1_6_4_1,
          a_driver_without_large_segments_gets_small_ones, the_driver_is_told_of_its_link_5_1_4_2,
          without_anybody_at_the_other_end_frames_are_lost, one_round_is_bounded)
