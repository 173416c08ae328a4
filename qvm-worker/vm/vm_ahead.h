/* A VM made ahead: what KVM does alike for every guest, on a thread of its own while the control
 * thread finds out what this guest is. The thread then becomes the first vCPU's.
 *
 * Nothing here refuses a VM: one that could not be made ahead is made again by vm_create with the
 * descriptor that was granted, which says what is wrong. A VM that no grant follows ends unused;
 * it holds nothing of the host.
 *
 * Threads: one at a time calls these, but for vm_ahead_cpuid. The thread inside has given up the
 * host (confine.h) before anything else. */
#ifndef QVM_WORKER_VM_VM_AHEAD_H
#define QVM_WORKER_VM_VM_AHEAD_H

#include <pthread.h>
#include <stdbool.h>

struct err;
struct kvm_cpuid2;
struct vm_ahead;

/* Begin with `kvm_fd`, /dev/kvm or anything else, which becomes the ahead's. NULL: no VM ahead. */
struct vm_ahead *vm_ahead_start(int kvm_fd);

/* Waits for the thread; if that has become a vCPU's, not before all vCPUs are made. NULL is fine.
 */
void vm_ahead_destroy(struct vm_ahead *ahead);

/* Its /dev/kvm, borrowed; waits for the VM. -1: that gave none, or it is closed. NULL is fine. */
int vm_ahead_kvm_fd(struct vm_ahead *ahead);

/* What KVM_CREATE_VM gave, the caller's now; waits for it. -1: there is none. NULL is fine. */
int vm_ahead_take_vm(struct vm_ahead *ahead);

/* Nobody here needs /dev/kvm any more, and a thread that did not go on ends, as it has no door:
 * before a vCPU runs. One that went on closes a copy of its own. NULL is fine. */
void vm_ahead_settle(struct vm_ahead *ahead);

/* What cpuid_create gave, borrowed until vm_ahead_destroy; waits for it. Any thread. */
int vm_ahead_cpuid(struct vm_ahead *ahead, const struct kvm_cpuid2 **cpuid, struct err *err);

/* The thread goes on with `thread_main` when it has the CPUID, and is the caller's to join; its
 * signals are blocked. False: there is no VM ahead (NULL, too), or its thread is out of this one's
 * reach: landlock of Linux 6.12 lets no signal pass between threads that it confined one by one. */
bool vm_ahead_go_on(struct vm_ahead *ahead, void *(*thread_main)(void *context), void *context,
                    pthread_t *thread);

#endif
