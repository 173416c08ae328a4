/* Sockets, rule by rule: virtio 1.2, 5.10; and what a program of the host sees of them. */
#include <errno.h>
#include <stdio.h>

#include "tests/unit/virtio_vsock_unit.h"

#define SECOND UINT64_C(1000000000)

static const struct fake_socket *host_end(uint32_t handle)
{
    return &slot.sockets[handle];
}

START_TEST(the_configuration_has_the_guests_cid_5_10_4)
{
    set_up(0);
    ck_assert_uint_eq(get(0x008), 19);
    ck_assert_uint_eq(get(0x100), CID);
    ck_assert_uint_eq(get(0x104), 0); /* the upper half is reserved, and zero */
    ck_assert_uint_eq(offered() & 0xff, FEATURE(0));
    set(0x100, 2);
    ck_assert_uint_eq(get(0x100), CID);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_device_without_listen_is_refused_in_words)
{
    slot.has_sockets = false;
    ck_assert_int_eq(create(vdev_virtio_vsock_module, NULL, 0), -EINVAL);
    ck_assert_ptr_nonnull(strstr(slot.failure, "listen PATH"));
}
END_TEST

START_TEST(a_program_of_the_host_connects_as_it_does_elsewhere_5_10_6_5)
{
    struct vsock_header header;
    char line[32];

    set_up(4);
    guest_alloc = 0x1000;
    fake_slot_dial(&slot, "CONNECT 42\n");
    header = expect_packet(VSOCK_REQUEST);
    ck_assert_uint_eq(header.dst_port, PORT);
    ck_assert_uint_eq(header.buf_alloc, BUFFER_SIZE); /* 5.10.6.3.2 */
    ck_assert_uint_eq(header.fwd_cnt, 0);
    ck_assert_uint_eq(header.flags, 0);
    ck_assert_uint_eq(host_end(0)->heard_count, 0); /* nothing before the guest has answered */
    send_op(header.src_port, VSOCK_RESPONSE, 0);
    (void)snprintf(line, sizeof(line), "OK %u\n", header.src_port);
    ck_assert_uint_eq(host_end(0)->heard_count, strlen(line));
    ck_assert_mem_eq(host_end(0)->heard, line, strlen(line));
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_line_that_says_anything_else_is_closed)
{
    static const char *const lines[] = {"CONNECT\n",
                                        "CONNECT \n",
                                        "connect 42\n",
                                        "CONNECT 4294967295\n",
                                        "CONNECT 4x\n",
                                        "CONNECT -1\n",
                                        "\n",
                                        "CONNECT 000000000000000000000000042\n",
                                        "CONNECT 18446744073709551658\n"};

    set_up(4);
    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        fake_slot_dial(&slot, lines[i]);
        ck_assert_uint_eq(host_end(0)->close_count, i + 1);
    }
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_line_may_come_in_pieces_and_what_follows_is_the_guests)
{
    uint8_t bytes[PACKET];
    struct vsock_header header;
    uint32_t port;

    set_up(4);
    guest_alloc = 0x1000;
    fake_slot_dial(&slot, "CONN");
    expect_nothing();
    fake_slot_say(&slot, 0, "ECT 42\nhello", 12);
    port = expect_packet(VSOCK_REQUEST).src_port;
    expect_nothing();
    send_op(port, VSOCK_RESPONSE, 0);
    ck_assert(take_packet(&header, bytes, true));
    ck_assert_uint_eq(header.op, VSOCK_RW);
    ck_assert_uint_eq(header.len, 5);
    ck_assert_mem_eq(bytes, "hello", 5);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_connection_that_the_guest_refuses_is_closed_5_10_6_5)
{
    uint32_t port;

    set_up(4);
    fake_slot_dial(&slot, "CONNECT 42\n");
    port = expect_packet(VSOCK_REQUEST).src_port;
    send_op(port, VSOCK_RST, 0);
    ck_assert(!host_end(0)->is_open);
    ck_assert_uint_eq(host_end(0)->heard_count, 0);
    expect_nothing(); /* nobody answers RST */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(who_does_not_say_what_is_its_turn_to_say_is_closed)
{
    set_up(4);
    fake_slot_dial(&slot, "CONN");
    fake_slot_dial(&slot, "CONNECT 42\n");
    (void)expect_packet(VSOCK_REQUEST);
    for (unsigned i = 0; i < 9; i++) {
        ck_assert(host_end(0)->is_open == (i < 8));
        ck_assert(host_end(1)->is_open == (i < 8));
        fake_slot_advance(&slot, SECOND);
        fake_slot_run(&slot);
    }
    (void)expect_packet(VSOCK_RST); /* of the second alone: the guest knows of no other */
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(packets_of_an_unknown_connection_get_rst_5_10_6_5)
{
    static const enum vsock_op ops[] = {
        VSOCK_RESPONSE, VSOCK_SHUTDOWN, VSOCK_RW, VSOCK_CREDIT_UPDATE, VSOCK_CREDIT_REQUEST, 0, 8};

    set_up(8);
    for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        struct vsock_header header;

        send_op(1024, ops[i], 0);
        header = expect_packet(VSOCK_RST);
        ck_assert_uint_eq(header.src_port, 1024);
        ck_assert_uint_eq(header.dst_port, PORT);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_type_that_is_unknown_gets_rst_5_10_6_4_2)
{
    struct vsock_header header, reply;
    uint32_t port;

    set_up(8);
    port = open_connection();
    header = packet_of(port, VSOCK_RW);
    header.type = 2; /* seqpacket was not offered */
    send_raw(&header, 0, 0);
    ck_assert(take_packet(&reply, NULL, true));
    ck_assert_uint_eq(reply.op, VSOCK_RST);
    ck_assert_uint_eq(reply.type, 2);
    ck_assert(host_end(0)->is_open); /* the stream of these ports is another one */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(an_operation_that_is_unknown_or_out_of_turn_resets_the_connection)
{
    static const enum vsock_op ops[] = {0, VSOCK_REQUEST, VSOCK_RESPONSE, 8};

    set_up(8);
    for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        uint32_t port = open_connection();

        send_op(port, ops[i], 0);
        (void)expect_packet(VSOCK_RST);
        ck_assert(!host_end(0)->is_open);
    }
    fake_slot_dial(&slot, "CONNECT 42\n");
    send_bytes(expect_packet(VSOCK_REQUEST).src_port, 1, 0); /* before it has answered */
    (void)expect_packet(VSOCK_RST);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(packets_of_other_addresses_are_ignored_5_10_6_4_1)
{
    struct vsock_header header;

    set_up(8);
    header = packet_of(1024, VSOCK_REQUEST);
    header.src_cid = CID + 1;
    send_raw(&header, 0, 0);
    header = packet_of(1024, VSOCK_REQUEST);
    header.dst_cid = CID + 1;
    send_raw(&header, 0, 0);
    header = packet_of(1024, VSOCK_RW);
    header.len = 1; /* that are not there */
    send_raw(&header, 0, 0);
    ring_describe(&rings[QUEUE_TRANSMIT], 0, TX_DATA, HEADER - 1, 0, 0);
    ring_offer(&rings[QUEUE_TRANSMIT], 0);
    kick(QUEUE_TRANSMIT);
    expect_nothing();
    ck_assert(!needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(replies_wait_for_buffers_and_the_driver_waits_for_room_for_them_5_10_6_1_2)
{
    uint32_t id, size, taken = 0;

    set_up(0);
    for (uint32_t i = 0; i < REPLIES_MAX; i++) {
        send_op(1000 + i, VSOCK_RESPONSE, 0); /* the queue is worked off without any buffer */
    }
    ck_assert_uint_eq(ring_used_index(&rings[QUEUE_TRANSMIT]), REPLIES_MAX);
    send_op(2000, VSOCK_RESPONSE, 0);
    ck_assert_uint_eq(ring_used_index(&rings[QUEUE_TRANSMIT]), REPLIES_MAX);
    for (uint32_t i = 0; i <= REPLIES_MAX; i++) {
        give_buffers(1);
        fake_slot_run(&slot);
        while (ring_take(&rings[QUEUE_RECEIVE], &id, &size)) {
            taken++;
        }
    }
    ck_assert_uint_eq(taken, REPLIES_MAX + 1);
    ck_assert(ring_take(&rings[QUEUE_TRANSMIT], &id, &size));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(connections_are_bounded_and_one_more_waits_until_one_is_free)
{
    set_up(4);
    for (unsigned i = 0; i <= CONNECTIONS_MAX; i++) {
        fake_slot_dial(&slot, "CONN");
    }
    ck_assert_uint_eq(slot.dial_count, 1);
    slot.sockets[5].says_no_more = true;
    fake_slot_stir(&slot, 5);
    ck_assert_uint_eq(slot.dial_count, 0);
    ck_assert(host_end(5)->is_open);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(nobody_is_accepted_before_there_is_a_driver)
{
    struct vdev_value value = {.option = 0, .number = {CID}};

    slot.has_sockets = true;
    ck_assert_int_eq(create(vdev_virtio_vsock_module, &value, 1), 0);
    fake_slot_dial(&slot, "CONNECT 42\n");
    ck_assert_uint_eq(slot.dial_count, 1);
    drive(VERSION_1);
    ck_assert_uint_eq(slot.dial_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_of_the_device_closes_all_connections_2_4)
{
    set_up(8);
    (void)open_connection();
    fake_slot_dial(&slot, "CONN");
    set(0x70, 0);
    ck_assert(!host_end(0)->is_open);
    ck_assert(!host_end(1)->is_open);
    drive(VERSION_1);
    rx_offered = 0;
    give_buffers(4);
    expect_nothing();
    (void)open_connection();
    ck_assert(host_end(0)->is_open);
    fake_slot_reset(&slot);
    ck_assert(!host_end(0)->is_open);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(after_a_restore_the_driver_hears_of_a_transport_reset_5_10_6_7)
{
    struct fields_writer saved = {0};
    uint32_t id, size, event = 9;

    set_up(8);
    (void)open_connection();
    memcpy(memory(EVENT_DATA), &event, sizeof(event));
    ring_describe(&rings[QUEUE_EVENT], 0, EVENT_DATA, 4, RING_WRITE, 0);
    ring_offer(&rings[QUEUE_EVENT], 0);
    kick(QUEUE_EVENT);
    ck_assert(!ring_take(&rings[QUEUE_EVENT], &id, &size)); /* there is nothing to be told yet */
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    ck_assert(!host_end(0)->is_open);
    fake_slot_run(&slot);
    ck_assert(ring_take(&rings[QUEUE_EVENT], &id, &size));
    ck_assert_uint_eq(size, 4);
    memcpy(&event, memory(EVENT_DATA), sizeof(event));
    ck_assert_uint_eq(event, 0);
    ck_assert_uint_eq(get(0x100), CID);
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_buffer_without_room_for_a_packet_breaks_the_device_2_1_2)
{
    set_up(0);
    ring_describe(&rings[QUEUE_RECEIVE], 0, RX_DATA, HEADER, RING_WRITE, 0);
    ring_offer(&rings[QUEUE_RECEIVE], 0);
    send_op(1024, VSOCK_RESPONSE, 0);
    ck_assert(needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(state_tells_of_connections_and_bytes)
{
    uint32_t port;

    set_up(8);
    port = open_connection();
    send_bytes(port, 10, 0);
    send_op(1024, VSOCK_RESPONSE, 0);
    (void)fake_slot_state(&slot);
    ck_assert_ptr_nonnull(strstr(slot.state, "cid=7\n"));
    ck_assert_ptr_nonnull(strstr(slot.state, "connections=1\n"));
    ck_assert_ptr_nonnull(strstr(slot.state, "connections-made=1\n"));
    ck_assert_ptr_nonnull(strstr(slot.state, "refused=1\n"));
    ck_assert_ptr_nonnull(strstr(slot.state, "sent-bytes=10\n"));
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_vsock", the_configuration_has_the_guests_cid_5_10_4,
          a_device_without_listen_is_refused_in_words,
          a_program_of_the_host_connects_as_it_does_elsewhere_5_10_6_5,
          a_line_that_says_anything_else_is_closed,
          a_line_may_come_in_pieces_and_what_follows_is_the_guests,
          a_connection_that_the_guest_refuses_is_closed_5_10_6_5,
          who_does_not_say_what_is_its_turn_to_say_is_closed,
          packets_of_an_unknown_connection_get_rst_5_10_6_5,
          a_type_that_is_unknown_gets_rst_5_10_6_4_2,
          an_operation_that_is_unknown_or_out_of_turn_resets_the_connection,
          packets_of_other_addresses_are_ignored_5_10_6_4_1,
          replies_wait_for_buffers_and_the_driver_waits_for_room_for_them_5_10_6_1_2,
          connections_are_bounded_and_one_more_waits_until_one_is_free,
          nobody_is_accepted_before_there_is_a_driver,
          a_reset_of_the_device_closes_all_connections_2_4,
          after_a_restore_the_driver_hears_of_a_transport_reset_5_10_6_7,
          a_buffer_without_room_for_a_packet_breaks_the_device_2_1_2,
          state_tells_of_connections_and_bytes)
