/* qvmctl: options, commands, the escape key. */
#include "cli/options.h"

#include <errno.h>
#include <string.h>

#include "cli/command.h"
#include "cli/console.h"
#include "tests/unit/unit.h"

static bool flag, other_flag;
static const char *text;
static int64_t span, number;

static const struct option_row rows[] = {
    {"flag", 'f', OPTION_FLAG, {.flag = &flag}, NULL, "a flag"},
    {"text", 't', OPTION_TEXT, {.text = &text}, "TEXT", "a text"},
    {"span", 0, OPTION_SPAN, {.number = &span}, "SECONDS", "a span"},
    {0},
};
static const struct option_row more[] = {
    {"other", 'o', OPTION_FLAG, {.flag = &other_flag}, NULL, "another flag"},
    {"number", 'n', OPTION_NUMBER, {.number = &number}, "N", "a number"},
    {0},
};

static const struct option_row *const all[OPTION_TABLES_MAX] = {rows, more};
static const struct option_row *const some[OPTION_TABLES_MAX] = {rows};

#define ARGS(...) ((char *[]){__VA_ARGS__, NULL})
#define W(word)   ((char[]){word})

START_TEST(options_may_stand_anywhere_and_the_arguments_keep_their_order)
{
    char **argv = ARGS(W("a"), W("-f"), W("b"), W("--text=x"), W("-n"), W("7"), W("c"));

    ck_assert_int_eq(options_read(all, false, argv), 3);
    ck_assert_str_eq(argv[0], "a");
    ck_assert_str_eq(argv[1], "b");
    ck_assert_str_eq(argv[2], "c");
    ck_assert_ptr_null(argv[3]);
    ck_assert(flag && !other_flag);
    ck_assert_str_eq(text, "x");
    ck_assert_int_eq(number, 7);
}
END_TEST

START_TEST(letters_may_be_joined_and_carry_their_value)
{
    char **argv = ARGS(W("-foty"));

    ck_assert_int_eq(options_read(all, false, argv), 0);
    ck_assert(flag && other_flag);
    ck_assert_str_eq(text, "y");
}
END_TEST

START_TEST(two_dashes_end_the_options_and_one_dash_is_an_argument)
{
    char **argv = ARGS(W("-"), W("--"), W("-f"), W("--"));

    ck_assert_int_eq(options_read(all, false, argv), 3);
    ck_assert_str_eq(argv[0], "-");
    ck_assert_str_eq(argv[1], "-f");
    ck_assert_str_eq(argv[2], "--");
    ck_assert(!flag);
}
END_TEST

START_TEST(what_stands_behind_the_command_is_left_for_it)
{
    char **argv = ARGS(W("-f"), W("list"), W("-o"), W("--"), W("x"));

    ck_assert_int_eq(options_read(some, true, argv), 4);
    ck_assert_str_eq(argv[0], "list");
    ck_assert_str_eq(argv[1], "-o");
    ck_assert_str_eq(argv[2], "--");
    ck_assert(flag && !other_flag);
}
END_TEST

START_TEST(wrong_options_are_refused)
{
    ck_assert_int_eq(options_read(all, false, ARGS(W("--nothing"))), -EINVAL);
    ck_assert_int_eq(options_read(all, false, ARGS(W("-x"))), -EINVAL);
    ck_assert_int_eq(options_read(all, false, ARGS(W("--fla"))), -EINVAL);
    ck_assert_int_eq(options_read(all, false, ARGS(W("--flag=1"))), -EINVAL);
    ck_assert_int_eq(options_read(all, false, ARGS(W("--text"))), -EINVAL);
    ck_assert_int_eq(options_read(all, false, ARGS(W("-t"))), -EINVAL);
    ck_assert_int_eq(options_read(all, false, ARGS(W("--span"), W("0"))), -EINVAL);
    ck_assert_int_eq(options_read(all, false, ARGS(W("--span"), W("86400.1"))), -EINVAL);
    ck_assert_int_eq(options_read(all, false, ARGS(W("-n"), W("1x"))), -EINVAL);
    ck_assert_int_eq(options_read(all, false, ARGS(W("-n"), W("-1"))), -EINVAL);
    ck_assert_int_eq(options_read(all, false, ARGS(W("-n"), W("99999999999999999999"))), -EINVAL);
    ck_assert_int_eq(number, 0);
}
END_TEST

/* Whether two tables give one name or letter to two options. */
static bool clash(const struct option_row *a, const struct option_row *b)
{
    for (; a != NULL && a->name != NULL; a++) {
        for (const struct option_row *row = b; row != NULL && row->name != NULL; row++) {
            if (a != row &&
                (strcmp(a->name, row->name) == 0 || (a->letter != 0 && a->letter == row->letter))) {
                return true;
            }
        }
    }
    return false;
}

START_TEST(each_command_has_its_own_name_and_options_that_mean_one_thing)
{
    for (size_t i = 0; commands[i] != NULL; i++) {
        ck_assert_ptr_eq(command_find(commands[i]->name), commands[i]);
        ck_assert_msg(!clash(global_options, commands[i]->options), "%s", commands[i]->name);
        ck_assert_msg(!clash(commands[i]->options, commands[i]->options), "%s", commands[i]->name);
        ck_assert_msg(!clash(guest_options, commands[i]->options), "%s", commands[i]->name);
        ck_assert_msg((commands[i]->formats & FORMATS_TABLE) != 0, "%s", commands[i]->name);
    }
    ck_assert_ptr_null(command_find("destroy"));
}
END_TEST

START_TEST(the_escape_key_can_be_written_in_the_usual_ways)
{
    int key = 0;

    ck_assert(console_parse_escape("ctrl-]", &key) && key == 0x1d);
    ck_assert(console_parse_escape("^]", &key) && key == 0x1d);
    ck_assert(console_parse_escape("C-a", &key) && key == 0x01);
    ck_assert(console_parse_escape("^A", &key) && key == 0x01);
    ck_assert(console_parse_escape("~", &key) && key == '~');
    ck_assert(console_parse_escape("^", &key) && key == '^');
    ck_assert(console_parse_escape("none", &key) && key == CONSOLE_NO_ESCAPE);
    ck_assert(!console_parse_escape("", &key));
    ck_assert(!console_parse_escape("ab", &key));
    ck_assert(!console_parse_escape("ctrl-", &key));
    ck_assert(!console_parse_escape("^1", &key));
    ck_assert(!console_parse_escape("^ab", &key));
    ck_assert(!console_parse_escape("\xc3\xbc", &key));
}
END_TEST

UNIT_MAIN("cli_options", options_may_stand_anywhere_and_the_arguments_keep_their_order,
          letters_may_be_joined_and_carry_their_value,
          two_dashes_end_the_options_and_one_dash_is_an_argument,
          what_stands_behind_the_command_is_left_for_it, wrong_options_are_refused,
          each_command_has_its_own_name_and_options_that_mean_one_thing,
          the_escape_key_can_be_written_in_the_usual_ways)
