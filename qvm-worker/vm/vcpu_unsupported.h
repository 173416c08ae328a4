/* What an access does that nothing here supports (`unsupported` of qvmconf(5)).
 *
 * Registers come out of KVM (KVM_CAP_X86_USER_SPACE_MSR) and instructions too
 * (KVM_CAP_EXIT_ON_EMULATION_FAILURE) only if KVM itself would not do as it is wanted: it raises
 * #GP for a register that it does not know, and #UD for an instruction that it cannot emulate. */
#ifndef QVM_WORKER_VM_VCPU_UNSUPPORTED_H
#define QVM_WORKER_VM_VCPU_UNSUPPORTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct kvm_run;

enum unsupported_reaction {
    UNSUPPORTED_ABORT,  /* the VM ends */
    UNSUPPORTED_FAIL,   /* an exception */
    UNSUPPORTED_IGNORE, /* nothing happens; a read gives all ones */
};

struct unsupported {
    enum unsupported_reaction instruction, reference, msr;
};

/* Before the first vCPU. -EOPNOTSUPP: this KVM cannot do it. */
int unsupported_enable(int vm_fd, const struct unsupported *unsupported, struct err *err);

/* On the vCPU's thread: nobody answered an access to `address`. True: the VM is to end, `text`
 * says why. */
bool unsupported_reference(int vcpu_fd, enum unsupported_reaction reaction, const char *space,
                           uint64_t address, bool is_write, char *text, size_t size);

/* KVM_EXIT_X86_RDMSR or _WRMSR; as above. */
bool unsupported_register(struct kvm_run *run, enum unsupported_reaction reaction, char *text,
                          size_t size);

/* On the vCPU's thread: whether this exit is of an instruction that KVM cannot emulate, and the
 * vCPU goes on with #UD. */
bool unsupported_instruction(int vcpu_fd, const struct kvm_run *run,
                             enum unsupported_reaction reaction);

#endif
