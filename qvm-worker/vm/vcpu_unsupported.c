/* What an access does that nothing here supports. */
#include "qvm-worker/vm/vcpu_unsupported.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "proto/base/err.h"

#define VECTOR_UD 6
#define VECTOR_GP 13

static int enable(int vm_fd, uint32_t number, uint64_t argument)
{
    const struct kvm_enable_cap cap = {.cap = number, .args = {argument}};

    return ioctl(vm_fd, KVM_ENABLE_CAP, &cap) == 0 ? 0 : -errno;
}

int unsupported_enable(int vm_fd, const struct unsupported *unsupported, struct err *err)
{
    int r = 0;

    if (unsupported->msr != UNSUPPORTED_FAIL) {
        r = enable(vm_fd, KVM_CAP_X86_USER_SPACE_MSR,
                   KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL);
    }
    if (r == 0 && unsupported->instruction == UNSUPPORTED_ABORT) {
        r = enable(vm_fd, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);
    }
    return r == 0 ? 0
                  : err_set(err, -EOPNOTSUPP,
                            "this KVM cannot hand over what it does not support; use "
                            "'unsupported register fail' and 'unsupported instruction fail'");
}

static void raise_exception(int vcpu_fd, uint8_t vector)
{
    struct kvm_vcpu_events events;

    if (ioctl(vcpu_fd, KVM_GET_VCPU_EVENTS, &events) == 0) {
        events.exception.injected = 1;
        events.exception.nr = vector;
        events.exception.has_error_code = vector == VECTOR_GP;
        events.exception.error_code = 0;
        (void)ioctl(vcpu_fd, KVM_SET_VCPU_EVENTS, &events); /* fails for wrong values alone */
    }
}

bool unsupported_reference(int vcpu_fd, enum unsupported_reaction reaction, const char *space,
                           uint64_t address, bool is_write, char *text, size_t size)
{
    if (reaction == UNSUPPORTED_FAIL) {
        raise_exception(vcpu_fd, VECTOR_GP); /* behind the instruction: the access is complete */
    }
    (void)snprintf(text, size, "%s %s 0x%" PRIx64 ", where nothing is",
                   is_write ? "write to" : "read of", space, address);
    return reaction == UNSUPPORTED_ABORT;
}

bool unsupported_register(struct kvm_run *run, enum unsupported_reaction reaction, char *text,
                          size_t size)
{
    bool is_read = run->exit_reason == KVM_EXIT_X86_RDMSR;

    run->msr.error = reaction == UNSUPPORTED_FAIL;
    if (is_read) {
        run->msr.data = UINT64_MAX;
    }
    (void)snprintf(text, size, "%s of register 0x%x, which is not supported",
                   is_read ? "read" : "write", run->msr.index);
    return reaction == UNSUPPORTED_ABORT;
}

bool unsupported_instruction(int vcpu_fd, const struct kvm_run *run,
                             enum unsupported_reaction reaction)
{
    if (run->exit_reason != KVM_EXIT_INTERNAL_ERROR ||
        run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION || reaction == UNSUPPORTED_ABORT) {
        return false;
    }
    raise_exception(vcpu_fd, VECTOR_UD); /* not every KVM has done it by now */
    return true;
}
