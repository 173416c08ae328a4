/* Sockets, rule by rule: connections that the guest begins (virtio 1.2, 5.10.6.5). */
#include <stdio.h>

#include "tests/unit/virtio_vsock_unit.h"

#define SECOND UINT64_C(1000000000)

enum { HOST_PORT = 5000 };

static const struct fake_socket *host_end(uint32_t handle)
{
    return &slot.sockets[handle];
}

/* The guest asks for HOST_PORT; nobody has answered yet. */
static void call(void)
{
    guest_alloc = 0x1000;
    guest_forwarded = 0;
    send_op(HOST_PORT, VSOCK_REQUEST, 0);
}

START_TEST(the_guest_is_answered_when_a_program_of_the_host_is_there)
{
    struct vsock_header header;
    uint8_t bytes[PACKET];

    set_up(8);
    call();
    ck_assert(host_end(0)->is_called);
    ck_assert_uint_eq(host_end(0)->port, HOST_PORT);
    expect_nothing();
    fake_slot_answer(&slot, 0, true);
    header = expect_packet(VSOCK_RESPONSE);
    ck_assert_uint_eq(header.src_port, HOST_PORT);
    ck_assert_uint_eq(header.dst_port, PORT);
    ck_assert_uint_eq(header.buf_alloc, BUFFER_SIZE);
    ck_assert_uint_eq(header.len, 0);
    ck_assert_uint_eq(host_end(0)->heard_count, 0); /* no line of ours: the stream is the guest's */
    send_bytes(HOST_PORT, 100, 1);
    ck_assert_uint_eq(host_end(0)->heard_count, 100);
    fake_slot_say(&slot, 0, "hello", 5);
    ck_assert(take_packet(&header, bytes, true));
    ck_assert_uint_eq(header.op, VSOCK_RW);
    ck_assert_uint_eq(header.src_port, HOST_PORT);
    ck_assert_mem_eq(bytes, "hello", 5);
    send_op(HOST_PORT, VSOCK_SHUTDOWN, VSOCK_NEITHER);
    (void)expect_packet(VSOCK_RST);
    ck_assert(!host_end(0)->is_open);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(response_comes_before_what_the_program_says)
{
    set_up(0);
    call();
    fake_slot_answer(&slot, 0, true);
    fake_slot_say(&slot, 0, "hello", 5);
    give_buffers(4);
    (void)expect_packet(VSOCK_RESPONSE);
    ck_assert_uint_eq(expect_packet(VSOCK_RW).len, 5);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_port_where_nobody_of_the_host_listens_gets_rst)
{
    struct vsock_header header;

    set_up(8);
    call();
    fake_slot_answer(&slot, 0, false);
    header = expect_packet(VSOCK_RST);
    ck_assert_uint_eq(header.src_port, HOST_PORT);
    ck_assert_uint_eq(header.dst_port, PORT);
    ck_assert_uint_eq(host_end(0)->close_count, 1);
    call(); /* the same ports are free again */
    fake_slot_answer(&slot, 0, true);
    (void)expect_packet(VSOCK_RESPONSE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(who_is_refused_hears_it_when_there_is_a_buffer_for_it)
{
    set_up(0);
    for (uint32_t i = 0; i < REPLIES_MAX - 1; i++) { /* as many as are kept, but one */
        send_op(1000 + i, VSOCK_RESPONSE, 0);
    }
    call();
    send_op(2000, VSOCK_RESPONSE, 0);
    fake_slot_answer(&slot, 0, false);
    give_buffers(RING_BUFFERS / 2);
    for (uint32_t i = 0; i < REPLIES_MAX; i++) {
        ck_assert_uint_ne(expect_packet(VSOCK_RST).src_port, HOST_PORT);
        fake_slot_run(&slot);
    }
    ck_assert_uint_eq(expect_packet(VSOCK_RST).src_port, HOST_PORT);
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_program_that_is_gone_when_it_was_found_is_rst)
{
    set_up(8);
    call();
    slot.sockets[0].hears_no_more = true;
    fake_slot_answer(&slot, 0, true);
    (void)expect_packet(VSOCK_RST);
    ck_assert(!host_end(0)->is_open);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(where_nobody_can_connect_each_call_gets_rst)
{
    set_up(8);
    slot.connects_to_nobody = true;
    call();
    (void)expect_packet(VSOCK_RST);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(an_answer_that_never_comes_is_rst_after_a_while)
{
    set_up(8);
    call();
    for (unsigned i = 0; i < 9; i++) {
        ck_assert(host_end(0)->is_called == (i < 8));
        fake_slot_advance(&slot, SECOND);
        fake_slot_run(&slot);
    }
    (void)expect_packet(VSOCK_RST);
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_guest_that_gives_up_is_not_answered)
{
    set_up(8);
    call();
    send_op(HOST_PORT, VSOCK_RST, 0);
    ck_assert(!host_end(0)->is_called);
    ck_assert_uint_eq(host_end(0)->close_count, 1);
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(whatever_else_comes_before_the_answer_resets_the_call)
{
    static const enum vsock_op ops[] = {VSOCK_REQUEST,  VSOCK_RESPONSE,      VSOCK_RW,
                                        VSOCK_SHUTDOWN, VSOCK_CREDIT_UPDATE, 9};

    set_up(8);
    for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        call();
        send_op(HOST_PORT, ops[i], 0);
        (void)expect_packet(VSOCK_RST);
        ck_assert(!host_end(0)->is_called);
    }
    expect_nothing();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(calls_are_bounded_as_all_connections_and_one_more_gets_rst)
{
    struct vsock_header header;

    set_up(8);
    guest_alloc = 0x1000;
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        header = packet_of(HOST_PORT, VSOCK_REQUEST);
        header.src_port = 100 + i;
        send_raw(&header, 0, 0);
    }
    expect_nothing();
    call();
    header = expect_packet(VSOCK_RST);
    ck_assert_uint_eq(header.dst_port, PORT);
    fake_slot_answer(&slot, 5, true);
    ck_assert_uint_eq(expect_packet(VSOCK_RESPONSE).dst_port, 105);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_port_that_a_call_has_is_given_to_no_program_of_the_host)
{
    struct vsock_header header;

    set_up(8);
    header = packet_of(0x40000000, VSOCK_REQUEST); /* the first that a program would get */
    send_raw(&header, 0, 0);
    fake_slot_dial(&slot, "CONNECT 42\n");
    ck_assert_uint_eq(expect_packet(VSOCK_REQUEST).src_port, 0x40000001);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_lets_go_of_calls)
{
    set_up(8);
    call();
    fake_slot_reset(&slot);
    ck_assert(!host_end(0)->is_called);
    ck_assert_uint_eq(host_end(0)->close_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(state_tells_calls_from_other_connections)
{
    set_up(8);
    call();
    fake_slot_answer(&slot, 0, true);
    (void)fake_slot_state(&slot);
    ck_assert_ptr_nonnull(strstr(slot.state, "connections-called=1\n"));
    ck_assert_ptr_nonnull(strstr(slot.state, "connections-made=0\n"));
    ck_assert_ptr_nonnull(strstr(slot.state, "connections=1\n"));
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_vsock_call", the_guest_is_answered_when_a_program_of_the_host_is_there,
          response_comes_before_what_the_program_says,
          a_port_where_nobody_of_the_host_listens_gets_rst,
          who_is_refused_hears_it_when_there_is_a_buffer_for_it,
          a_program_that_is_gone_when_it_was_found_is_rst,
          where_nobody_can_connect_each_call_gets_rst,
          an_answer_that_never_comes_is_rst_after_a_while, a_guest_that_gives_up_is_not_answered,
          whatever_else_comes_before_the_answer_resets_the_call,
          calls_are_bounded_as_all_connections_and_one_more_gets_rst,
          a_port_that_a_call_has_is_given_to_no_program_of_the_host, a_reset_lets_go_of_calls,
          state_tells_calls_from_other_connections)
