/* qvmctl: which guests the arguments of a command mean, and several files on one command line. */
#include "cli/names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/files.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"
#include "tests/unit/unit.h"

#define ARGS(...) ((char *[]){__VA_ARGS__, NULL})
#define W(word)   ((char[]){word})

static struct msg_guest guests[] = {
    {.name = W("db"), .state = STATE_running},      {.name = W("web-1"), .state = STATE_stopped},
    {.name = W("web-10"), .state = STATE_failed},   {.name = W("web-2"), .state = STATE_backoff},
    {.name = W("web.a_b-c"), .state = STATE_stuck},
};
static const struct msg_guest_list list = {.guests = guests, .guests_count = ARRAY_LEN(guests)};

/* What these arguments mean, joined by blanks; `missed` is how many patterns mean nobody. */
static const char *chosen(const struct cli *cli, char **arguments, size_t missed)
{
    static char text[256];
    struct names names;
    struct err err = {0};
    size_t count = 0, used = 0;

    while (arguments[count] != NULL) {
        count++;
    }
    ck_assert_int_eq(names_choose(&names, cli, arguments, count, &list, &err), 0);
    ck_assert_uint_eq(names.missed, missed);
    ck_assert_ptr_null(names.list[names.count]);
    text[0] = '\0';
    for (size_t i = 0; i < names.count; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i > 0 ? " " : "",
                                 names.list[i]);
    }
    names_fini(&names);
    return text;
}

static const struct cli plain;

START_TEST(a_pattern_means_the_guests_that_match_in_their_order)
{
    ck_assert_str_eq(chosen(&plain, ARGS(W("web-*")), 0), "web-1 web-10 web-2");
    ck_assert_str_eq(chosen(&plain, ARGS(W("web-?")), 0), "web-1 web-2");
    ck_assert_str_eq(chosen(&plain, ARGS(W("[!w]*")), 0), "db");
    ck_assert_str_eq(chosen(&plain, ARGS(W("*")), 0), "db web-1 web-10 web-2 web.a_b-c");
    ck_assert_str_eq(chosen(&plain, ARGS(W("web.*_*-c")), 0), "web.a_b-c");
}
END_TEST

START_TEST(plain_names_stand_as_they_are_also_when_nobody_is_called_so)
{
    ck_assert_str_eq(chosen(&plain, ARGS(W("web-2"), W("nobody"), W("db")), 0), "web-2 nobody db");
    ck_assert_str_eq(chosen(&plain, ARGS(W("WEB-1")), 0), "WEB-1");
}
END_TEST

START_TEST(who_is_meant_twice_is_meant_once)
{
    ck_assert_str_eq(chosen(&plain, ARGS(W("web-2"), W("web-*"), W("web-2"), W("*-1"), W("db")), 0),
                     "web-2 web-1 web-10 db");
}
END_TEST

START_TEST(a_pattern_that_means_nobody_is_missed)
{
    ck_assert_str_eq(chosen(&plain, ARGS(W("x*")), 1), "");
    ck_assert_str_eq(chosen(&plain, ARGS(W("x*"), W("db"), W("y?")), 2), "db");
    ck_assert_str_eq(chosen(&plain, ARGS(W("[")), 1), ""); /* never closed: a `[` */
}
END_TEST

START_TEST(all_means_those_that_the_command_can_do_something_with)
{
    char *none[] = {NULL};

    ck_assert_str_eq(chosen(&(struct cli){.all = true}, none, 0),
                     "db web-1 web-10 web-2 web.a_b-c");
    ck_assert_str_eq(chosen(&(struct cli){.all = true, .all_means = names_can_start}, none, 0),
                     "web-1 web-10 web-2");
    ck_assert_str_eq(chosen(&(struct cli){.all = true, .all_means = names_can_end}, none, 0),
                     "db web-2 web.a_b-c");
}
END_TEST

START_TEST(only_patterns_and_all_need_to_be_asked_for)
{
    ck_assert(!names_are_open(&plain, ARGS(W("a"), W("b.c-d_e")), 2));
    ck_assert(names_are_open(&plain, ARGS(W("a"), W("b*")), 2));
    ck_assert(names_are_open(&plain, ARGS(W("?"), W("b")), 2));
    ck_assert(names_are_open(&(struct cli){.all = true}, NULL, 0));
}
END_TEST

START_TEST(one_alone_has_its_own_status_and_some_of_many_have_9)
{
    ck_assert_int_eq(names_status(&(struct names){.count = 3}, 0, 0), STATUS_OK);
    ck_assert_int_eq(names_status(&(struct names){.count = 1}, 1, 4), 4);
    ck_assert_int_eq(names_status(&(struct names){.count = 2}, 1, 4), STATUS_SOME_FAILED);
    ck_assert_int_eq(names_status(&(struct names){.missed = 1}, 0, 0), 3);
    ck_assert_int_eq(names_status(&(struct names){.count = 1, .missed = 1}, 0, 0),
                     STATUS_SOME_FAILED);
    ck_assert_int_eq(names_status(&(struct names){.missed = 2}, 0, 0), STATUS_SOME_FAILED);
}
END_TEST

START_TEST(only_files_alone_are_several_guests)
{
    ck_assert(files_are_meant(ARGS(W("a.qvmconf"), W("b/c.qvmconf")), 2));
    ck_assert(!files_are_meant(ARGS(W("a.qvmconf")), 1));
    ck_assert(!files_are_meant(ARGS(W("a.qvmconf"), W("@b.qvmconf")), 2));
    ck_assert(!files_are_meant(ARGS(W("a.qvmconf"), W("cmdline"), W("b.qvmconf")), 3));
    ck_assert(!files_are_meant(ARGS(W("a"), W("b")), 2));
    ck_assert(!files_are_meant(ARGS(W("a.qvmconf"), W(".qvmconf")), 2));
}
END_TEST

UNIT_MAIN("cli_names", a_pattern_means_the_guests_that_match_in_their_order,
          plain_names_stand_as_they_are_also_when_nobody_is_called_so,
          who_is_meant_twice_is_meant_once, a_pattern_that_means_nobody_is_missed,
          all_means_those_that_the_command_can_do_something_with,
          only_patterns_and_all_need_to_be_asked_for,
          one_alone_has_its_own_status_and_some_of_many_have_9, only_files_alone_are_several_guests)
