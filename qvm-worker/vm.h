/* One KVM virtual machine: memory slots, interrupt chips, interrupt lines.
 *
 * KVM's ioctls stand in vm.c, vcpu.c and cpuid.c alone; no type of theirs leaves these rooms.
 * Slots are set before the interrupt chips exist (the other order waits for a grace period). There
 * is no PIT: who wants one declares it as a device. */
#ifndef QVM_WORKER_VM_H
#define QVM_WORKER_VM_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct memory;
struct vm;

/* Pages that KVM on Intel needs in the guest's address space: reserved in the memory map. */
#define VM_RESERVED_START 0xfeffc000ull
#define VM_RESERVED_SIZE  0x4000ull

#define VM_GSI_COUNT 24u /* pins of the interrupt controller in the kernel */

/* `kvm_fd` is borrowed until vm_create returns. -EOPNOTSUPP: this KVM lacks what we need, in
 * words. */
int vm_create(int kvm_fd, const struct memory *memory, struct vm **vm, struct err *err);
void vm_destroy(struct vm *vm);

int vm_fd(const struct vm *vm);
uint32_t vm_vcpus_max(const struct vm *vm);

/* Set a line. Any thread. Lines that do not exist are ignored. */
void vm_irq(struct vm *vm, uint32_t gsi, bool is_high);

/* The interrupt chips back to power-on. No vCPU runs. */
int vm_reset(struct vm *vm, struct err *err);

#endif
