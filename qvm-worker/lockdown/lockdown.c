/* Closing the door. */
#include "qvm-worker/lockdown/lockdown.h"

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
#include "qvm-worker/lockdown/pid.h"
#include "qvm-worker/lockdown_filters.h" /* made by filters.c */

#define CODE_MAX 1024u /* instructions; the kernel takes 4,096 */

_Static_assert(ARRAY_LEN(lockdown_vcpu_code) <= CODE_MAX, "filter of vCPUs too long");
_Static_assert(ARRAY_LEN(lockdown_io_code) <= CODE_MAX, "filter of I/O threads too long");
_Static_assert(ARRAY_LEN(lockdown_io_backend_code) <= CODE_MAX, "filter of those with back ends");
_Static_assert(ARRAY_LEN(lockdown_io_sockets_code) <= CODE_MAX, "filter of those with sockets");
_Static_assert(ARRAY_LEN(lockdown_io_vhost_code) <= CODE_MAX, "filter of those with the kernel");
_Static_assert(ARRAY_LEN(lockdown_control_code) <= CODE_MAX, "filter of the control thread");
_Static_assert(ARRAY_LEN(lockdown_vcpu_pass_code) <= CODE_MAX, "filter of vCPUs with devices");
_Static_assert(ARRAY_LEN(lockdown_control_pass_code) <= CODE_MAX, "filter of control with devices");
_Static_assert(ARRAY_LEN(lockdown_control_both_code) <= CODE_MAX, "filter of control with both");

static const struct {
    const struct sock_filter *code;
    size_t count;
} filters[] = {
    [LOCKDOWN_VCPU] = {lockdown_vcpu_code, ARRAY_LEN(lockdown_vcpu_code)},
    [LOCKDOWN_IO] = {lockdown_io_code, ARRAY_LEN(lockdown_io_code)},
    [LOCKDOWN_CONTROL] = {lockdown_control_code, ARRAY_LEN(lockdown_control_code)},
    [LOCKDOWN_VCPU_PASS] = {lockdown_vcpu_pass_code, ARRAY_LEN(lockdown_vcpu_pass_code)},
    [LOCKDOWN_CONTROL_PASS] = {lockdown_control_pass_code, ARRAY_LEN(lockdown_control_pass_code)},
    [LOCKDOWN_VCPU_SHARE] = {lockdown_vcpu_share_code, ARRAY_LEN(lockdown_vcpu_share_code)},
    [LOCKDOWN_CONTROL_SLOTS] = {lockdown_control_slots_code,
                                ARRAY_LEN(lockdown_control_slots_code)},
    [LOCKDOWN_CONTROL_SHARE] = {lockdown_control_share_code,
                                ARRAY_LEN(lockdown_control_share_code)},
    [LOCKDOWN_CONTROL_BOTH] = {lockdown_control_both_code, ARRAY_LEN(lockdown_control_both_code)},
    [LOCKDOWN_IO_BACKEND] = {lockdown_io_backend_code, ARRAY_LEN(lockdown_io_backend_code)},
    [LOCKDOWN_IO_SOCKETS] = {lockdown_io_sockets_code, ARRAY_LEN(lockdown_io_sockets_code)},
    [LOCKDOWN_IO_VHOST] = {lockdown_io_vhost_code, ARRAY_LEN(lockdown_io_vhost_code)},
    [LOCKDOWN_PORTS] = {lockdown_ports_code, ARRAY_LEN(lockdown_ports_code)},
};

#ifdef QVM_NO_LOCKDOWN

int lockdown_close(enum lockdown_kind kind, struct err *err)
{
    (void)kind;
    (void)err;
    (void)filters;
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

    program.len = copy_code(code, filters[kind].code, filters[kind].count);
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
