/* Settings from text: every kind, every wrong value, and nothing half done. */
#include "proto/settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

static struct msg_settings settings;

static void set(const char *name, const char *value)
{
    struct err err = {0};

    ck_assert_msg(settings_set(&settings, name, value, &err) == 0, "%s", err.msg);
}

static void refused(const char *name, const char *value, const char *words)
{
    struct err err = {0};

    ck_assert_int_eq(settings_set(&settings, name, value, &err), -EINVAL);
    ck_assert_str_eq(err.msg, words);
}

START_TEST(every_setting_is_set_by_its_name)
{
    settings_init(&settings);
    ck_assert_int_eq(settings.give_up, SETTINGS_GIVE_UP);
    set("restart", "on-failure");
    set("on-reboot", "restart");
    set("enabled", "yes");
    set("after", "db,net");
    set("delay", "1.5");
    set("stop_timeout_ms", "2000");
    set("give-up", "0");
    ck_assert_int_eq(settings.restart, RESTART_on_failure);
    ck_assert_int_eq(settings.on_reboot, ON_REBOOT_restart);
    ck_assert(settings.enabled);
    ck_assert_uint_eq(settings.after_count, 2);
    ck_assert_str_eq(settings.after[0], "db");
    ck_assert_str_eq(settings.after[1], "net");
    ck_assert_int_eq(settings.delay_ms, 1500);
    ck_assert_int_eq(settings.stop_timeout_ms, 2000);
    ck_assert_int_eq(settings.give_up, 0);
    set("after", "");
    ck_assert_uint_eq(settings.after_count, 0);
    set("stop-timeout", "0");
    ck_assert_int_eq(settings.stop_timeout_ms, 0);
    msg_fini(MSG_settings, &settings);
}
END_TEST

START_TEST(what_is_wrong_is_refused_with_what_there_is_and_changes_nothing)
{
    settings_init(&settings);
    set("after", "db");
    refused("colour", "red",
            "there is no setting 'colour'; there are restart, on-reboot, enabled, after, delay, "
            "stop-timeout, give-up");
    refused("restart", "often", "restart is one of no, on-failure, always, not 'often'");
    refused("restart", "", "restart is one of no, on-failure, always, not ''");
    refused("enabled", "maybe", "enabled is yes or no, not 'maybe'");
    refused("delay", "soon",
            "delay is seconds, or a number with ms, s, m, h or d, at most 3600s, not 'soon'");
    refused("delay", "3601",
            "delay is seconds, or a number with ms, s, m, h or d, at most 3600s, not '3601'");
    refused("delay_ms", "1s", "delay_ms is a whole number from 0 to 3600000, not '1s'");
    refused("give-up", "-1", "give-up is a whole number from 0 to 1000000, not '-1'");
    refused("give-up", "1000001", "give-up is a whole number from 0 to 1000000, not '1000001'");
    refused("give-up", "99999999999999999999",
            "give-up is a whole number from 0 to 1000000, not '99999999999999999999'");
    refused("after", "a,,b", "after: '' cannot be the name of a guest");
    refused("after", "a,../b", "after: '../b' cannot be the name of a guest");
    refused("after", "a,b,a", "after: 'a' stands there twice");
    ck_assert_uint_eq(settings.after_count, 1);
    ck_assert_str_eq(settings.after[0], "db");
    ck_assert_int_eq(settings.restart, RESTART_no);
    msg_fini(MSG_settings, &settings);
}
END_TEST

START_TEST(so_many_names_may_stand_in_after_and_no_more)
{
    char text[8 * 66] = "";
    size_t used = 0;

    settings_init(&settings);
    for (int i = 0; i < 64; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%sg%d", i > 0 ? "," : "", i);
    }
    set("after", text);
    ck_assert_uint_eq(settings.after_count, 64);
    (void)snprintf(text + used, sizeof(text) - used, ",one");
    refused("after", text, "after: more than 64 names");
    ck_assert_uint_eq(settings.after_count, 64);
    msg_fini(MSG_settings, &settings);
}
END_TEST

START_TEST(a_copy_is_equal_and_owns_its_texts)
{
    struct msg_settings copy = {0};
    auto_free char *one = NULL, *other = NULL;

    settings_init(&settings);
    set("after", "db,net");
    set("restart", "always");
    ck_assert_int_eq(settings_copy(&settings, &copy), 0);
    one = msg_encode(MSG_settings, &settings);
    other = msg_encode(MSG_settings, &copy);
    ck_assert_str_eq(one, other);
    ck_assert_ptr_ne(copy.after[0], settings.after[0]);
    msg_fini(MSG_settings, &copy);
    msg_fini(MSG_settings, &settings);
}
END_TEST

UNIT_MAIN("settings", every_setting_is_set_by_its_name,
          what_is_wrong_is_refused_with_what_there_is_and_changes_nothing,
          so_many_names_may_stand_in_after_and_no_more, a_copy_is_equal_and_owns_its_texts)
