/* A console with its sessions, on a real loop and real socket pairs. */
#include "qvm-worker/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/console.h"
#include "tests/unit/unit.h"

static uv_loop_t loop;
static struct console *console;

/* A device that has `room` for typed bytes. */
static uint8_t typed[2 * CONSOLE_INPUT_MAX];
static size_t typed_count, room;

static size_t on_input(void *context UNUSED, const uint8_t *data, size_t count)
{
    size_t n = count < room ? count : room;

    memcpy(typed + typed_count, data, n);
    typed_count += n;
    room -= n;
    return n;
}

static void set_up(void)
{
    struct err err = {0};

    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(console_create(&loop, &console, &err), 0);
    typed_count = 0;
    room = SIZE_MAX;
    console_set_input(console, on_input, NULL);
}

static void tear_down(void)
{
    console_destroy(console);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0); /* nothing is left open */
}

static void turn(void)
{
    for (int i = 0; i < 20; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
}

static void say(const char *text)
{
    console_write(console, (const uint8_t *)text, strlen(text));
}

/* Attach one end of a socket pair, return the other. */
static int attach(unsigned flags, uint64_t from)
{
    struct err err = {0};
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(console_attach(console, fds[0], flags, from, &err), 0);
    return fds[1];
}

static void expect(int fd, const char *text)
{
    char buffer[256] = "";
    ssize_t n;

    turn();
    n = read(fd, buffer, sizeof(buffer) - 1);
    ck_assert_str_eq(n > 0 ? buffer : "", text);
}

static void type(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    turn();
}

START_TEST(a_session_gets_the_scrollback_and_then_what_comes)
{
    int fd;

    set_up();
    say("before ");
    fd = attach(0, CONSOLE_FROM_OLDEST);
    say("after");
    expect(fd, "before after");
    tear_down();
    close(fd);
}
END_TEST

START_TEST(a_session_may_begin_now_or_at_an_offset)
{
    int now, at;

    set_up();
    say("0123456789");
    now = attach(0, CONSOLE_FROM_NOW);
    at = attach(CONSOLE_READ_ONLY, 7);
    expect(now, "");
    expect(at, "789");
    say("ab");
    expect(now, "ab");
    expect(at, "ab");
    tear_down();
    close(now);
    close(at);
}
END_TEST

START_TEST(the_first_session_types_and_the_next_is_told_that_it_does_not)
{
    int first, second;

    set_up();
    first = attach(0, CONSOLE_FROM_NOW);
    second = attach(0, CONSOLE_FROM_NOW);
    expect(second, "[another session types; this one only reads]\r\n");
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
    expect(first, "both hear");
    expect(thief, "both hear");
    tear_down();
    close(first);
    close(thief);
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

START_TEST(a_session_that_does_not_read_stalls_nobody_and_is_told_what_it_lost)
{
    static uint8_t noise[100000];
    static char heard[4 * CONSOLE_RING_CAPACITY];
    struct console_stats stats;
    uint64_t lost = 0;
    size_t count = 0, lines = 0;
    ssize_t n;
    char *mark;
    int fd;

    set_up();
    memset(noise, '.', sizeof(noise));
    fd = attach(0, CONSOLE_FROM_NOW);
    for (int i = 0; i < 10; i++) {
        console_write(console, noise, sizeof(noise));
        turn();
    }
    say("end");
    while (count < 3 || memcmp(heard + count - 3, "end", 3) != 0) {
        (void)uv_run(&loop, UV_RUN_ONCE); /* hangs, and fails by timeout, if the end never comes */
        n = read(fd, heard + count, sizeof(heard) - 1 - count);
        count += n > 0 ? (size_t)n : 0;
    }
    /* one line, or several if the reader got a piece in between */
    for (mark = strchr(heard, '['); mark != NULL; mark = strchr(mark + 1, '[')) {
        uint64_t part = 0;
        int length = 0;

        ck_assert_int_eq(sscanf(mark, "[%lu bytes lost]%n", &part, &length), 1);
        lost += part;
        lines += strlen("\r\n\r\n") + (size_t)length;
    }
    console_get_stats(console, &stats);
    ck_assert_uint_gt(lost, 0);
    ck_assert_uint_eq(stats.written, 1000003);
    ck_assert_uint_eq(stats.lost, lost);
    ck_assert_uint_eq(count - lines + lost, stats.written);
    ck_assert_mem_eq(heard + count - 3, "end", 3);
    tear_down();
    close(fd);
}
END_TEST

START_TEST(a_marker_is_a_line_of_its_own)
{
    int fd;

    set_up();
    say("halting");
    console_marker(console, "the guest rebooted");
    fd = attach(0, CONSOLE_FROM_OLDEST);
    expect(fd, "halting\r\n[the guest rebooted]\r\n");
    tear_down();
    close(fd);
}
END_TEST

START_TEST(the_limit_of_sessions_holds_and_those_whose_peer_is_gone_make_room)
{
    int fds[CONSOLE_SESSIONS_MAX], last[2];
    struct console_stats stats;
    struct err err = {0};

    set_up();
    for (size_t i = 0; i < CONSOLE_SESSIONS_MAX; i++) {
        fds[i] = attach(CONSOLE_READ_ONLY, CONSOLE_FROM_NOW);
    }
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, last), 0);
    ck_assert_int_eq(console_attach(console, last[0], 0, 0, &err), -EMFILE);
    ck_assert_str_eq(err.msg, "the console has 16 sessions already");
    close(fds[3]);
    ck_assert_int_eq(console_attach(console, last[0], 0, 0, &err), 0);
    console_get_stats(console, &stats);
    ck_assert_uint_eq(stats.session_count, CONSOLE_SESSIONS_MAX);
    tear_down();
    for (size_t i = 0; i < CONSOLE_SESSIONS_MAX; i++) {
        close(fds[i]);
    }
    close(last[1]);
}
END_TEST

START_TEST(a_peer_that_only_stops_typing_goes_on_reading)
{
    int fd;

    set_up();
    fd = attach(0, CONSOLE_FROM_NOW);
    type(fd, "poweroff\r");
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    turn();
    say("Power down.");
    expect(fd, "Power down.");
    ck_assert_uint_eq(typed_count, 9);
    tear_down();
    close(fd);
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

START_TEST(a_file_is_typed_and_a_pipe_hears_and_keeps_its_flags)
{
    FILE *script = tmpfile();
    int pipes[2], flags, in_fd, watcher;
    struct err err = {0};

    set_up();
    ck_assert_ptr_nonnull(script);
    ck_assert_int_gt(fputs("one\ntwo\n", script), 0);
    ck_assert_int_eq(fflush(script), 0);
    rewind(script);
    in_fd = dup(fileno(script));
    ck_assert_int_eq(pipe(pipes), 0);
    watcher = dup(pipes[1]); /* sees the flags of the same pipe end */
    flags = fcntl(watcher, F_GETFL);
    ck_assert_int_eq(
        console_attach_pair(console, in_fd, pipes[1], CONSOLE_PLAIN, CONSOLE_FROM_OLDEST, &err), 0);
    ck_assert_int_eq(fcntl(watcher, F_GETFL), flags | O_NONBLOCK);
    ck_assert_mem_eq(typed, "one\ntwo\n", 8);
    say("heard");
    expect(pipes[0], "heard");
    tear_down();
    ck_assert_int_eq(fcntl(watcher, F_GETFL), flags);
    close(pipes[0]);
    close(watcher);
    (void)fclose(script);
}
END_TEST

START_TEST(a_flush_waits_no_longer_than_it_was_told)
{
    static uint8_t noise[CONSOLE_RING_CAPACITY];
    uint64_t start;
    int fd;

    set_up();
    fd = attach(0, CONSOLE_FROM_NOW);
    console_write(console, noise, sizeof(noise)); /* more than a socket holds */
    console_write(console, noise, sizeof(noise));
    start = uv_hrtime();
    console_flush(console, 20);
    ck_assert_uint_ge(uv_hrtime() - start, 15000000);
    tear_down();
    close(fd);
}
END_TEST

START_TEST(a_qvmd_sees_the_ring_through_its_descriptor)
{
    const struct console_ring *ring = NULL;
    uint64_t offset = 0, lost = 0;
    struct err err = {0};
    char buffer[8];

    set_up();
    say("boot");
    ck_assert_int_eq(console_ring_map(console_ring_fd(console), &ring, &err), 0);
    ck_assert_uint_eq(console_ring_read(ring, &offset, buffer, sizeof(buffer), &lost), 4);
    ck_assert_mem_eq(buffer, "boot", 4);
    console_ring_unmap(ring);
    tear_down();
}
END_TEST

#define THREAD_BYTES 200000u

static void write_bytes(void *unused UNUSED)
{
    for (unsigned i = 0; i < THREAD_BYTES; i++) {
        uint8_t byte = (uint8_t)('a' + i % 26);

        console_write(console, &byte, 1);
    }
}

START_TEST(bytes_from_another_thread_wake_the_loop_and_arrive_in_order)
{
    uv_thread_t thread;
    uint64_t next = 0;
    int fd;

    set_up();
    fd = attach(CONSOLE_PLAIN, CONSOLE_FROM_NOW);
    ck_assert_int_eq(uv_thread_create(&thread, write_bytes, NULL), 0);
    while (next < THREAD_BYTES) {
        char buffer[8192];
        struct console_stats stats;
        ssize_t n;

        (void)uv_run(&loop, UV_RUN_ONCE); /* hangs, and fails by timeout, if a wake-up is lost */
        while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
            console_get_stats(console, &stats);
            ck_assert_uint_eq(stats.lost, 0);
            for (ssize_t i = 0; i < n; i++, next++) {
                ck_assert_int_eq(buffer[i], (char)('a' + next % 26));
            }
        }
    }
    (void)uv_thread_join(&thread);
    tear_down();
    close(fd);
}
END_TEST

UNIT_MAIN("console", a_session_gets_the_scrollback_and_then_what_comes,
          a_session_may_begin_now_or_at_an_offset,
          the_first_session_types_and_the_next_is_told_that_it_does_not,
          when_the_typist_leaves_the_next_that_may_type_does, a_session_that_steals_types_at_once,
          typed_bytes_wait_for_the_device_and_none_is_lost,
          typing_without_a_session_is_bounded_to_the_byte,
          a_session_that_does_not_read_stalls_nobody_and_is_told_what_it_lost,
          a_marker_is_a_line_of_its_own,
          the_limit_of_sessions_holds_and_those_whose_peer_is_gone_make_room,
          a_peer_that_only_stops_typing_goes_on_reading,
          who_types_no_more_leaves_the_keys_to_the_next,
          a_file_is_typed_and_a_pipe_hears_and_keeps_its_flags,
          a_flush_waits_no_longer_than_it_was_told, a_qvmd_sees_the_ring_through_its_descriptor,
          bytes_from_another_thread_wake_the_loop_and_arrive_in_order)
