/* Closing the door. */
#include "qvm-worker/lockdown.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/lockdown_filters.h" /* made by lockdown_filters.c */
#include "qvm-worker/lockdown_pid.h"

#define CODE_MAX 1024u /* instructions; the kernel takes 4,096 */

_Static_assert(ARRAY_LEN(lockdown_vcpu_code) <= CODE_MAX, "filter of vCPUs too long");
_Static_assert(ARRAY_LEN(lockdown_control_code) <= CODE_MAX, "filter of the control thread");

#ifdef QVM_NO_LOCKDOWN

int lockdown_close(enum lockdown_kind kind, struct err *err)
{
    (void)kind;
    (void)err;
    (void)lockdown_vcpu_code;
    (void)lockdown_control_code;
    return 0;
}

bool lockdown_is_real(void)
{
    return false;
}

#else

/* A copy in which our process id stands where the placeholder was. */
static unsigned short copy_code(struct sock_filter *to, const struct sock_filter *from,
                                size_t count)
{
    uint32_t pid = (uint32_t)getpid();

    for (size_t i = 0; i < count; i++) {
        to[i] = from[i];
        if (to[i].k == LOCKDOWN_PID) {
            to[i].k = pid;
        }
    }
    return (unsigned short)count;
}

int lockdown_close(enum lockdown_kind kind, struct err *err)
{
    struct sock_filter code[CODE_MAX];
    struct sock_fprog program = {.filter = code};

    if (kind == LOCKDOWN_VCPU) {
        program.len = copy_code(code, lockdown_vcpu_code, ARRAY_LEN(lockdown_vcpu_code));
    } else {
        program.len = copy_code(code, lockdown_control_code, ARRAY_LEN(lockdown_control_code));
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
        return err_sys(err, -errno, "this kernel cannot close the door (seccomp)");
    }
    return 0;
}

bool lockdown_is_real(void)
{
    return true;
}

#endif
