/* qvmctl: text for humans, tables, exit statuses. */
#include "cli/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "proto/base/cleanup.h"
#include "tests/unit/unit.h"

static void expect_shown(const char *text, const char *shown)
{
    auto_free char *got = text_harmless(text);

    ck_assert_str_eq(got, shown);
}

START_TEST(what_a_stranger_wrote_cannot_move_the_cursor)
{
    expect_shown("web-1.a_b", "web-1.a_b");
    expect_shown("a\x1b[2Jb\n\r\tc\x7f", "a\\x1b[2Jb\\n\\r\\tc\\x7f");
    expect_shown("\xc2\x9b"
                 "31m", /* CSI as one C1 character */
                 "\\u009b31m");
    expect_shown("\xe2\x80\xae"
                 "gpj.exe", /* right-to-left override */
                 "\\u202egpj.exe");
    expect_shown("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
}
END_TEST

START_TEST(what_is_not_utf8_is_shown_byte_by_byte)
{
    expect_shown("\xff", "\\xff");
    expect_shown("\xc3", "\\xc3");                            /* cut */
    expect_shown("\xc0\xaf", "\\xc0\\xaf");                   /* overlong */
    expect_shown("\xed\xa0\x80", "\\xed\\xa0\\x80");          /* surrogate */
    expect_shown("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
}
END_TEST

START_TEST(a_text_with_a_zero_byte_or_half_a_character_is_not_utf8)
{
    size_t at = 0;

    ck_assert(text_is_utf8("ok\n", 3, &at));
    ck_assert(!text_is_utf8("a\0b", 3, &at));
    ck_assert_uint_eq(at, 1);
    ck_assert(!text_is_utf8("ab\xc3", 3, &at));
    ck_assert_uint_eq(at, 2);
}
END_TEST

static void expect_size(int64_t bytes, const char *shown)
{
    char text[TEXT_SHORT_SIZE];

    text_size(text, bytes);
    ck_assert_str_eq(text, shown);
}

START_TEST(sizes_are_iec)
{
    expect_size(0, "0B");
    expect_size(1023, "1023B");
    expect_size(1024, "1KiB");
    expect_size(1536, "1.5KiB");
    expect_size(512 << 20, "512MiB");
    expect_size(INT64_C(1100) << 20, "1GiB"); /* 1.07: cut, never more than there is */
    expect_size(INT64_MAX, "7.9EiB");
    expect_size(-1, "0B");
}
END_TEST

static void expect_span(int64_t ms, const char *shown)
{
    char text[TEXT_SHORT_SIZE];

    text_span(text, ms);
    ck_assert_str_eq(text, shown);
}

START_TEST(spans_show_their_two_largest_units)
{
    expect_span(0, "0ms");
    expect_span(850, "850ms");
    expect_span(59999, "59s");
    expect_span(185000, "3m05s");
    expect_span(7620000, "2h07m");
    expect_span(INT64_C(442800000), "5d03h");
}
END_TEST

START_TEST(a_span_is_seconds_or_has_a_unit_and_keeps_to_its_limits)
{
    int64_t ms = -1;

    ck_assert(text_parse_span("5", 86400000, &ms) && ms == 5000);
    ck_assert(text_parse_span("1.5", 86400000, &ms) && ms == 1500);
    ck_assert(text_parse_span("20ms", 86400000, &ms) && ms == 20);
    ck_assert(text_parse_span("2m", 86400000, &ms) && ms == 120000);
    ck_assert(text_parse_span("1d", 86400000, &ms) && ms == 86400000);
    ck_assert(!text_parse_span("86400.001", 86400000, &ms));
    ck_assert(!text_parse_span("0", 86400000, &ms));
    ck_assert(!text_parse_span("", 86400000, &ms));
    ck_assert(!text_parse_span("-1", 86400000, &ms));
    ck_assert(!text_parse_span("1e3", 86400000, &ms));
    ck_assert(!text_parse_span("0x10", 86400000, &ms));
    ck_assert(!text_parse_span("1.2.3", 86400000, &ms));
    ck_assert(!text_parse_span("5 s", 86400000, &ms));
    ck_assert(!text_parse_span("nan", 86400000, &ms));
    ck_assert_int_eq(ms, 86400000); /* refusals wrote nothing */
}
END_TEST

/* What `table` prints. */
static char *printed(const struct table *table, bool with_header)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    ck_assert_int_eq(table_print(table, with_header, out), 0);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

START_TEST(a_table_has_text_left_numbers_right_and_no_blanks_at_the_end)
{
    static const struct table_column columns[] = {
        {"NAME", false, 0}, {"PID", true, 0}, {"OWNER", false, 0}};
    auto_free char *with = NULL, *without = NULL;
    struct table table;

    table_init(&table, columns, ARRAY_LEN(columns));
    table_text(&table, "database");
    table_number(&table, 4711, true);
    table_text(&table, "root");
    table_text(&table, "gr\xc3\xbcn");
    table_number(&table, 0, true);
    table_text(&table, "");
    with = printed(&table, true);
    without = printed(&table, false);
    ck_assert_str_eq(with, "NAME       PID  OWNER\n"
                           "database  4711  root\n"
                           "gr\xc3\xbcn         -  -\n");
    ck_assert_str_eq(without, strchr(with, '\n') + 1);
    table_fini(&table);
}
END_TEST

START_TEST(a_table_without_rows_is_its_header)
{
    static const struct table_column columns[] = {{"NAME", false, 8}, {"PID", true, 5}};
    auto_free char *with = NULL, *without = NULL;
    struct table table;

    table_init(&table, columns, ARRAY_LEN(columns));
    with = printed(&table, true);
    without = printed(&table, false);
    ck_assert_str_eq(with, "NAME        PID\n");
    ck_assert_str_eq(without, "");
    table_fini(&table);
}
END_TEST

START_TEST(a_slip_of_the_finger_is_one_step_away)
{
    char longest[TEXT_WORD_MAX + 2];

    ck_assert_uint_eq(text_distance("start", "start"), 0);
    ck_assert_uint_eq(text_distance("startt", "start"), 1);
    ck_assert_uint_eq(text_distance("strat", "start"), 1);
    ck_assert_uint_eq(text_distance("sttop", "stop"), 1);
    ck_assert_uint_eq(text_distance("lits", "list"), 1);
    ck_assert_uint_eq(text_distance("", "list"), 4);
    ck_assert_uint_eq(text_distance("kill", "pause"), 5);
    memset(longest, 'a', sizeof(longest));
    longest[TEXT_WORD_MAX] = '\0';
    ck_assert_uint_eq(text_distance(longest, "a"), TEXT_WORD_MAX - 1);
    longest[TEXT_WORD_MAX] = 'a';
    longest[TEXT_WORD_MAX + 1] = '\0';
    ck_assert_uint_eq(text_distance(longest, "a"), TEXT_FAR);
    ck_assert_uint_eq(text_distance("a", longest), TEXT_FAR);
}
END_TEST

START_TEST(each_refusal_has_the_exit_status_of_its_row)
{
    ck_assert_int_eq(cli_status(CLI_UNREACHABLE), 6);
    ck_assert_int_eq(cli_status(-ENOENT), 3);
    ck_assert_int_eq(cli_status(-EALREADY), 4);
    ck_assert_int_eq(cli_status(-EPERM), 5);
    ck_assert_int_eq(cli_status(-EACCES), 5);
    ck_assert_int_eq(cli_status(-ETIMEDOUT), 7);
    ck_assert_int_eq(cli_status(-EBUSY), 8);
    ck_assert_int_eq(cli_status(-ENOSPC), 8);
    ck_assert_int_eq(cli_status(-ENOEXEC), 1);
    ck_assert_int_eq(cli_status(-ENOMEM), 1);
}
END_TEST

START_TEST(only_a_sentence_that_begins_with_file_and_line_stands_alone)
{
    ck_assert(cli_begins_with_place("web.qvmconf:14: device 'x' is held"));
    ck_assert(cli_begins_with_place("/etc/qvm/web.qvmconf:1: no"));
    ck_assert(cli_begins_with_place("dir:with:colons/a.qvmconf:3: no"));
    ck_assert(!cli_begins_with_place("guest 'a:1: b' is held"));
    ck_assert(!cli_begins_with_place("qvmd said x:1: no"));
    ck_assert(!cli_begins_with_place("a:b: no"));
    ck_assert(!cli_begins_with_place(":1: no"));
    ck_assert(!cli_begins_with_place(""));
}
END_TEST

UNIT_MAIN("cli_text", a_slip_of_the_finger_is_one_step_away,
          what_a_stranger_wrote_cannot_move_the_cursor, what_is_not_utf8_is_shown_byte_by_byte,
          a_text_with_a_zero_byte_or_half_a_character_is_not_utf8, sizes_are_iec,
          spans_show_their_two_largest_units,
          a_span_is_seconds_or_has_a_unit_and_keeps_to_its_limits,
          a_table_has_text_left_numbers_right_and_no_blanks_at_the_end,
          a_table_without_rows_is_its_header, each_refusal_has_the_exit_status_of_its_row,
          only_a_sentence_that_begins_with_file_and_line_stands_alone)
