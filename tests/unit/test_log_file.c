/* A log in files, in a directory of its own. */
#include "daemon/worker/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

static char top[] = "/tmp/qvm-log-XXXXXX";
static int dir_fd;
static struct log_file web;
static const struct log_bounds bounds = {.size = LOG_FILE_SIZE_MIN, .older = 2};

static void set_up(void)
{
    (void)snprintf(top, sizeof(top), "/tmp/qvm-log-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    dir_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    log_file_init(&web, dir_fd, "web.log", &bounds);
}

static void tear_down(void)
{
    log_file_remove(dir_fd, "web.log");
    (void)close(dir_fd);
    ck_assert_int_eq(rmdir(top), 0); /* nothing else was left in it */
}

static void say(const char *text)
{
    log_file_append(&web, text, strlen(text));
}

static off_t size_of(const char *name)
{
    struct stat status;

    return fstatat(dir_fd, name, &status, 0) == 0 ? status.st_size : -1;
}

/* What stands in the log from `offset` on, up to 128 bytes. */
static const char *from(uint64_t offset, uint64_t *lost)
{
    static char text[129];
    ssize_t n;

    *lost = 0;
    n = log_file_read(&web, &offset, text, sizeof(text) - 1, lost, NULL);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* Numbered lines of 16 bytes: line N is at 16 * N. */
static void say_lines(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        char line[32]; /* 16 are used */

        (void)snprintf(line, sizeof(line), "this is %07u\n", i % 10000000);
        say(line);
    }
}

START_TEST(it_is_read_by_offset_and_its_first_line_does_not_count)
{
    uint64_t lost;

    set_up();
    ck_assert_uint_eq(log_file_end(&web), 0);
    say("one\n");
    say("two\n");
    ck_assert_uint_eq(log_file_end(&web), 8);
    ck_assert_str_eq(from(0, &lost), "one\ntwo\n");
    ck_assert_str_eq(from(4, &lost), "two\n");
    ck_assert_str_eq(from(8, &lost), "");
    ck_assert_str_eq(from(99, &lost), "");
    ck_assert_int_eq(size_of("web.log"), 8 + (off_t)strlen("-- qvm: web.log from byte 0 --\n"));
    tear_down();
}
END_TEST

START_TEST(no_file_exceeds_its_bound_and_no_more_are_kept_than_asked)
{
    static const char *const names[] = {"web.log", "web.log.1", "web.log.2"};

    set_up();
    say_lines(0, 5 * LOG_FILE_SIZE_MIN / 16);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ck_assert_int_le(size_of(names[i]), (off_t)LOG_FILE_SIZE_MIN);
    }
    ck_assert_int_gt(size_of("web.log.2"), (off_t)LOG_FILE_SIZE_MIN - 64);
    ck_assert_int_eq(size_of("web.log.3"), -1);
    tear_down();
}
END_TEST

START_TEST(a_piece_that_just_fits_stays_and_one_byte_more_begins_a_file)
{
    static char piece[LOG_FILE_PIECE_MAX];
    size_t head, left;

    set_up();
    memset(piece, 'x', sizeof(piece));
    say("x");
    head = (size_t)size_of("web.log") - 1;
    left = LOG_FILE_SIZE_MIN - head - 1;
    while (left > sizeof(piece)) {
        log_file_append(&web, piece, sizeof(piece));
        left -= sizeof(piece);
    }
    log_file_append(&web, piece, left);
    ck_assert_int_eq(size_of("web.log"), (off_t)LOG_FILE_SIZE_MIN);
    ck_assert_int_eq(size_of("web.log.1"), -1);
    say("y");
    ck_assert_int_eq(size_of("web.log.1"), (off_t)LOG_FILE_SIZE_MIN);
    tear_down();
}
END_TEST

START_TEST(a_reader_goes_on_across_files_and_is_told_what_it_missed)
{
    unsigned count = 3 * LOG_FILE_SIZE_MIN / 16, next = 0;
    uint64_t offset = 0, lost = 0, oldest;
    char line[16];

    set_up();
    say_lines(0, count);
    oldest = log_file_oldest(&web);
    ck_assert_uint_gt(oldest, 0);
    ck_assert_uint_eq(oldest % 16, 0); /* lines are whole */
    while (log_file_read(&web, &offset, line, sizeof(line), &lost, NULL) == 16) {
        char expected[17];

        next = next == 0 ? (unsigned)(lost / 16) : next;
        (void)snprintf(expected, sizeof(expected), "this is %07u\n", next++);
        ck_assert_mem_eq(line, expected, 16);
    }
    ck_assert_uint_eq(lost, oldest);
    ck_assert_uint_eq(next, count);
    ck_assert_uint_eq(offset, 16ull * count);
    tear_down();
}
END_TEST

START_TEST(offsets_go_on_in_another_life)
{
    uint64_t lost;

    set_up();
    say_lines(0, 2 * LOG_FILE_SIZE_MIN / 16);
    log_file_init(&web, dir_fd, "web.log", &bounds);
    ck_assert_uint_eq(log_file_end(&web), 2ull * LOG_FILE_SIZE_MIN);
    say("more\n");
    ck_assert_str_eq(from(2ull * LOG_FILE_SIZE_MIN, &lost), "more\n");
    ck_assert_uint_eq(lost, 0);
    tear_down();
}
END_TEST

START_TEST(offsets_go_on_when_it_ended_between_two_files)
{
    uint64_t lost;

    set_up();
    say_lines(0, 10);
    ck_assert_int_eq(renameat(dir_fd, "web.log", dir_fd, "web.log.1"), 0);
    log_file_init(&web, dir_fd, "web.log", &bounds);
    ck_assert_uint_eq(log_file_end(&web), 160);
    say("more\n");
    ck_assert_str_eq(from(144, &lost), "this is 0000009\n");
    ck_assert_str_eq(from(160, &lost), "more\n");
    tear_down();
}
END_TEST

START_TEST(a_file_that_somebody_took_away_harms_nobody)
{
    uint64_t lost;

    set_up();
    say("one\n");
    ck_assert_int_eq(unlinkat(dir_fd, "web.log", 0), 0);
    ck_assert_str_eq(from(0, &lost), "");
    say("two\n");
    ck_assert_str_eq(from(0, &lost), "two\n");
    ck_assert_uint_eq(lost, 4);
    tear_down();
}
END_TEST

START_TEST(a_link_in_its_place_is_not_followed)
{
    uint64_t lost;

    set_up();
    ck_assert_int_eq(symlinkat("/dev/null", dir_fd, "web.log"), 0);
    say("lost\n");
    ck_assert_uint_eq(log_file_end(&web), 0);
    ck_assert_int_eq(unlinkat(dir_fd, "web.log", 0), 0);
    say("found\n");
    ck_assert_str_eq(from(0, &lost), "\n-- qvm: 5 bytes lost: Too many levels of symbolic links "
                                     "--\nfound\n");
    tear_down();
}
END_TEST

START_TEST(what_finds_no_room_is_counted_and_told_when_there_is)
{
    const struct rlimit none = {1, RLIM_INFINITY}, all = {RLIM_INFINITY, RLIM_INFINITY};
    uint64_t lost, at;

    set_up();
    say("one\n");
    at = log_file_end(&web);
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0); /* stands for a full disk */
    say("two\n");
    say("three\n");
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
    ck_assert_uint_eq(log_file_end(&web), at);
    say("four\n");
    ck_assert_str_eq(from(at, &lost), "\n-- qvm: 10 bytes lost: File too large --\nfour\n");
    tear_down();
}
END_TEST

START_TEST(the_last_lines_are_found_also_across_files)
{
    unsigned per_file = LOG_FILE_SIZE_MIN / 16;

    set_up();
    ck_assert_uint_eq(log_file_find_lines(&web, 3), 0);
    say_lines(0, 100);
    ck_assert_uint_eq(log_file_find_lines(&web, 1), 99 * 16);
    ck_assert_uint_eq(log_file_find_lines(&web, 100), 0);
    ck_assert_uint_eq(log_file_find_lines(&web, 1000), 0);
    say_lines(100, per_file);
    ck_assert_int_gt(size_of("web.log.1"), 0);
    ck_assert_uint_eq(log_file_find_lines(&web, 150), (100 + per_file - 150) * 16);
    say("no end");
    ck_assert_uint_eq(log_file_find_lines(&web, 1), log_file_end(&web) - 6);
    tear_down();
}
END_TEST

START_TEST(a_mark_begins_a_line)
{
    uint64_t lost;

    set_up();
    ck_assert(log_file_is_at_line_start(&web));
    say("login: ");
    ck_assert(!log_file_is_at_line_start(&web));
    log_file_mark(&web, log_file_is_at_line_start(&web), "guest '%s' has ended", "web");
    ck_assert_str_eq(from(0, &lost), "login: \n-- qvm: guest 'web' has ended --\n");
    ck_assert(log_file_is_at_line_start(&web));
    tear_down();
}
END_TEST

START_TEST(a_tail_is_what_was_said_last)
{
    auto_free char *text = NULL;
    struct err err = {0};
    size_t size = 0;

    set_up();
    ck_assert_int_eq(log_file_tail(&web, 10, &text, &size, &err), -ENOENT);
    say("one\ntwo\n");
    ck_assert_int_eq(log_file_tail(&web, 4, &text, &size, &err), 0);
    ck_assert_uint_eq(size, 4);
    ck_assert_str_eq(text, "two\n");
    tear_down();
}
END_TEST

UNIT_MAIN("log_file", it_is_read_by_offset_and_its_first_line_does_not_count,
          no_file_exceeds_its_bound_and_no_more_are_kept_than_asked,
          a_piece_that_just_fits_stays_and_one_byte_more_begins_a_file,
          a_reader_goes_on_across_files_and_is_told_what_it_missed, offsets_go_on_in_another_life,
          offsets_go_on_when_it_ended_between_two_files,
          a_file_that_somebody_took_away_harms_nobody, a_link_in_its_place_is_not_followed,
          what_finds_no_room_is_counted_and_told_when_there_is,
          the_last_lines_are_found_also_across_files, a_mark_begins_a_line,
          a_tail_is_what_was_said_last)
