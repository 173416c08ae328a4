/* The lexer of configurations: words, quotes, comments, $env{}, FILE:LINE, limits. */
#include "proto/conf/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

static struct conf_words words;
static struct err err;

static struct conf_part source(const char *text)
{
    return (struct conf_part){.name = "web.qvmconf", .text = text, .size = strlen(text)};
}

static int read_text(const char *text)
{
    static const char *const env[] = {"DISK=/srv/a b", "EMPTY=", "DISKS=no", "EVIL=a\x01", NULL};
    static struct conf_part part; /* the words point to it */

    part = source(text);
    return conf_words_read(&words, &part, 1, env, &err);
}

/* The words of `text`, with | after each. */
static const char *joined(const char *text)
{
    static char all[512];

    ck_assert_msg(read_text(text) == 0, "%s", err.msg);
    all[0] = '\0';
    for (size_t i = 0; i < words.count; i++) {
        strcat(all, words.list[i].text);
        strcat(all, "|");
    }
    conf_words_fini(&words);
    return all;
}

static const char *refusal(const char *text)
{
    ck_assert_int_eq(read_text(text), -ENOEXEC);
    ck_assert_uint_eq(words.count, 0);
    return err.msg;
}

START_TEST(white_space_of_all_kinds_separates_words)
{
    ck_assert_str_eq(joined("system web\tram\n1M\r\ncpu"), "system|web|ram|1M|cpu|");
    ck_assert_str_eq(joined(""), "");
    ck_assert_str_eq(joined(" \n\t"), "");
}
END_TEST

START_TEST(a_comment_runs_to_the_end_of_its_line)
{
    ck_assert_str_eq(joined("a # b \"c\nd#e $env{NO}\nf"), "a|d|f|");
    ck_assert_str_eq(joined("\"a#b\" #"), "a#b|");
}
END_TEST

START_TEST(quotes_make_one_word_also_inside_a_word_and_over_lines)
{
    ck_assert_str_eq(joined("a \"b c\" d"), "a|b c|d|");
    ck_assert_str_eq(joined(">\"|cat -n\"x"), ">|cat -n"
                                              "x|");
    ck_assert_str_eq(joined("\"a\nb\""), "a\nb|");
    ck_assert_str_eq(joined("\"\" x"), "|x|");
}
END_TEST

#define BOM "\xef\xbb\xbf"

START_TEST(a_byte_order_mark_counts_at_the_start_of_a_text_alone)
{
    ck_assert_str_eq(joined(BOM "a b"), "a|b|");
    ck_assert_str_eq(joined(BOM), "");
    ck_assert_str_eq(joined("a " BOM "b"), "a|" BOM "b|");
}
END_TEST

START_TEST(a_backslash_at_line_end_joins_lines_inside_quotes_only)
{
    ck_assert_str_eq(joined("\"a\\\nb\""), "ab|");
    ck_assert_str_eq(joined("\"a\\\r\nb\""), "ab|");
    ck_assert_str_eq(joined("a\\\nb"), "a\\|b|");
    ck_assert_str_eq(joined("\"a\\b\""), "a\\b|");
    ck_assert_str_eq(joined("\"say \\\"hi\\\"\""), "say \"hi\"|");
}
END_TEST

START_TEST(env_is_replaced_in_and_out_of_quotes_and_not_read_again)
{
    ck_assert_str_eq(joined("$env{DISK}/x"), "/srv/a b/x|");
    ck_assert_str_eq(joined("\"<$env{DISK}>\" $env{EMPTY}"), "</srv/a b>||");
    ck_assert_str_eq(joined("$DISK $ $env x$"), "$DISK|$|$env|x$|");
}
END_TEST

START_TEST(env_that_is_not_set_or_not_a_name_is_refused)
{
    ck_assert_str_eq(refusal("a\n$env{DIS}"),
                     "web.qvmconf:2: environment variable 'DIS' is not set");
    ck_assert_str_eq(refusal("$env{}"), "web.qvmconf:1: '$env{' wants a name of letters, digits "
                                        "and '_', and a '}'");
    ck_assert_str_eq(refusal("$env{DISK"), "web.qvmconf:1: '$env{' wants a name of letters, "
                                           "digits and '_', and a '}'");
    ck_assert_str_eq(refusal("$env{EVIL}"), "web.qvmconf:1: control character 0x01 in a word");
}
END_TEST

START_TEST(without_regions_of_the_host_no_name_is_one)
{
    ck_assert_str_eq(refusal("ram $asinfo_start{x}"),
                     "web.qvmconf:1: no memory region of the host is called 'x'; /proc/iomem names "
                     "them");
}
END_TEST

START_TEST(every_word_knows_the_line_that_it_begins_in)
{
    char place[CONF_PLACE_SIZE];

    ck_assert_int_eq(read_text("a\n\"b\n\" c # d\n\n\"x\\\ny\" e"), 0);
    ck_assert_uint_eq(words.count, 5);
    ck_assert_str_eq(conf_place(&words.list[0], place), "web.qvmconf:1");
    ck_assert_str_eq(conf_place(&words.list[1], place), "web.qvmconf:2");
    ck_assert_str_eq(conf_place(&words.list[2], place), "web.qvmconf:3");
    ck_assert_str_eq(conf_place(&words.list[3], place), "web.qvmconf:5");
    ck_assert_str_eq(conf_place(&words.list[4], place), "web.qvmconf:6");
    conf_words_fini(&words);
}
END_TEST

START_TEST(a_quote_that_is_never_closed_is_told_where_it_opens)
{
    ck_assert_str_eq(refusal("a\n\"b\nc\n"),
                     "web.qvmconf:2: the quote that opens here is never closed");
    ck_assert_str_eq(refusal("\"a\\"), "web.qvmconf:1: the quote that opens here is never closed");
}
END_TEST

START_TEST(nul_bytes_and_control_characters_are_refused)
{
    struct conf_part part = {.name = "f", .text = "a\0b", .size = 3};

    ck_assert_int_eq(conf_words_read(&words, &part, 1, NULL, &err), -ENOEXEC);
    ck_assert_str_eq(err.msg, "f:1: control character 0x00 in a word");
    ck_assert_str_eq(refusal("a\x1b[2J"), "web.qvmconf:1: control character 0x1b in a word");
    ck_assert_str_eq(refusal("\"\x7f\""), "web.qvmconf:1: control character 0x7f in a word");
    ck_assert_str_eq(joined("\"a\tb\""), "a\tb|");
}
END_TEST

START_TEST(command_line_words_and_texts_keep_their_order_and_numbers)
{
    struct conf_part parts[] = {
        {.text = "ram", .size = 3},
        {.text = "a b\"#", .size = 5},
        source("cpu\ncpu"),
        {.text = "", .size = 0},
    };
    char place[CONF_PLACE_SIZE];

    ck_assert_int_eq(conf_words_read(&words, parts, ARRAY_LEN(parts), NULL, &err), 0);
    ck_assert_uint_eq(words.count, 5);
    ck_assert_str_eq(words.list[1].text, "a b\"#");
    ck_assert_str_eq(conf_place(&words.list[1], place), "command line:2");
    ck_assert_str_eq(conf_place(&words.list[3], place), "web.qvmconf:2");
    ck_assert_str_eq(words.list[4].text, "");
    ck_assert_str_eq(conf_place(&words.list[4], place), "command line:3");
    ck_assert_ptr_eq(words.list[2].part, &parts[2]);
    conf_words_fini(&words);
}
END_TEST

static char *filled(size_t size, char with)
{
    char *text = malloc(size + 1);

    ck_assert_ptr_nonnull(text);
    memset(text, with, size);
    text[size] = '\0';
    return text;
}

START_TEST(a_word_may_have_its_limit_and_not_one_byte_more)
{
    auto_free char *text = filled(CONF_WORD_MAX, 'a');
    auto_free char *longer = filled(CONF_WORD_MAX + 1, 'a');

    ck_assert_int_eq(read_text(text), 0);
    conf_words_fini(&words);
    ck_assert_str_eq(refusal(longer), "web.qvmconf:1: a word is longer than 4095 bytes");
}
END_TEST

START_TEST(a_text_may_have_its_limit_and_not_one_byte_more)
{
    auto_free char *text = filled(CONF_SOURCE_SIZE_MAX, ' ');
    auto_free char *longer = filled(CONF_SOURCE_SIZE_MAX + 1, ' ');

    ck_assert_int_eq(read_text(text), 0);
    conf_words_fini(&words);
    ck_assert_str_eq(refusal(longer), "web.qvmconf:1: the text is longer than 262144 bytes");
}
END_TEST

START_TEST(there_may_be_so_many_words_and_not_one_more)
{
    auto_free char *text = filled(2 * (CONF_WORDS_MAX + 1), ' ');

    for (size_t i = 0; i < CONF_WORDS_MAX; i++) {
        text[2 * i] = 'w';
    }
    ck_assert_int_eq(read_text(text), 0);
    ck_assert_uint_eq(words.count, CONF_WORDS_MAX);
    conf_words_fini(&words);
    text[2 * CONF_WORDS_MAX] = 'w';
    ck_assert_str_eq(refusal(text), "web.qvmconf:1: more than 16384 words");
}
END_TEST

START_TEST(all_words_together_may_have_their_limit_and_not_more)
{
    auto_free char *value = filled(CONF_WORD_MAX, 'v');
    auto_free char *entry = filled(2 + CONF_WORD_MAX, 'V');
    const char *const env[] = {entry, NULL};
    struct conf_part parts[257];

    entry[1] = '=';
    memcpy(entry + 2, value, CONF_WORD_MAX);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        parts[i] = (struct conf_part){.text = "$env{V}", .size = 7};
    }
    ck_assert_int_eq(conf_words_read(&words, parts, 256, env, &err), 0);
    conf_words_fini(&words);
    ck_assert_int_eq(conf_words_read(&words, parts, 257, env, &err), -ENOEXEC);
    ck_assert_str_eq(err.msg, "command line:257: more than 1048576 bytes in all words together");
}
END_TEST

START_TEST(there_may_be_so_many_parts_and_not_one_more)
{
    static struct conf_part parts[CONF_PARTS_MAX + 1];

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        parts[i] = (struct conf_part){.text = "w", .size = 1};
    }
    ck_assert_int_eq(conf_words_read(&words, parts, CONF_PARTS_MAX, NULL, &err), 0);
    conf_words_fini(&words);
    ck_assert_int_eq(conf_words_read(&words, parts, CONF_PARTS_MAX + 1, NULL, &err), -ENOEXEC);
    ck_assert_str_eq(err.msg, "more than 512 files and words on the command line");
}
END_TEST

START_TEST(an_env_name_may_have_its_limit_and_not_one_byte_more)
{
    static const char start[] = {'$', 'e', 'n', 'v', '{'}; /* and no NUL: the filling goes on */
    auto_free char *text = filled(5 + CONF_ENV_NAME_MAX + 2, 'N');
    size_t size = strlen(text);

    memcpy(text, start, sizeof(start));
    text[size - 1] = '}';
    ck_assert_str_eq(refusal(text), "web.qvmconf:1: the name of an environment variable is "
                                    "longer than 255 bytes");
    text[size - 2] = '}';
    text[size - 1] = ' ';
    ck_assert_ptr_nonnull(strstr(refusal(text), "N' is not set"));
}
END_TEST

static int collect(void *context, const char *name)
{
    strcat(context, name);
    strcat(context, " ");
    return 0;
}

static int stop_at_once(void *context, const char *name)
{
    (void)context;
    (void)name;
    return -ECANCELED;
}

START_TEST(the_names_of_env_are_told_but_not_those_in_comments)
{
    struct conf_part part = source("a $env{ONE}$env{TWO} # $env{NO}\n\"$env{THREE}\"");
    char names[64] = "";

    ck_assert_int_eq(conf_env_names(&part, 1, collect, names, &err), 0);
    ck_assert_str_eq(names, "ONE TWO THREE ");
    ck_assert_int_eq(conf_env_names(&part, 1, stop_at_once, NULL, &err), -ECANCELED);
}
END_TEST

UNIT_MAIN("conf words", white_space_of_all_kinds_separates_words,
          a_comment_runs_to_the_end_of_its_line,
          quotes_make_one_word_also_inside_a_word_and_over_lines,
          a_byte_order_mark_counts_at_the_start_of_a_text_alone,
          a_backslash_at_line_end_joins_lines_inside_quotes_only,
          env_is_replaced_in_and_out_of_quotes_and_not_read_again,
          env_that_is_not_set_or_not_a_name_is_refused, without_regions_of_the_host_no_name_is_one,
          every_word_knows_the_line_that_it_begins_in,
          a_quote_that_is_never_closed_is_told_where_it_opens,
          nul_bytes_and_control_characters_are_refused,
          command_line_words_and_texts_keep_their_order_and_numbers,
          a_word_may_have_its_limit_and_not_one_byte_more,
          a_text_may_have_its_limit_and_not_one_byte_more,
          there_may_be_so_many_words_and_not_one_more,
          all_words_together_may_have_their_limit_and_not_more,
          there_may_be_so_many_parts_and_not_one_more,
          an_env_name_may_have_its_limit_and_not_one_byte_more,
          the_names_of_env_are_told_but_not_those_in_comments)
