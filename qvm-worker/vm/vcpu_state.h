/* The registers of one vCPU: power-on, entry into an image, words for people.
 *
 * What power-on is, KVM tells itself: it is read when the vCPU is new, and written back at each
 * reset. What reads it runs on the new vCPU's thread, and so does vcpu_state_enter;
 * vcpu_state_reset on the control thread, while the vCPU is parked. */
#ifndef QVM_WORKER_VM_VCPU_STATE_H
#define QVM_WORKER_VM_VCPU_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct kvm_run;
struct vcpu_common;
struct vcpu_power_on;

/* Flat segments 0x10 (code) and 0x18 (data) of the table at `gdt`, interrupts off: in 64-bit mode
 * with the page tables at `page_tables`, or in 32-bit mode without paging. */
struct vcpu_entry {
    bool is_32bit;
    uint64_t rip, rax, rbx, rsi, rsp;
    uint64_t page_tables; /* guest-physical; 64-bit mode alone */
    uint64_t gdt;         /* guest-physical */
    uint16_t gdt_size;    /* bytes */
};

/* What all vCPUs of a VM share. With failures, too, `*common` is to be destroyed. */
int vcpu_common_create(int kvm_fd, struct vcpu_common **common, struct err *err);
/* The model-specific registers and their first values, of a new vCPU that has its CPUID. */
int vcpu_common_read(struct vcpu_common *common, int vcpu_fd, struct err *err);
size_t vcpu_common_run_size(const struct vcpu_common *common); /* bytes of struct kvm_run */
void vcpu_common_destroy(struct vcpu_common *common);

/* Read the power-on state of a new vCPU; the first one runs, the others wait for a start-up IPI. */
int vcpu_power_on_create(int vcpu_fd, bool is_first, struct vcpu_power_on **power_on,
                         struct err *err);
void vcpu_power_on_destroy(struct vcpu_power_on *power_on);

/* The first start, of a vCPU that has never run: it is at power-on but for what the firmware of a
 * PC would have set. On its thread, or while it is parked. */
int vcpu_state_begin(int vcpu_fd, const struct vcpu_common *common,
                     const struct vcpu_power_on *power_on, struct err *err);

/* And into an image: KVM takes the registers with the next KVM_RUN (KVM_CAP_SYNC_REGS). */
void vcpu_state_enter(struct kvm_run *run, const struct vcpu_power_on *power_on,
                      const struct vcpu_entry *entry);

/* Every later start: back to power-on, and into the image with an `entry`, whatever the guest has
 * done with it. One that the guest has not started is as it was left. */
int vcpu_state_reset(int vcpu_fd, const struct vcpu_common *common,
                     const struct vcpu_power_on *power_on, const struct vcpu_entry *entry,
                     struct err *err);

/* Whether it stands at the reset vector below 4 GiB: a PC has firmware there, here is nothing. */
bool vcpu_state_is_at_reset_vector(int vcpu_fd);

/* Write the registers that matter into `text`, as "rip=0x... cr0=...". */
void vcpu_state_text(int vcpu_fd, char *text, size_t size);

/* Write into `text` why KVM_RUN came back with something that cannot be gone on from. */
void vcpu_state_exit_text(const struct kvm_run *run, char *text, size_t size);

/* "io", "mmio", ...; NULL: no name. */
const char *vcpu_state_exit_name(uint32_t reason);

#endif
