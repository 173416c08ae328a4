/* Inside one vCPU: shared by vcpu.c and vcpu_make.c alone. */
#ifndef QVM_WORKER_VM_VCPU_PRIVATE_H
#define QVM_WORKER_VM_VCPU_PRIVATE_H

#include "proto/base/err.h"
#include "qvm-worker/vm/vcpu.h"
#include "qvm-worker/vm/vcpu_state.h"

struct vcpu {
    struct vcpu_config config;
    const struct placement *placement; /* or NULL */
    uint32_t index, count, apic_id;
    int fd;
    struct kvm_run *run;
    size_t run_size;
    struct vcpu_power_on *power_on;
    atomic_uint requests;
    bool needs_completion; /* the last exit's instruction ends at the next KVM_RUN */
    int vector; /* that was taken from the controllers and KVM has not yet; or negative */
    struct vcpu_entry entry; /* where it starts */
    bool has_entry;          /* and it is not there yet */
    bool has_run;            /* KVM_RUN has come back with something since the start */
    int result;              /* of making it; `err` has the words */
    struct err err;
    pthread_cond_t wake; /* of the gate's mutex; one for all would wake all whenever one parks */
    pthread_t thread;
    bool is_joined;
    counter_t *exits; /* by reason: shared, or the array below */
    counter_t own_exits[COUNTERS_REASONS];
    int stats_fd; /* of KVM's statistics, or -1 */
};

/* On its thread: all that KVM has of it. */
int vcpu_make(struct vcpu *vcpu, struct err *err);

#endif
