/* Sockets, rule by rule: bytes, room for them, and the end of a connection (virtio 1.2, 5.10.6). */
#include "tests/unit/virtio_vsock_unit.h"

#define SECOND UINT64_C(1000000000)

static const struct fake_socket *host_end(uint32_t handle)
{
    return &slot.sockets[handle];
}

START_TEST(bytes_go_both_ways_in_order)
{
    uint8_t bytes[PACKET];
    struct vsock_header header;
    uint32_t port;

    set_up(8);
    port = open_connection();
    slot.sockets[0].heard_count = 0;
    send_bytes(port, 300, 1);
    ck_assert_uint_eq(host_end(0)->heard_count, 300);
    ck_assert_uint_eq(host_end(0)->heard[0], 1);
    ck_assert_uint_eq(host_end(0)->heard[299], (1 + 299) & 0xff);
    fake_slot_say(&slot, 0, "hello", 5);
    ck_assert(take_packet(&header, bytes, true));
    ck_assert_uint_eq(header.op, VSOCK_RW);
    ck_assert_uint_eq(header.dst_port, PORT);
    ck_assert_uint_eq(header.src_port, port);
    ck_assert_uint_eq(header.fwd_cnt, 300); /* 5.10.6.3: the host's program has them */
    ck_assert_mem_eq(bytes, "hello", 5);
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(bytes_are_sent_only_where_the_guest_has_room_5_10_6_3_2)
{
    static const uint8_t bytes[250];
    struct vsock_header header;
    uint32_t port;

    set_up(8);
    guest_alloc = 100;
    fake_slot_dial(&slot, "CONNECT 42\n");
    port = expect_packet(VSOCK_REQUEST).src_port;
    send_op(port, VSOCK_RESPONSE, 0);
    fake_slot_say(&slot, 0, bytes, sizeof(bytes));
    ck_assert(take_packet(&header, NULL, true));
    ck_assert_uint_eq(header.len, 100);
    (void)expect_packet(VSOCK_CREDIT_REQUEST); /* once */
    expect_nothing();
    guest_forwarded = 60;
    send_op(port, VSOCK_CREDIT_UPDATE, 0);
    ck_assert(take_packet(&header, NULL, true));
    ck_assert_uint_eq(header.op, VSOCK_RW);
    ck_assert_uint_eq(header.len, 60);
    (void)expect_packet(VSOCK_CREDIT_REQUEST);
    guest_forwarded = 500; /* more than was ever sent: no room is made of that */
    send_op(port, VSOCK_CREDIT_UPDATE, 0);
    expect_nothing();
    guest_forwarded = 160;
    send_op(port, VSOCK_CREDIT_UPDATE, 0);
    ck_assert(take_packet(&header, NULL, true));
    ck_assert_uint_eq(header.len, 90);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(counters_of_credit_wrap_around_5_10_6_3)
{
    struct vsock_connection connection = {
        .peer_alloc = 100, .sent = 10, .peer_forwarded = UINT32_MAX - 29};

    ck_assert_uint_eq(vsock_credit(&connection), 60);
    connection.sent = 90;
    ck_assert_uint_eq(vsock_credit(&connection), 0);
}
END_TEST

START_TEST(what_the_host_does_not_read_is_kept_up_to_what_was_announced_5_10_6_3)
{
    uint32_t port, sent = 0;

    set_up(8);
    port = open_connection();
    slot.sockets[0].room = 0;
    while (sent < BUFFER_SIZE) {
        send_bytes(port, 4096, (uint8_t)sent);
        sent += 4096;
    }
    ck_assert(host_end(0)->is_open);
    expect_nothing(); /* no more room, so nothing to be told */
    slot.sockets[0].heard_count = 0;
    for (uint32_t heard = 0; heard < BUFFER_SIZE; heard += 1024) {
        slot.sockets[0].room = 1024;
        fake_slot_stir(&slot, 0);
        for (uint32_t i = 0; i < 1024; i++) {
            ck_assert_uint_eq(host_end(0)->heard[(heard + i) % FAKE_BYTES_MAX], (heard + i) & 0xff);
        }
    }
    ck_assert_uint_eq(expect_packet(VSOCK_CREDIT_UPDATE).buf_alloc, BUFFER_SIZE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_guest_that_sends_more_than_there_is_room_for_is_reset_5_10_6_3_1)
{
    uint32_t port;

    set_up(8);
    port = open_connection();
    slot.sockets[0].room = 0;
    for (uint32_t sent = 0; sent < BUFFER_SIZE; sent += 4096) {
        send_bytes(port, 4096, 0);
    }
    send_bytes(port, 1, 0);
    ck_assert_uint_eq(expect_packet(VSOCK_RST).src_port, port);
    ck_assert(!host_end(0)->is_open);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_guest_is_told_of_room_while_it_still_has_half_and_when_it_asks_5_10_6_3)
{
    uint32_t port;

    set_up(8);
    port = open_connection();
    for (unsigned i = 0; i < 8; i++) {
        send_bytes(port, 4096, 0);
    }
    expect_nothing();
    send_bytes(port, 4096, 0);
    ck_assert_uint_eq(expect_packet(VSOCK_CREDIT_UPDATE).fwd_cnt, 9 * 4096);
    expect_nothing();
    send_op(port, VSOCK_CREDIT_REQUEST, 0);
    ck_assert_uint_eq(expect_packet(VSOCK_CREDIT_UPDATE).fwd_cnt, 9 * 4096);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_program_that_never_reads_slows_nobody_else)
{
    uint32_t lazy, other;

    set_up(8);
    lazy = open_connection();
    other = open_connection();
    slot.sockets[0].room = 0;
    slot.sockets[1].heard_count = 0;
    for (unsigned i = 0; i < 16; i++) {
        send_bytes(lazy, 4096, 0);
        send_bytes(other, 10, 0);
    }
    ck_assert_uint_eq(host_end(1)->heard_count, 160);
    fake_slot_say(&slot, 1, "x", 1);
    ck_assert_uint_eq(expect_packet(VSOCK_RW).src_port, other);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_guest_hears_that_the_host_says_no_more_and_goes_on_speaking_5_10_6_5)
{
    uint32_t port;

    set_up(8);
    port = open_connection();
    slot.sockets[0].says_no_more = true;
    fake_slot_say(&slot, 0, "bye", 3);
    (void)expect_packet(VSOCK_RW); /* bytes come first */
    ck_assert_uint_eq(expect_packet(VSOCK_SHUTDOWN).flags, VSOCK_NO_SEND);
    slot.sockets[0].heard_count = 0;
    send_bytes(port, 5, 0);
    ck_assert_uint_eq(host_end(0)->heard_count, 5);
    slot.sockets[0].hears_no_more = true; /* and now it is gone */
    fake_slot_stir(&slot, 0);
    ck_assert_uint_eq(expect_packet(VSOCK_SHUTDOWN).flags, VSOCK_NEITHER); /* hints are permanent */
    send_op(port, VSOCK_RST, 0);
    ck_assert(!host_end(0)->is_open);
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_program_that_goes_is_one_shutdown_of_both_5_10_6_5)
{
    set_up(8);
    (void)open_connection();
    slot.sockets[0].says_no_more = slot.sockets[0].hears_no_more = true;
    fake_slot_stir(&slot, 0);
    ck_assert_uint_eq(expect_packet(VSOCK_SHUTDOWN).flags, VSOCK_NEITHER);
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_shutdown_that_nobody_answers_ends_with_rst_5_10_6_5)
{
    set_up(8);
    (void)open_connection();
    slot.sockets[0].says_no_more = slot.sockets[0].hears_no_more = true;
    fake_slot_stir(&slot, 0);
    (void)expect_packet(VSOCK_SHUTDOWN);
    for (unsigned i = 0; i < 9; i++) {
        fake_slot_advance(&slot, SECOND);
        fake_slot_run(&slot);
    }
    (void)expect_packet(VSOCK_RST);
    ck_assert(!host_end(0)->is_open);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_host_hears_that_the_guest_says_no_more_after_all_it_said_5_10_6_5)
{
    uint32_t port;

    set_up(8);
    port = open_connection();
    slot.sockets[0].room = 2;
    send_bytes(port, 5, 0);
    send_op(port, VSOCK_SHUTDOWN, VSOCK_NO_SEND);
    ck_assert_uint_eq(host_end(0)->shut, 0);
    slot.sockets[0].room = 100;
    fake_slot_stir(&slot, 0);
    ck_assert_uint_eq(host_end(0)->shut, VDEV_SOCKET_NO_SEND);
    fake_slot_say(&slot, 0, "more", 4); /* the other way goes on */
    (void)expect_packet(VSOCK_RW);
    send_op(port, VSOCK_SHUTDOWN, 0); /* a bit that is not set again stays */
    send_bytes(port, 1, 0);           /* after that: nonsense */
    (void)expect_packet(VSOCK_RST);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_host_hears_that_the_guest_reads_no_more_5_10_6_5)
{
    uint32_t port;

    set_up(8);
    port = open_connection();
    send_op(port, VSOCK_SHUTDOWN, VSOCK_NO_RECEIVE);
    ck_assert_uint_eq(host_end(0)->shut, VDEV_SOCKET_NO_RECEIVE);
    fake_slot_say(&slot, 0, "x", 1);
    expect_nothing();
    slot.sockets[0].heard_count = 0;
    send_bytes(port, 5, 0);
    ck_assert_uint_eq(host_end(0)->heard_count, 5);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_guest_that_closes_gets_rst_and_the_host_all_that_was_said_5_10_6_5)
{
    uint32_t port;

    set_up(8);
    port = open_connection();
    slot.sockets[0].room = 0;
    slot.sockets[0].heard_count = 0;
    send_bytes(port, 5, 0);
    send_op(port, VSOCK_SHUTDOWN, VSOCK_NEITHER);
    (void)expect_packet(VSOCK_RST); /* the clean end; its ports are free again */
    ck_assert(host_end(0)->is_open);
    slot.sockets[0].room = 100;
    fake_slot_stir(&slot, 0);
    ck_assert_uint_eq(host_end(0)->heard_count, 5);
    ck_assert(!host_end(0)->is_open);
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(rst_closes_at_once_and_has_no_answer_5_10_6_5)
{
    uint32_t port;

    set_up(8);
    port = open_connection();
    send_op(port, VSOCK_RST, 0);
    ck_assert(!host_end(0)->is_open);
    send_op(port, VSOCK_RST, 0);
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_vsock_flow", bytes_go_both_ways_in_order,
          bytes_are_sent_only_where_the_guest_has_room_5_10_6_3_2,
          counters_of_credit_wrap_around_5_10_6_3,
          what_the_host_does_not_read_is_kept_up_to_what_was_announced_5_10_6_3,
          a_guest_that_sends_more_than_there_is_room_for_is_reset_5_10_6_3_1,
          the_guest_is_told_of_room_while_it_still_has_half_and_when_it_asks_5_10_6_3,
          a_program_that_never_reads_slows_nobody_else,
          the_guest_hears_that_the_host_says_no_more_and_goes_on_speaking_5_10_6_5,
          a_program_that_goes_is_one_shutdown_of_both_5_10_6_5,
          a_shutdown_that_nobody_answers_ends_with_rst_5_10_6_5,
          the_host_hears_that_the_guest_says_no_more_after_all_it_said_5_10_6_5,
          the_host_hears_that_the_guest_reads_no_more_5_10_6_5,
          a_guest_that_closes_gets_rst_and_the_host_all_that_was_said_5_10_6_5,
          rst_closes_at_once_and_has_no_answer_5_10_6_5)
