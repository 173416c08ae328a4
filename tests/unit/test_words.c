/* The closed lists, and the life of a guest walked over its whole grid. */
#include "proto/words.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "tests/unit/unit.h"

/* The grid as a person reads it, written independently of states.def: a row per state, a column
 * per event in the order start up pause resume stop ended died lose find stick retry due. */
static const char *const grid[STATE_COUNT][EVENT_COUNT] = {
    [STATE_defined] = {"starting"},
    [STATE_starting] = {NULL, "running", NULL, NULL, "stopping", "stopped", "failed", "unreachable",
                        NULL, NULL, "backoff"},
    [STATE_running] = {NULL, NULL, "paused", NULL, "stopping", "stopped", "failed", "unreachable",
                       NULL, NULL, "backoff"},
    [STATE_paused] = {NULL, NULL, NULL, "running", "stopping", "stopped", "failed", "unreachable",
                      NULL, NULL, "backoff"},
    [STATE_stopping] = {NULL, NULL, NULL, NULL, "stopping", "stopped", "stopped", NULL, NULL,
                        "stuck"},
    [STATE_backoff] = {"starting", NULL, NULL, NULL, "stopped", NULL, "failed", NULL, NULL, NULL,
                       NULL, "starting"},
    [STATE_stopped] = {"starting"},
    [STATE_failed] = {"starting"},
    [STATE_unreachable] = {NULL, NULL, "paused", NULL, "stopping", "stopped", "failed", NULL,
                           "running", NULL, "backoff"},
    [STATE_stuck] = {NULL, NULL, NULL, NULL, "stuck", "stopped", "stopped"},
};

START_TEST(every_cell_of_the_state_grid_is_as_written)
{
    for (int state = 0; state < STATE_COUNT; state++) {
        for (int event = 0; event < EVENT_COUNT; event++) {
            int next = state_move((enum guest_state)state, (enum guest_event)event);

            if (grid[state][event] == NULL) {
                ck_assert_msg(next == -EALREADY, "%s + %s must be refused",
                              words_name(&words_state, state), words_name(&words_event, event));
            } else {
                ck_assert_str_eq(words_name(&words_state, next), grid[state][event]);
            }
        }
    }
}
END_TEST

START_TEST(a_state_with_a_process_is_left_only_by_its_end_or_to_another_such_state)
{
    for (int state = 0; state < STATE_COUNT; state++) {
        for (int event = 0; event < EVENT_COUNT; event++) {
            int next = state_move((enum guest_state)state, (enum guest_event)event);
            bool is_end = event == EVENT_ended || event == EVENT_died || event == EVENT_retry;

            if (next >= 0 && state_has_process((enum guest_state)state)) {
                ck_assert(state_has_process((enum guest_state)next) != is_end);
            }
        }
    }
}
END_TEST

START_TEST(every_word_is_found_by_its_name_and_has_one_name)
{
    const struct word_table *tables[] = {&words_state,         &words_event,   &words_reason,
                                         &words_resource_kind, &words_restart, &words_on_reboot};

    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (int i = 0; i < tables[t]->count; i++) {
            const char *name = words_name(tables[t], i);

            if (name != NULL) {
                ck_assert_int_eq(words_find(tables[t], name), i);
            }
        }
    }
    ck_assert_int_eq(words_find(&words_state, "asleep"), -1);
    ck_assert_ptr_null(words_name(&words_state, STATE_COUNT));
    ck_assert_ptr_null(words_name(&words_state, -1));
    ck_assert_ptr_null(words_name(&words_reason, REASON_none));
}
END_TEST

START_TEST(each_error_has_its_own_errno_name_and_code)
{
    for (size_t i = 0; i < error_word_count; i++) {
        ck_assert_ptr_eq(error_by_code(error_words[i].code), &error_words[i]);
        ck_assert_ptr_eq(error_by_name(error_words[i].name), &error_words[i]);
        for (size_t j = 0; j < i; j++) {
            ck_assert_int_ne(error_words[i].rpc_code, error_words[j].rpc_code);
        }
    }
    ck_assert_str_eq(error_by_code(-ENOTTY)->name, "internal");
    ck_assert_ptr_null(error_by_name("sorry"));
}
END_TEST

START_TEST(a_guest_name_is_a_letter_then_letters_digits_dot_dash_underscore)
{
    char name[GUEST_NAME_MAX + 2];

    ck_assert(guest_name_is_valid("a"));
    ck_assert(guest_name_is_valid("Web-1.test_x"));
    ck_assert(!guest_name_is_valid(""));
    ck_assert(!guest_name_is_valid("1web"));
    ck_assert(!guest_name_is_valid("a/b"));
    ck_assert(!guest_name_is_valid("../etc"));
    ck_assert(!guest_name_is_valid("a b"));
    ck_assert(!guest_name_is_valid("\303\244"));
    memset(name, 'a', sizeof(name));
    name[GUEST_NAME_MAX] = '\0';
    ck_assert(guest_name_is_valid(name));
    name[GUEST_NAME_MAX] = 'a';
    name[GUEST_NAME_MAX + 1] = '\0';
    ck_assert(!guest_name_is_valid(name));
}
END_TEST

/* Written independently of states.def, as a person reads it. */
START_TEST(after_every_reason_it_is_written_which_policies_start_a_guest_again)
{
    static const char *const after_failure[] = {"guest-crash", "watchdog", "vmm-crash",
                                                "oom",         "denied",   "unknown"};
    static const char *const after_any[] = {"poweroff", "reboot"};

    for (int reason = 0; reason < REASON_COUNT; reason++) {
        const char *name = words_name(&words_reason, reason);
        bool on_failure = false, always = false;

        for (size_t i = 0; name != NULL && i < ARRAY_LEN(after_failure); i++) {
            on_failure = on_failure || strcmp(name, after_failure[i]) == 0;
        }
        for (size_t i = 0; name != NULL && i < ARRAY_LEN(after_any); i++) {
            always = always || strcmp(name, after_any[i]) == 0;
        }
        ck_assert(!reason_is_restarted((enum guest_reason)reason, RESTART_no));
        ck_assert(reason_is_restarted((enum guest_reason)reason, RESTART_on_failure) == on_failure);
        ck_assert(reason_is_restarted((enum guest_reason)reason, RESTART_always) ==
                  (on_failure || always));
    }
}
END_TEST

UNIT_MAIN("words", every_cell_of_the_state_grid_is_as_written,
          a_state_with_a_process_is_left_only_by_its_end_or_to_another_such_state,
          every_word_is_found_by_its_name_and_has_one_name,
          each_error_has_its_own_errno_name_and_code,
          after_every_reason_it_is_written_which_policies_start_a_guest_again,
          a_guest_name_is_a_letter_then_letters_digits_dot_dash_underscore)
