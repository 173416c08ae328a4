/* A VM made ahead: what KVM does alike for every guest, on a thread of its own while the control
 * thread finds out what this guest is.
 *
 * Nothing here refuses anything: what could not be made ahead is made again by vm_create and
 * cpuid_create with the descriptor that was granted, and they say what is wrong. A VM that no
 * grant follows ends unused; it holds nothing of the host.
 *
 * Threads: one at a time calls these; the thread inside ends by itself, and is over when the CPUID
 * was taken. */
#ifndef QVM_WORKER_VM_VM_AHEAD_H
#define QVM_WORKER_VM_VM_AHEAD_H

struct kvm_cpuid2;
struct vm_ahead;

/* Begin with `kvm_fd`, /dev/kvm or anything else, which becomes the ahead's. NULL: no VM ahead. */
struct vm_ahead *vm_ahead_start(int kvm_fd);
void vm_ahead_destroy(struct vm_ahead *ahead); /* waits for the thread; NULL is fine */

/* Its /dev/kvm, borrowed; waits for the VM. -1: that gave none. NULL is fine. */
int vm_ahead_kvm_fd(struct vm_ahead *ahead);

/* What KVM_CREATE_VM gave, the caller's now; waits for it. -1: there is none. NULL is fine. */
int vm_ahead_take_vm(struct vm_ahead *ahead);

/* What cpuid_create gave, the caller's now; waits for it. NULL: there is none. NULL is fine. */
struct kvm_cpuid2 *vm_ahead_take_cpuid(struct vm_ahead *ahead);

#endif
