/* The registers of one vCPU: power-on, entry into an image, words for people.
 *
 * What power-on is, KVM tells itself: it is read when the vCPU is new, and written back at each
 * reset. All ioctls here are made while the vCPU is parked, by the control thread, except
 * vcpu_state_text. */
#ifndef QVM_WORKER_VCPU_STATE_H
#define QVM_WORKER_VCPU_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct kvm_run;
struct vcpu_common;
struct vcpu_power_on;

/* 64-bit mode as of the Linux boot protocol: flat segments 0x10 (code) and 0x18 (data) of the
 * table at `gdt`, paging on with the tables at `page_tables`, interrupts off. */
struct vcpu_entry {
    uint64_t rip, rsi, rsp;
    uint64_t page_tables; /* guest-physical */
    uint64_t gdt;         /* guest-physical */
    uint16_t gdt_size;    /* bytes */
};

/* What all vCPUs of a VM share: the model-specific registers and their first values, read from a
 * new vCPU that has its CPUID. */
int vcpu_common_create(int kvm_fd, int vcpu_fd, struct vcpu_common **common, struct err *err);
void vcpu_common_destroy(struct vcpu_common *common);

/* Read the power-on state of a new vCPU. */
int vcpu_power_on_create(int vcpu_fd, struct vcpu_power_on **power_on, struct err *err);
void vcpu_power_on_destroy(struct vcpu_power_on *power_on);

/* Back to power-on; with an `entry`, into that image. */
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
