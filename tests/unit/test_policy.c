/* Whether and when a guest that has ended is started again: all reasons and policies, every clock.
 */
#include "daemon/guest/policy.h"

#include "proto/base/cleanup.h"
#include "proto/msg.h"
#include "tests/unit/unit.h"

static const struct policy_rules rules = {
    .first_ms = POLICY_FIRST_MS, .most_ms = POLICY_MOST_MS, .reset_ms = POLICY_RESET_MS};

static struct policy_verdict judge(enum guest_restart restart, enum guest_reason reason,
                                   int64_t ran_ms, int64_t tries)
{
    const struct msg_settings settings = {.restart = (int)restart, .give_up = 10};
    const struct policy_end end = {
        .reason = reason, .desired = STATE_running, .ran_ms = ran_ms, .tries = tries};

    return policy_judge(&rules, &settings, &end);
}

START_TEST(every_reason_meets_every_policy_and_the_table_of_reasons_decides)
{
    for (int reason = REASON_none + 1; reason < REASON_COUNT; reason++) {
        for (int restart = 0; restart < RESTART_never; restart++) {
            bool is_retried =
                reason_is_restarted((enum guest_reason)reason, (enum guest_restart)restart);
            struct policy_verdict verdict =
                judge((enum guest_restart)restart, (enum guest_reason)reason, 5, 0);

            ck_assert_int_eq(verdict.what, is_retried ? POLICY_RETRY : POLICY_REST);
        }
    }
}
END_TEST

START_TEST(what_somebody_stopped_and_what_ends_in_a_drain_is_never_started_again)
{
    const struct msg_settings settings = {.restart = RESTART_always,
                                          .on_reboot = ON_REBOOT_restart};

    for (int reason = REASON_none + 1; reason < REASON_COUNT; reason++) {
        struct policy_end end = {.reason = (enum guest_reason)reason, .desired = STATE_stopped};

        ck_assert_int_eq(policy_judge(&rules, &settings, &end).what, POLICY_REST);
        end.desired = STATE_running;
        end.is_draining = true;
        ck_assert_int_eq(policy_judge(&rules, &settings, &end).what, POLICY_REST);
    }
}
END_TEST

START_TEST(waits_double_from_one_second_to_five_minutes)
{
    static const int64_t waits_s[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300};

    for (size_t i = 0; i < ARRAY_LEN(waits_s); i++) {
        ck_assert_int_eq(policy_wait_ms(&rules, (int64_t)i + 1), waits_s[i] * 1000);
    }
    for (int64_t tries = 0; tries < 10; tries++) {
        struct policy_verdict verdict = judge(RESTART_always, REASON_unknown, 0, tries);

        ck_assert_int_eq(verdict.tries, tries + 1);
        ck_assert_int_eq(verdict.wait_ms, waits_s[tries] * 1000);
    }
}
END_TEST

START_TEST(a_long_run_ends_the_row_and_one_a_millisecond_shorter_does_not)
{
    struct policy_verdict verdict =
        judge(RESTART_on_failure, REASON_guest_crash, POLICY_RESET_MS, 7);

    ck_assert_int_eq(verdict.tries, 1);
    ck_assert_int_eq(verdict.wait_ms, POLICY_FIRST_MS);
    verdict = judge(RESTART_on_failure, REASON_guest_crash, POLICY_RESET_MS - 1, 7);
    ck_assert_int_eq(verdict.tries, 8);
    ck_assert_int_eq(judge(RESTART_no, REASON_guest_crash, POLICY_RESET_MS, 7).tries, 0);
}
END_TEST

START_TEST(a_row_is_given_up_after_the_last_try_and_not_before)
{
    struct policy_verdict verdict = judge(RESTART_on_failure, REASON_guest_crash, 0, 9);

    ck_assert_int_eq(verdict.what, POLICY_RETRY);
    verdict = judge(RESTART_on_failure, REASON_guest_crash, 0, 10);
    ck_assert_int_eq(verdict.what, POLICY_GIVE_UP);
    ck_assert_int_eq(verdict.tries, 10);
    verdict = judge(RESTART_on_failure, REASON_guest_crash, POLICY_RESET_MS, 10);
    ck_assert_int_eq(verdict.what, POLICY_RETRY);
    ck_assert_int_eq(verdict.tries, 1);
}
END_TEST

START_TEST(a_row_that_is_never_given_up_counts_without_overflow)
{
    const struct msg_settings settings = {.restart = RESTART_always, .give_up = 0};
    const struct policy_end end = {
        .reason = REASON_poweroff, .desired = STATE_running, .tries = INT64_MAX};
    struct policy_verdict verdict = policy_judge(&rules, &settings, &end);

    ck_assert_int_eq(verdict.what, POLICY_RETRY);
    ck_assert_int_eq(verdict.tries, INT64_MAX);
    ck_assert_int_eq(verdict.wait_ms, POLICY_MOST_MS);
}
END_TEST

START_TEST(strange_rules_give_a_wait_within_them)
{
    const struct policy_rules none = {0};
    const struct policy_rules huge = {.first_ms = 1, .most_ms = INT64_MAX};
    const struct policy_rules zero = {.first_ms = 0, .most_ms = 100};

    ck_assert_int_eq(policy_wait_ms(&none, 1), 0);
    ck_assert_int_eq(policy_wait_ms(&none, INT64_MAX), 0);
    ck_assert_int_eq(policy_wait_ms(&huge, 63), INT64_C(1) << 62);
    ck_assert_int_eq(policy_wait_ms(&huge, 64), INT64_MAX);
    ck_assert_int_eq(policy_wait_ms(&huge, INT64_MAX), INT64_MAX);
    ck_assert_int_eq(policy_wait_ms(&zero, 1), 0);
    ck_assert_int_eq(policy_wait_ms(&zero, 100), 100);
    ck_assert_int_eq(policy_wait_ms(&rules, 0), POLICY_FIRST_MS);
    ck_assert_int_eq(policy_wait_ms(&rules, -5), POLICY_FIRST_MS);
}
END_TEST

START_TEST(a_reboot_that_is_to_be_a_new_instance_is_no_failure_and_no_try)
{
    const struct msg_settings settings = {
        .restart = RESTART_no, .on_reboot = ON_REBOOT_restart, .give_up = 1};
    struct policy_end end = {
        .reason = REASON_reboot, .desired = STATE_running, .ran_ms = 400, .tries = 1};
    struct policy_verdict verdict = policy_judge(&rules, &settings, &end);

    ck_assert_int_eq(verdict.what, POLICY_RETRY);
    ck_assert_int_eq(verdict.tries, 1);
    ck_assert_int_eq(verdict.wait_ms, 600); /* not faster than the first try */
    end.ran_ms = 1000;
    ck_assert_int_eq(policy_judge(&rules, &settings, &end).wait_ms, 0);
    end.reason = REASON_poweroff;
    ck_assert_int_eq(policy_judge(&rules, &settings, &end).what, POLICY_REST);
}
END_TEST

START_TEST(a_clock_that_jumps_never_makes_a_wait_longer_than_it_was)
{
    const int64_t ms = 1000000;

    ck_assert_int_eq(policy_left_ms(1000, 0, 0), 1000);
    ck_assert_int_eq(policy_left_ms(1000, 0, 300 * ms), 700);
    ck_assert_int_eq(policy_left_ms(1000, 0, 1000 * ms), 0);
    ck_assert_int_eq(policy_left_ms(1000, 0, INT64_MAX), 0);            /* forward by centuries */
    ck_assert_int_eq(policy_left_ms(1000, 5000 * ms, 0), 1000);         /* back by seconds */
    ck_assert_int_eq(policy_left_ms(1000, INT64_MAX, INT64_MIN), 1000); /* by all there is */
    ck_assert_int_eq(policy_left_ms(1000, INT64_MIN, INT64_MAX), 0);
    ck_assert_int_eq(policy_left_ms(0, 0, 0), 0);
}
END_TEST

UNIT_MAIN("policy", every_reason_meets_every_policy_and_the_table_of_reasons_decides,
          what_somebody_stopped_and_what_ends_in_a_drain_is_never_started_again,
          waits_double_from_one_second_to_five_minutes,
          a_long_run_ends_the_row_and_one_a_millisecond_shorter_does_not,
          a_row_is_given_up_after_the_last_try_and_not_before,
          a_row_that_is_never_given_up_counts_without_overflow,
          strange_rules_give_a_wait_within_them,
          a_reboot_that_is_to_be_a_new_instance_is_no_failure_and_no_try,
          a_clock_that_jumps_never_makes_a_wait_longer_than_it_was)
