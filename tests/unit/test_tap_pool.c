/* The host's taps that guests may have: as they are declared, and who may have which of them. */
#include "daemon/tap_pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/config.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

static void test_fini(struct config *config)
{
    config_fini(config);
}
#define auto_config __attribute__((cleanup(test_fini)))

static struct config read_config(const char *text)
{
    struct config config;
    struct err err = {0};

    ck_assert_int_eq(config_init(&config, NULL), 0);
    ck_assert_msg(config_parse(&config, "q", text, &err) == 0, "%s", err.msg);
    return config;
}

START_TEST(the_row_of_the_whole_name_or_of_most_of_it_counts)
{
    auto_config struct config config = read_config("tap v* tap vm* tap vm1 tap vm10*");
    static const struct {
        const char *name, *row;
    } cases[] = {{"vm1", "vm1"}, {"vm10", "vm10*"}, {"vm2", "vm*"}, {"vm", "vm*"},
                 {"v", "v*"},    {"va", "v*"},      {"w", NULL},    {"eth0", NULL}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct pool_tap *found = tap_pool_find(&config.taps, cases[i].name);

        if (cases[i].row == NULL) {
            ck_assert_ptr_null(found);
        } else {
            ck_assert_ptr_nonnull(found);
            ck_assert_str_eq(found->name, cases[i].row);
        }
    }
}
END_TEST

START_TEST(who_may_not_have_a_tap_is_told_why)
{
    auto_config struct config config = read_config("tap vm* bridge br0 bridge br1\n"
                                                   "tap own user daemon user bin");
    static const struct tap_asker root = {0, "root", 0}, daemon = {1, "daemon", 0},
                                  stranger = {4711, "stranger", 0}, itself = {4711, "me", 4711};
    static const struct {
        const char *name, *bridge;
        const struct tap_asker *asker;
        const char *why; /* NULL: he may */
    } cases[] = {
        {"vm1", "", &stranger, NULL},
        {"vm1", "br0", &stranger, NULL},
        {"vm1", "br1", &stranger, NULL},
        {"own", "", &daemon, NULL},
        {"own", "", &root, NULL},
        {"own", "", &itself, NULL},
        {"own", "", &stranger, "tap 'own' (qvmd.conf:2) is not for guests of stranger"},
        {"vm1", "br2", &root,
         "tap 'vm1' (qvmd.conf:1) may not be in the bridge 'br2': 'bridge br2' there would allow "
         "it"},
        {"own", "br0", &daemon,
         "tap 'own' (qvmd.conf:2) may not be in the bridge 'br0': 'bridge br0' there would allow "
         "it"},
        {"eth0", "", &root,
         "tap 'eth0' is not for guests: 'tap eth0' of qvmd.conf would make it so"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        int r = tap_pool_check(&config.taps, cases[i].name, cases[i].bridge, cases[i].asker, &err);

        ck_assert_int_eq(r, cases[i].why != NULL ? -EPERM : 0);
        ck_assert_str_eq(err.msg, cases[i].why != NULL ? cases[i].why : "");
    }
}
END_TEST

START_TEST(what_is_declared_anew_is_so_from_then_on)
{
    auto_config struct config config = read_config("tap vm* bridge br0\ntap vm* bridge br1");

    ck_assert_uint_eq(config.taps.count, 1);
    ck_assert_uint_eq(config.taps.list[0].bridge_count, 1);
    ck_assert_str_eq(config.taps.list[0].bridges[0], "br1");
    ck_assert_uint_eq(config.taps.list[0].line, 2);
}
END_TEST

START_TEST(wrong_declarations_are_told_with_their_place)
{
    static const char *const texts[] = {
        "tap a/b", "tap *", "tap 1234567890123456", "tap 1234567890123456*", "tap ..", "tap a,b"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        auto_config struct config config = read_config("");
        struct err err = {0};
        char sentence[sizeof(err.msg)];

        (void)snprintf(sentence, sizeof(sentence),
                       "q:1: tap: '%s' is neither a name of network devices (up to 15 bytes, no "
                       "'/', no space) nor the beginning of names and '*'",
                       texts[i] + sizeof("tap ") - 1);
        ck_assert_int_eq(config_parse(&config, "q", texts[i], &err), -ENOEXEC);
        ck_assert_str_eq(err.msg, sentence);
        ck_assert_uint_eq(config.taps.count, 0);
    }
}
END_TEST

START_TEST(options_of_a_tap_are_checked_as_well)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"tap a bridge b/c", "q:1: bridge: 'b/c' is no name of a network device (up to 15 bytes, "
                             "no '/', no space)"},
        {"bridge b", "q:1: 'bridge' is an option of tap, and none is open here"},
        {"tap", "q:1: 'tap' wants an argument, and nothing follows"},
        {"tap a user no-such-user", "q:1: there is no user 'no-such-user' in /etc/passwd"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_config struct config config = read_config("");
        struct err err = {0};

        ck_assert_int_eq(config_parse(&config, "q", cases[i].text, &err), -ENOEXEC);
        ck_assert_str_eq(err.msg, cases[i].sentence);
    }
}
END_TEST

/* The text of `count` times the option, numbered. */
static const char *repeat(const char *option, unsigned count)
{
    static char text[8192];
    size_t used = (size_t)snprintf(text, sizeof(text), "tap a");

    for (unsigned i = 0; i < count; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, " %s n%u", option, i);
    }
    return text;
}

START_TEST(there_are_as_many_taps_and_bridges_as_there_may_be)
{
    static const struct {
        const char *option, *sentence;
        unsigned most;
    } cases[] = {
        {"tap", "q:1: more than 64 times 'tap'", TAP_POOL_MAX - 1}, /* the first is there */
        {"bridge", "q:1: more than 16 times 'bridge' for a tap", TAP_POOL_BRIDGES_MAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_config struct config config = read_config("");
        struct err err = {0};

        ck_assert_int_eq(config_parse(&config, "q", repeat(cases[i].option, cases[i].most), &err),
                         0);
        ck_assert_int_eq(
            config_parse(&config, "q", repeat(cases[i].option, cases[i].most + 1), &err), -ENOEXEC);
        ck_assert_str_eq(err.msg, cases[i].sentence);
    }
}
END_TEST

UNIT_MAIN("tap_pool", the_row_of_the_whole_name_or_of_most_of_it_counts,
          who_may_not_have_a_tap_is_told_why, what_is_declared_anew_is_so_from_then_on,
          wrong_declarations_are_told_with_their_place, options_of_a_tap_are_checked_as_well,
          there_are_as_many_taps_and_bridges_as_there_may_be)
