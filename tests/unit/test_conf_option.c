/* Values, typed options and contexts of configurations. */
#include "proto/conf/option.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

static struct err err;

static uint64_t number(const char *text, enum conf_radix radix)
{
    uint64_t value = 4711;
    int r = conf_parse_number(text, strlen(text), radix, &value);

    return r == 0 ? value : (uint64_t)(int64_t)r;
}
#define NOT_A_NUMBER ((uint64_t)(int64_t)-EINVAL)
#define TOO_BIG      ((uint64_t)(int64_t)-ERANGE)

START_TEST(numbers_follow_their_default_radix_unless_a_prefix_overrides)
{
    ck_assert_uint_eq(number("10", CONF_DECIMAL), 10);
    ck_assert_uint_eq(number("10", CONF_HEX), 16);
    ck_assert_uint_eq(number("0x10", CONF_DECIMAL), 16);
    ck_assert_uint_eq(number("0X1f", CONF_DECIMAL), 31);
    ck_assert_uint_eq(number("0d10", CONF_HEX), 10);
    ck_assert_uint_eq(number("FEC00000", CONF_HEX), 0xfec00000);
    ck_assert_uint_eq(number("0d", CONF_HEX), 13);
    ck_assert_uint_eq(number("d0", CONF_HEX), 0xd0);
}
END_TEST

START_TEST(k_m_and_g_are_powers_of_1024)
{
    ck_assert_uint_eq(number("4k", CONF_DECIMAL), 4096);
    ck_assert_uint_eq(number("3M", CONF_DECIMAL), 3u << 20);
    ck_assert_uint_eq(number("1g", CONF_HEX), 1u << 30);
    ck_assert_uint_eq(number("0x10K", CONF_DECIMAL), 16384);
}
END_TEST

START_TEST(what_is_not_a_number_is_refused)
{
    static const char *const texts[] = {"", "K", "0x", "1T", "12a", "-1", "+1", "1 ", "0xK", "1KK"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        ck_assert_msg(number(texts[i], CONF_DECIMAL) == NOT_A_NUMBER, "'%s'", texts[i]);
    }
}
END_TEST

START_TEST(overflow_is_noticed_in_digits_and_in_the_suffix)
{
    ck_assert_uint_eq(number("18446744073709551615", CONF_DECIMAL), UINT64_MAX);
    ck_assert_uint_eq(number("18446744073709551616", CONF_DECIMAL), TOO_BIG);
    ck_assert_uint_eq(number("99999999999999999999999999z", CONF_DECIMAL), NOT_A_NUMBER);
    ck_assert_uint_eq(number("17179869183G", CONF_DECIMAL), UINT64_MAX - ((1u << 30) - 1));
    ck_assert_uint_eq(number("17179869184G", CONF_DECIMAL), TOO_BIG);
}
END_TEST

START_TEST(booleans_have_eight_words)
{
    bool value = false;

    ck_assert_int_eq(conf_parse_bool("on", &value), 0);
    ck_assert(value);
    ck_assert_int_eq(conf_parse_bool("0", &value), 0);
    ck_assert(!value);
    ck_assert(conf_parse_bool("yes", &value) == 0 && value);
    ck_assert(conf_parse_bool("false", &value) == 0 && !value);
    ck_assert_int_eq(conf_parse_bool("ON", &value), -EINVAL);
    ck_assert_int_eq(conf_parse_bool("", &value), -EINVAL);
}
END_TEST

START_TEST(the_nearest_name_is_one_slip_away_and_not_any_name)
{
    struct conf_nearest nearest = {.word = "cmdlien"};

    conf_nearest_offer(&nearest, "cpu");
    conf_nearest_offer(&nearest, "cmdline");
    ck_assert_str_eq(nearest.best, "cmdline");
    nearest = (struct conf_nearest){.word = "RAM"};
    conf_nearest_offer(&nearest, "rom");
    conf_nearest_offer(&nearest, "ram");
    ck_assert_str_eq(nearest.best, "ram");
    nearest = (struct conf_nearest){.word = "xyzzy"};
    conf_nearest_offer(&nearest, "cpu");
    conf_nearest_offer(&nearest, "a_name_that_is_far_longer_than_any");
    ck_assert_ptr_null(nearest.best);
}
END_TEST

/* A small grammar: `pool` opens a context; `name` and `level` are free. */
enum { IN_POOL = 1, IN_DEVICE = 2 };
static const char *const context_names[] = {"pool", "device"};
static const char *const levels[] = {"low", "high", NULL};

struct pool {
    uint64_t size, start;
    bool is_huge;
};

struct root {
    const char *name;
    unsigned level;
    struct pool pools[4];
    size_t pool_count;
};

static int open_pool(struct conf_scope *scope, const struct conf_word *option)
{
    struct root *root = scope->root;

    (void)option;
    scope->context = IN_POOL;
    scope->object = &root->pools[root->pool_count++];
    return 0;
}

static int other(struct conf_scope *scope, const struct conf_word *word)
{
    if (scope->context != IN_POOL || strcmp(word->text, "special") != 0) {
        return -ENOENT;
    }
    return conf_argument(scope, word) != NULL ? 0 : -ENOEXEC;
}

static void offer(const struct conf_scope *scope, struct conf_nearest *nearest)
{
    if (scope->context == IN_POOL) {
        conf_nearest_offer(nearest, "special");
    }
}

static const struct conf_option options[] = {
    CONF_TEXT("name", CONF_ANYWHERE, struct root, name, "nobody", "a name"),
    CONF_CHOICE("level", CONF_ANYWHERE, struct root, level, levels, "high", "a level"),
    CONF_HANDLER("pool", CONF_ANYWHERE, open_pool, "a pool"),
    CONF_NUMBER("size", IN_POOL | IN_DEVICE, struct pool, size, 1, 4096, "16", "its size"),
    CONF_ADDRESS("start", IN_POOL, struct pool, start, 0, UINT64_MAX, NULL, "its start"),
    CONF_BOOL("huge", IN_POOL, struct pool, is_huge, NULL, "huge pages"),
    CONF_LATER("colour", IN_POOL, "its colour"),
};

static const struct conf_grammar grammar = {
    options, ARRAY_LEN(options), context_names, ARRAY_LEN(context_names), other, offer};

static int read_root(const char *text, struct root *root)
{
    struct conf_part part = {.name = "c", .text = text, .size = strlen(text)};
    static struct conf_words words; /* texts in `root` live until the next call */
    struct conf_scope scope = {.grammar = &grammar, .words = &words, .root = root, .err = &err};

    conf_words_fini(&words);
    *root = (struct root){0};
    ck_assert_int_eq(conf_words_read(&words, &part, 1, NULL, &err), 0);
    conf_set_fallbacks(&grammar, CONF_ANYWHERE, root);
    return conf_read(&scope);
}

static const char *refusal(const char *text)
{
    struct root root;

    ck_assert_int_eq(read_root(text, &root), -ENOEXEC);
    return err.msg;
}

START_TEST(options_apply_to_the_context_before_them_and_free_ones_do_not_close_it)
{
    struct root root;

    ck_assert_int_eq(read_root("pool size 8 name web start 10 level low huge on special x size 9 "
                               "pool huge no start 0d10",
                               &root),
                     0);
    ck_assert_uint_eq(root.pool_count, 2);
    ck_assert_uint_eq(root.pools[0].size, 9);
    ck_assert_uint_eq(root.pools[0].start, 16);
    ck_assert(root.pools[0].is_huge);
    ck_assert_uint_eq(root.pools[1].start, 10);
    ck_assert_str_eq(root.name, "web");
    ck_assert_uint_eq(root.level, 0);
}
END_TEST

START_TEST(fallbacks_are_set_for_their_context_alone)
{
    struct root root;
    struct pool pool = {.start = 7};

    ck_assert_int_eq(read_root("", &root), 0);
    ck_assert_str_eq(root.name, "nobody");
    ck_assert_uint_eq(root.level, 1);
    conf_set_fallbacks(&grammar, IN_POOL, &pool);
    ck_assert_uint_eq(pool.size, 16);
    ck_assert_uint_eq(pool.start, 7);
}
END_TEST

START_TEST(a_wrong_value_is_told_with_its_place)
{
    ck_assert_str_eq(refusal("pool\nsize 0"), "c:2: size: '0' is not between 1 and 4096");
    ck_assert_str_eq(refusal("pool size 4097"), "c:1: size: '4097' is not between 1 and 4096");
    ck_assert_str_eq(refusal("pool size x"), "c:1: size: 'x' is not a decimal number");
    ck_assert_str_eq(refusal("pool start xyz"), "c:1: start: 'xyz' is not a hexadecimal number");
    ck_assert_str_eq(refusal("pool huge maybe"),
                     "c:1: huge: 'maybe' is neither of on off yes no true false 1 0");
    ck_assert_str_eq(refusal("level mid"),
                     "c:1: 'mid' is not a value of 'level', which may be low high");
}
END_TEST

START_TEST(a_missing_argument_is_told_at_its_option)
{
    ck_assert_str_eq(refusal("pool\nsize"), "c:2: 'size' wants an argument, and nothing follows");
}
END_TEST

START_TEST(an_option_without_its_context_names_the_contexts)
{
    ck_assert_str_eq(refusal("size 1"),
                     "c:1: 'size' is an option of pool or device, and none is open here");
    ck_assert_str_eq(refusal("huge on"), "c:1: 'huge' is an option of pool, and none is open here");
}
END_TEST

START_TEST(an_unknown_word_is_told_with_what_was_perhaps_meant)
{
    ck_assert_str_eq(refusal("pol"), "c:1: unknown option 'pol'; did you mean 'pool'?");
    ck_assert_str_eq(refusal("pool specail x"),
                     "c:1: unknown option 'specail'; did you mean 'special'?");
}
END_TEST

START_TEST(a_word_that_is_near_to_none_is_told_what_there_is)
{
    ck_assert_str_eq(refusal("quux"), "c:1: unknown option 'quux'; there are name, level, pool");
    ck_assert_str_eq(refusal("pool quux"),
                     "c:1: unknown option 'quux'; this pool may have special, size, start, huge, "
                     "colour; then come name, level, pool");
}
END_TEST

START_TEST(a_list_of_names_has_each_once_and_tells_that_there_are_more)
{
    struct conf_names names = {0};
    struct conf_nearest nearest = {.word = "x", .names = &names};
    char name[16];

    conf_nearest_offer(&nearest, "locate");
    conf_nearest_offer(&nearest, "loc");
    conf_nearest_offer(&nearest, "cat");
    conf_nearest_offer(&nearest, "loc");
    ck_assert_str_eq(names.text, "locate, loc, cat");
    for (int i = 0; i < CONF_NAMES_SIZE; i++) {
        (void)snprintf(name, sizeof(name), "name-%d", i);
        conf_nearest_offer(&nearest, name);
    }
    ck_assert_uint_lt(strlen(names.text), CONF_NAMES_SIZE);
    ck_assert_uint_gt(strlen(names.text), CONF_NAMES_SIZE - 16);
    ck_assert_str_eq(strrchr(names.text, '-') - 4, "name-40, ...");
}
END_TEST

START_TEST(a_word_for_later_is_refused_by_name)
{
    ck_assert_str_eq(refusal("pool colour red"), "c:1: 'colour' is not supported yet");
}
END_TEST

UNIT_MAIN("conf options", numbers_follow_their_default_radix_unless_a_prefix_overrides,
          k_m_and_g_are_powers_of_1024, what_is_not_a_number_is_refused,
          overflow_is_noticed_in_digits_and_in_the_suffix, booleans_have_eight_words,
          the_nearest_name_is_one_slip_away_and_not_any_name,
          options_apply_to_the_context_before_them_and_free_ones_do_not_close_it,
          fallbacks_are_set_for_their_context_alone, a_wrong_value_is_told_with_its_place,
          a_missing_argument_is_told_at_its_option,
          an_option_without_its_context_names_the_contexts,
          an_unknown_word_is_told_with_what_was_perhaps_meant,
          a_word_that_is_near_to_none_is_told_what_there_is,
          a_list_of_names_has_each_once_and_tells_that_there_are_more,
          a_word_for_later_is_refused_by_name)
