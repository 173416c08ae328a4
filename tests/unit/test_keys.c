/* Names of keys. */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/keys.h"
#include "tests/unit/unit.h"

START_TEST(keys_are_known_by_their_names)
{
    static const struct {
        const char *name;
        uint16_t code;
    } some[] = {{"a", KEY_A},           {"z", KEY_Z},           {"1", KEY_1},
                {"0", KEY_0},           {"ret", KEY_ENTER},     {"spc", KEY_SPACE},
                {"f1", KEY_F1},         {"f12", KEY_F12},       {"up", KEY_UP},
                {"delete", KEY_DELETE}, {"alt_r", KEY_RIGHTALT}};
    uint16_t codes[KEYS_MAX];
    struct err err = {0};

    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        ck_assert_int_eq(keys_parse(some[i].name, codes, &err), 1);
        ck_assert_uint_eq(codes[0], some[i].code);
    }
}
END_TEST

START_TEST(no_name_stands_twice)
{
    for (size_t i = 0; i < key_word_count; i++) {
        for (size_t j = 0; j < i; j++) {
            ck_assert_str_ne(key_words[i].name, key_words[j].name);
        }
    }
}
END_TEST

START_TEST(keys_between_dashes_are_pressed_together)
{
    uint16_t codes[KEYS_MAX];
    struct err err = {0};

    ck_assert_int_eq(keys_parse("ctrl-alt-delete", codes, &err), 3);
    ck_assert_uint_eq(codes[0], KEY_LEFTCTRL);
    ck_assert_uint_eq(codes[1], KEY_LEFTALT);
    ck_assert_uint_eq(codes[2], KEY_DELETE);
    ck_assert_int_eq(keys_parse("a-b-c-d-e-f-g-h", codes, &err), (int)KEYS_MAX);
}
END_TEST

START_TEST(what_is_no_key_is_refused_in_words)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "'' of '' is no key; keys are like a, 1, ret, f1, ctrl-alt-delete"},
        {"ctrl-", "'' of 'ctrl-' is no key; keys are like a, 1, ret, f1, ctrl-alt-delete"},
        {"A", "'A' of 'A' is no key; keys are like a, 1, ret, f1, ctrl-alt-delete"},
        {"ctrl-ctrl", "'ctrl-ctrl' presses 'ctrl' twice"},
        {"a-b-c-d-e-f-g-h-i", "'a-b-c-d-e-f-g-h-i' is more than 8 keys at once"},
    };
    uint16_t codes[KEYS_MAX];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};

        ck_assert_int_eq(keys_parse(cases[i].text, codes, &err), -EINVAL);
        ck_assert_str_eq(err.msg, cases[i].words);
    }
}
END_TEST

UNIT_MAIN("keys", keys_are_known_by_their_names, no_name_stands_twice,
          keys_between_dashes_are_pressed_together, what_is_no_key_is_refused_in_words)
