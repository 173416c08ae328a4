/* One vCPU: its thread, its exits, the kick that gets it out of KVM_RUN.
 *
 * A request is stored first, then the thread gets a signal, whose handler sets immediate_exit; the
 * loop clears immediate_exit first and looks at the requests afterwards. So a request that comes
 * at any moment is seen before the guest runs again. */
#ifndef QVM_WORKER_VCPU_H
#define QVM_WORKER_VCPU_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;
struct cpuid_topology;
struct err;
struct kvm_cpuid2;
struct vcpu;
struct vcpu_common;
struct vcpu_entry;
struct vm;

#define VCPU_KICK_SIGNAL SIGRTMIN /* blocked in every thread but those of vCPUs */

/* Requests to a vCPU, ORed. */
enum {
    VCPU_PAUSE = 1u, /* the control thread wants it parked */
    VCPU_HALT = 2u,  /* it reported something and waits for a decision */
    VCPU_EXIT = 4u,  /* leave the thread */
};

/* Why a vCPU cannot go on. */
enum vcpu_end { VCPU_TRIPLE_FAULT, VCPU_UNSUPPORTED, VCPU_KVM_FAILED, VCPU_AT_RESET_VECTOR };

/* Where vCPUs wait; shared by all of a VM. */
struct vcpu_gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* somebody parked, or a request was taken back */
    uint32_t parked_count;
};

typedef void (*vcpu_report_fn)(void *context, uint32_t index, enum vcpu_end end, const char *text);
/* Called on the new thread before it runs the guest: closes its door. 0 or a negative errno. */
typedef int (*vcpu_ready_fn)(void *context);

struct vcpu_config {
    int kvm_fd;
    struct vm *vm;
    const struct bus *bus;
    const struct kvm_cpuid2 *cpuid; /* as cpuid_create gave it */
    struct vcpu_gate *gate;
    vcpu_report_fn report; /* on the vCPU's thread, which parks afterwards */
    vcpu_ready_fn ready;
    void *context; /* of both */
};

/* Create vCPU `index` of `count`; its APIC id is its index. */
int vcpu_create(const struct vcpu_config *config, uint32_t index, uint32_t count,
                struct vcpu **vcpu, struct err *err);
void vcpu_destroy(struct vcpu *vcpu); /* the thread has been joined, or never started */

/* Registers to read the first values of the model-specific ones from: see vcpu_state.h. */
int vcpu_fd(const struct vcpu *vcpu);

/* Power-on, and into an image with `entry`; also takes a halt back. Parked or not started. */
int vcpu_reset(struct vcpu *vcpu, const struct vcpu_common *common, const struct vcpu_entry *entry,
               struct err *err);

/* Start the thread, which parks at once: requests begin with VCPU_PAUSE. */
int vcpu_start(struct vcpu *vcpu, struct err *err);
void vcpu_join(struct vcpu *vcpu); /* after VCPU_EXIT; nothing if it never started */
bool vcpu_is_started(const struct vcpu *vcpu);

/* 0, or what `ready` returned; valid once the vCPU has parked. */
int vcpu_ready_result(const struct vcpu *vcpu);

/* Store a request and kick; take one back (the gate is locked). */
void vcpu_request(struct vcpu *vcpu, uint32_t request);
void vcpu_unrequest(struct vcpu *vcpu, uint32_t request);

/* On a vCPU's thread: park after the access that is going on. Elsewhere: nothing. */
void vcpu_halt_self(void);
uint32_t vcpu_self_index(void); /* UINT32_MAX on other threads */

/* Exits for a reason so far; exact while it is parked. */
#define VCPU_REASON_COUNT 64u
uint64_t vcpu_exits(const struct vcpu *vcpu, uint32_t reason);

#endif
