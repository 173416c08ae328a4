/* Which doors the threads of a machine close, by what its devices need of them afterwards. */
#include "qvm-worker/machine/private.h"

enum lockdown_kind machine_vcpu_door(const struct machine_spec *spec)
{
    if (spec->has_passed) {
        return LOCKDOWN_VCPU_PASS;
    }
    return spec->is_shared || spec->shows_memory ? LOCKDOWN_VCPU_SHARE : LOCKDOWN_VCPU;
}

enum lockdown_kind machine_control_door(const struct machine_spec *spec)
{
    if (spec->is_shared) {
        return spec->has_passed ? LOCKDOWN_CONTROL_BOTH : LOCKDOWN_CONTROL_SHARE;
    }
    if (spec->has_passed) {
        return LOCKDOWN_CONTROL_PASS; /* which may move slots, too */
    }
    return spec->shows_memory ? LOCKDOWN_CONTROL_SLOTS : LOCKDOWN_CONTROL;
}
