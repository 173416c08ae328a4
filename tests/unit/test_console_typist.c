/* A console and who types at it. */
#include "tests/unit/console_unit.h"

START_TEST(the_first_session_types_and_the_next_is_told_that_it_does_not)
{
    int first, second;

    set_up();
    first = attach(0, CONSOLE_FROM_NOW);
    second = attach(0, CONSOLE_FROM_NOW);
    expect(second, LINE("another session types; this one only reads"));
    type(second, "lost");
    type(first, "ls\r");
    ck_assert_uint_eq(typed_count, 3);
    ck_assert_mem_eq(typed, "ls\r", 3);
    tear_down();
    close(first);
    close(second);
}
END_TEST

START_TEST(when_the_typist_leaves_the_next_that_may_type_does)
{
    int first, reader, second;

    set_up();
    first = attach(0, CONSOLE_FROM_NOW);
    reader = attach(CONSOLE_READ_ONLY, CONSOLE_FROM_NOW);
    second = attach(0, CONSOLE_FROM_NOW);
    close(first);
    turn();
    type(reader, "no");
    type(second, "yes");
    ck_assert_uint_eq(typed_count, 3);
    ck_assert_mem_eq(typed, "yes", 3);
    tear_down();
    close(reader);
    close(second);
}
END_TEST

START_TEST(a_session_that_steals_types_at_once)
{
    int first, thief;

    set_up();
    first = attach(0, CONSOLE_FROM_NOW);
    thief = attach(CONSOLE_STEAL, CONSOLE_FROM_NOW);
    type(first, "no");
    type(thief, "yes");
    ck_assert_uint_eq(typed_count, 3);
    ck_assert_mem_eq(typed, "yes", 3);
    say("both hear");
    expect(first, LINE("another session took the keyboard; this one only reads") "both hear");
    expect(thief, "both hear");
    close(thief);
    turn();
    expect(first, LINE("this session types now"));
    type(first, "!");
    ck_assert_mem_eq(typed, "yes!", 4);
    tear_down();
    close(first);
}
END_TEST

START_TEST(what_was_typed_before_hanging_up_on_the_guest_arrives)
{
    int first, second;

    set_up();
    say("what nobody reads");
    first = attach(0, CONSOLE_FROM_OLDEST);
    turn();
    ck_assert_int_eq(write(first, "last", 4), 4);
    close(first); /* with unread bytes: an error for the other end */
    turn();
    ck_assert_uint_eq(typed_count, 4);
    ck_assert_mem_eq(typed, "last", 4);
    tear_down();

    set_up();
    first = attach(0, CONSOLE_FROM_OLDEST);
    ck_assert_int_eq(write(first, "last", 4), 4);
    close(first);
    second = attach(0, CONSOLE_FROM_OLDEST); /* which makes room for itself first */
    type(second, "!");
    ck_assert_uint_eq(typed_count, 5);
    ck_assert_mem_eq(typed, "last!", 5);
    tear_down();
    close(second);
}
END_TEST

START_TEST(typed_bytes_wait_for_the_device_and_none_is_lost)
{
    auto_free uint8_t *data = calloc(1, 2 * CONSOLE_INPUT_MAX);
    size_t sent = 0, size = CONSOLE_INPUT_MAX + 20000;
    int fd;

    set_up();
    room = 5;
    fd = attach(0, CONSOLE_FROM_NOW);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(i * 7 + i / 251);
    }
    for (int i = 0; i < 200; i++) {
        ssize_t n = write(fd, data + sent, size - sent);

        sent += n > 0 ? (size_t)n : 0;
        turn();
    }
    ck_assert_uint_eq(typed_count, 5);
    while (typed_count < size) {
        size_t before = typed_count;
        ssize_t n;

        room = 4000;
        console_input_resume(console);
        turn();
        ck_assert_uint_gt(typed_count, before);
        n = write(fd, data + sent, size - sent);
        sent += n > 0 ? (size_t)n : 0;
        turn();
    }
    ck_assert_mem_eq(typed, data, size);
    tear_down();
    close(fd);
}
END_TEST

START_TEST(typing_without_a_session_is_bounded_to_the_byte)
{
    static uint8_t data[CONSOLE_INPUT_MAX + 1];

    set_up();
    room = 0;
    ck_assert_uint_eq(console_type(console, data, sizeof(data)), CONSOLE_INPUT_MAX);
    ck_assert_uint_eq(console_type(console, data, 1), 0);
    room = 3;
    console_input_resume(console);
    turn();
    ck_assert_uint_eq(typed_count, 3);
    ck_assert_uint_eq(console_type(console, data, 10), 3);
    console_set_input(console, NULL, NULL);
    ck_assert_uint_eq(console_type(console, data, 1), 0);
    tear_down();
}
END_TEST

START_TEST(who_types_no_more_leaves_the_keys_to_the_next)
{
    int first, second, third;

    set_up();
    first = attach(0, CONSOLE_FROM_NOW);
    second = attach(CONSOLE_PLAIN, CONSOLE_FROM_NOW);
    type(second, "lost");
    ck_assert_int_eq(shutdown(first, SHUT_WR), 0);
    turn();
    type(second, "typed");
    ck_assert_mem_eq(typed, "typed", 5);
    ck_assert_uint_eq(typed_count, 5);
    ck_assert_int_eq(shutdown(second, SHUT_WR), 0);
    turn();
    close(first); /* both are silent, one is gone: nobody types */
    third = attach(0, CONSOLE_FROM_NOW);
    expect(third, ""); /* no line that another session types */
    type(third, "!");
    ck_assert_mem_eq(typed, "typed!", 6);
    tear_down();
    close(second);
    close(third);
}
END_TEST

START_TEST(what_a_peer_typed_before_it_hung_up_is_still_typed)
{
    int fd;

    set_up();
    fd = attach(0, CONSOLE_FROM_NOW);
    ck_assert_int_eq(write(fd, "poweroff\r", 9), 9);
    close(fd);
    say("nobody hears this"); /* before the loop has seen what was typed */
    turn();
    ck_assert_uint_eq(typed_count, 9);
    ck_assert_mem_eq(typed, "poweroff\r", 9);
    tear_down();
}
END_TEST

START_TEST(a_peer_that_hears_nothing_goes_on_typing)
{
    int fd;

    set_up();
    fd = attach(0, CONSOLE_FROM_NOW);
    ck_assert_int_eq(shutdown(fd, SHUT_RD), 0);
    say("nobody hears this");
    turn();
    type(fd, "still here");
    ck_assert_uint_eq(typed_count, 10);
    tear_down();
    close(fd);
}
END_TEST

START_TEST(a_plain_session_is_told_nothing)
{
    int first, thief;

    set_up();
    first = attach(CONSOLE_PLAIN, CONSOLE_FROM_NOW);
    thief = attach(CONSOLE_STEAL, CONSOLE_FROM_NOW);
    expect(first, "");
    close(thief);
    expect(first, "");
    tear_down();
    close(first);
}
END_TEST

UNIT_MAIN("console_typist", the_first_session_types_and_the_next_is_told_that_it_does_not,
          when_the_typist_leaves_the_next_that_may_type_does, a_session_that_steals_types_at_once,
          typed_bytes_wait_for_the_device_and_none_is_lost,
          typing_without_a_session_is_bounded_to_the_byte,
          who_types_no_more_leaves_the_keys_to_the_next,
          what_a_peer_typed_before_it_hung_up_is_still_typed,
          what_was_typed_before_hanging_up_on_the_guest_arrives,
          a_peer_that_hears_nothing_goes_on_typing, a_plain_session_is_told_nothing)
