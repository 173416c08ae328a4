/* A console and those who read it. */
#include "qvm-worker/console/bell.h"
#include "tests/unit/console_unit.h"

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
    for (mark = strstr(heard, "-- qvm"); mark != NULL; mark = strstr(mark + 1, "-- qvm")) {
        uint64_t part = 0;
        int length = 0;

        ck_assert_int_eq(sscanf(mark, "-- qvm: %lu bytes lost --%n", &part, &length), 1);
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
    expect(fd, "halting" LINE("the guest rebooted"));
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

START_TEST(what_is_said_waits_for_silence_or_half_a_ring)
{
    static uint8_t noise[CONSOLE_RING_CAPACITY / 2];
    uint8_t byte;
    int fd;

    set_up();
    console_set_silence(console, 3600000);
    fd = attach(0, CONSOLE_FROM_NOW);
    say("one");
    turn();
    ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    console_write(console, noise, sizeof(noise));
    while (recv(fd, &byte, 1, MSG_DONTWAIT) != 1) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(byte, 'o');
    tear_down();
    close(fd);

    set_up();
    console_set_silence(console, 5);
    fd = attach(0, CONSOLE_FROM_NOW);
    say("two");
    while (recv(fd, &byte, 1, MSG_DONTWAIT) != 1) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(byte, 't');
    tear_down();
    close(fd);
}
END_TEST

START_TEST(who_gets_no_session_reads_why)
{
    char text[128] = "";
    int fds[2];

    set_up();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    console_refuse(fds[0], "the console has 16 sessions already");
    ck_assert_int_gt(read(fds[1], text, sizeof(text) - 1), 0);
    ck_assert_str_eq(text, LINE("the console has 16 sessions already"));
    close(fds[0]);
    close(fds[1]);
    tear_down();
}
END_TEST

START_TEST(the_bell_rings_once_and_not_again_at_once)
{
    int pipes[2];
    char bytes[16];

    set_up();
    ck_assert_int_eq(pipe2(pipes, O_NONBLOCK), 0);
    console_set_bell(console, pipes[1]);
    for (int i = 0; i < 100; i++) {
        say("x");
    }
    ck_assert_int_eq(read(pipes[0], bytes, sizeof(bytes)), 1); /* 100 bytes take no 250 ms */
    ck_assert_int_eq(bytes[0], 0);
    usleep(BELL_MS * 1000);
    say("y");
    ck_assert_int_eq(read(pipes[0], bytes, sizeof(bytes)), 1);
    close(pipes[0]);
    close(pipes[1]);
    tear_down();
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
          a_session_that_does_not_read_stalls_nobody_and_is_told_what_it_lost,
          a_marker_is_a_line_of_its_own,
          the_limit_of_sessions_holds_and_those_whose_peer_is_gone_make_room,
          a_peer_that_only_stops_typing_goes_on_reading,
          a_file_is_typed_and_a_pipe_hears_and_keeps_its_flags,
          a_flush_waits_no_longer_than_it_was_told, what_is_said_waits_for_silence_or_half_a_ring,
          who_gets_no_session_reads_why, the_bell_rings_once_and_not_again_at_once,
          a_qvmd_sees_the_ring_through_its_descriptor,
          bytes_from_another_thread_wake_the_loop_and_arrive_in_order)
