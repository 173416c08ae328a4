#include "daemon/guest/policy.h"

#include "proto/msg.h"

int64_t policy_wait_ms(const struct policy_rules *rules, int64_t number)
{
    int64_t wait_ms = rules->first_ms;

    for (; number > 1 && wait_ms < rules->most_ms; number--) {
        if (wait_ms > rules->most_ms / 2) {
            return rules->most_ms;
        }
        wait_ms = wait_ms > 0 ? 2 * wait_ms : 1;
    }
    return wait_ms < rules->most_ms ? wait_ms : rules->most_ms;
}

int64_t policy_left_ms(int64_t wait_ms, int64_t since_ns, int64_t now_ns)
{
    int64_t passed_ns = 0;

    if (__builtin_sub_overflow(now_ns, since_ns, &passed_ns)) {
        passed_ns = now_ns > since_ns ? INT64_MAX : 0;
    }
    if (passed_ns <= 0) {
        return wait_ms;
    }
    return passed_ns / 1000000 < wait_ms ? wait_ms - passed_ns / 1000000 : 0;
}

struct policy_verdict policy_judge(const struct policy_rules *rules,
                                   const struct msg_settings *settings,
                                   const struct policy_end *end)
{
    bool is_reboot = end->reason == REASON_reboot && settings->on_reboot == (int)ON_REBOOT_restart;
    int64_t tries = end->ran_ms >= rules->reset_ms ? 0 : end->tries;
    struct policy_verdict verdict = {.what = POLICY_REST, .tries = tries};

    if (end->desired != STATE_running || end->is_draining) {
        return verdict;
    }
    if (is_reboot) {
        /* No failure, so it is not counted; but not faster than the first try either. */
        verdict.what = POLICY_RETRY;
        verdict.wait_ms = end->ran_ms < rules->first_ms ? rules->first_ms - end->ran_ms : 0;
    } else if (!reason_is_restarted(end->reason, (enum guest_restart)settings->restart)) {
        return verdict;
    } else if (settings->give_up != 0 && tries >= settings->give_up) {
        verdict.what = POLICY_GIVE_UP;
    } else {
        verdict.what = POLICY_RETRY;
        verdict.tries = tries < INT64_MAX ? tries + 1 : tries;
        verdict.wait_ms = policy_wait_ms(rules, verdict.tries);
    }
    return verdict;
}
