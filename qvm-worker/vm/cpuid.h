/* What a vCPU says of itself: the host's CPUID, made consistent with the guest's topology.
 *
 * Facts: Intel SDM volume 2 (CPUID), AMD APM volume 3 appendix E, Documentation/virt/kvm. */
#ifndef QVM_WORKER_VM_CPUID_H
#define QVM_WORKER_VM_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/topology.h"

struct err;
struct kvm_cpuid2;

#define CPUID_EXTRA_LEAVES 8u /* room that cpuid_for_vcpu may need beyond what the host reports */

struct cpuid_topology {
    struct topology cpus;
    uint32_t apic_id; /* of this one */
    uint32_t tsc_khz; /* 0: not known */
    bool shows_qnx;   /* leaf 0x4000_0000 names QNX Hypervisor, and KVM's leaves are behind that */
};

/* Ask KVM what it supports, however many leaves that are. The caller frees *table. */
int cpuid_create(int kvm_fd, struct kvm_cpuid2 **table, struct err *err);

/* A table with the leaves of `base` and room for cpuid_for_vcpu; NULL: no memory. */
struct kvm_cpuid2 *cpuid_copy(const struct kvm_cpuid2 *base);

/* Turn `table` (a fresh cpuid_copy) into what this vCPU shows: APIC id and topology in leaves 1, 4,
 * 0xB, 0x8000_0008, 0x8000_001D and _001E, the hypervisor bit, the TSC deadline timer, the
 * frequencies in 0x4000_0010, KVM's leaves from 0x4000_0100 on where another name is before them;
 * without performance counters, nested virtualization, PCID without INVPCID. */
void cpuid_for_vcpu(struct kvm_cpuid2 *table, const struct cpuid_topology *topology);

#endif
