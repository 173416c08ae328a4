/* qvmctl: what may stand on a command line is known from the command table alone. */
#include "cli/complete.h"

#include <ctype.h>
#include <string.h>

#include "cli/command.h"
#include "tests/unit/unit.h"

static void expect(const char *synopsis, int index, bool with_all, const char *wanted)
{
    char text[256];

    complete_expected(synopsis, index, with_all, text, sizeof(text));
    ck_assert_msg(strcmp(text, wanted) == 0, "argument %d of '%s': '%s', not '%s'", index, synopsis,
                  text, wanted);
}

START_TEST(a_synopsis_tells_what_stands_at_each_place)
{
    expect("[-w] NAME ...", 0, false, "NAME");
    expect("[-w] NAME ...", 7, false, "NAME");
    expect("[--any] [--keep] NAME ... STATE", 0, false, "NAME");
    expect("[--any] [--keep] NAME ... STATE", 1, false, "NAME STATE");
    expect("METHOD [JSON]", 1, false, "JSON");
    expect("METHOD [JSON]", 2, false, "");
    expect("[--qvm PATH] FILE [WORD ...]", 0, false, "FILE");
    expect("[--qvm PATH] FILE [WORD ...]", 1, false, "WORD");
    expect("[--qvm PATH] FILE [WORD ...]", 2, false, "WORD");
    expect("[-f] NAME[:PORT] ... | --all", 0, false, "NAME");
    expect("[-f] NAME[:PORT] ... | --all", 3, false, "NAME");
    expect("[list [BDF ...] | show BDF ... | clear BDF ...]", 1, false, "BDF");
    expect("", 0, false, "");
}
END_TEST

START_TEST(each_form_of_a_synopsis_counts_and_options_are_no_arguments)
{
    expect("[-c] FILE [WORD ...] | FILE ... | NAME ... | --all", 0, false, "NAME FILE");
    expect("[-c] FILE [WORD ...] | FILE ... | NAME ... | --all", 1, false, "NAME FILE WORD");
    expect("[--commands | --options] [COMMAND]", 0, false, "COMMAND");
    expect("[--commands | --options] [COMMAND]", 1, false, "");
}
END_TEST

START_TEST(with_all_there_are_no_names)
{
    expect("[NAME ... | --all]", 0, false, "NAME");
    expect("[NAME ... | --all]", 0, true, "");
    expect("NAME ... STATE | --all STATE", 0, true, "STATE");
    expect("NAME ... STATE | --all STATE", 1, true, "");
}
END_TEST

/* Each word in capitals of `text` must be known. */
static void expect_known(const char *text, const char *where)
{
    while (text != NULL && *text != '\0') {
        size_t size = strcspn(text, " []|.,");
        bool is_capital = size > 1;

        for (size_t i = 0; i < size; i++) {
            is_capital = is_capital && (isupper((unsigned char)text[i]) || text[i] == '=');
        }
        ck_assert_msg(!is_capital || complete_knows(text, size),
                      "%s: say in the kinds of complete.c what '%.*s' stands for", where, (int)size,
                      text);
        text += size + (text[size] != '\0');
    }
}

START_TEST(every_word_of_the_table_is_one_that_can_be_completed)
{
    for (size_t i = 0; commands[i] != NULL; i++) {
        struct command_options options = command_options(commands[i]);

        expect_known(commands[i]->synopsis, commands[i]->name);
        for (size_t j = 0; j < OPTION_TABLES_MAX; j++) {
            for (const struct option_row *row = options.tables[j]; row != NULL && row->name != NULL;
                 row++) {
                expect_known(row->argument, commands[i]->name);
                ck_assert_msg((row->kind == OPTION_FLAG) == (row->argument == NULL), "--%s of %s",
                              row->name, commands[i]->name);
            }
        }
        ck_assert_msg(strstr(commands[i]->synopsis, "NAME ...") == NULL ||
                          commands[i]->takes_guests,
                      "%s takes several names, but neither patterns nor --all", commands[i]->name);
        /* who takes guests says so, and how all of them are named */
        ck_assert_msg(commands[i]->takes_guests == (strstr(commands[i]->synopsis, "--all") != NULL),
                      "%s", commands[i]->name);
    }
}
END_TEST

UNIT_MAIN("cli_complete", a_synopsis_tells_what_stands_at_each_place,
          each_form_of_a_synopsis_counts_and_options_are_no_arguments, with_all_there_are_no_names,
          every_word_of_the_table_is_one_that_can_be_completed)
