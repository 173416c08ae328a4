/* One vCPU: its thread, its exits, the kick that gets it out of KVM_RUN.
 *
 * The thread makes the vCPU, so that several are made side by side, and beside what the control
 * thread does meanwhile; it closes its door, and parks unless it may go on by then. That of vCPU 0
 * is the one that made the VM ahead, if there is one.
 *
 * A request is stored first, then the thread gets a signal, whose handler sets immediate_exit; the
 * loop clears immediate_exit first and looks at the requests afterwards. So a request that comes
 * at any moment is seen before the guest runs again. */
#ifndef QVM_WORKER_VM_VCPU_H
#define QVM_WORKER_VM_VCPU_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/counters.h"
#include "qvm-worker/vm/vcpu_unsupported.h"

struct bus;
struct cpuid_topology;
struct err;
struct kvm_cpuid2;
struct placement;
struct vcpu;
struct vcpu_common;
struct vcpu_entry;
struct topology;
struct vm;
struct vm_ahead;

#define VCPU_KICK_SIGNAL SIGRTMIN /* blocked in every thread but those of vCPUs */

/* Requests to a vCPU, ORed. */
enum {
    VCPU_PAUSE = 1u, /* the control thread wants it parked */
    VCPU_HALT = 2u,  /* it reported something and waits for a decision */
    VCPU_EXIT = 4u,  /* leave the thread */
    VCPU_WAIT = 8u,  /* what it did changes the machine, which is being done */
};

/* Why a vCPU cannot go on. */
enum vcpu_end { VCPU_TRIPLE_FAULT, VCPU_UNSUPPORTED, VCPU_KVM_FAILED, VCPU_AT_RESET_VECTOR };

/* Where vCPUs wait; shared by all of a VM. */
struct vcpu_gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* so many as are awaited; each vCPU waits for what is its own */
    uint32_t made_count, parked_count, awaited_count;
};

typedef void (*vcpu_report_fn)(void *context, uint32_t index, enum vcpu_end end, const char *text);
/* Called on the new thread when its vCPU is made: closes its door. 0 or a negative errno. */
typedef int (*vcpu_ready_fn)(void *context, struct err *err);

/* Interrupt controllers outside the kernel. Any vCPU's thread calls these. */
struct vcpu_chips {
    atomic_bool is_intr_high;          /* the INTR pin of vCPU 0: an 8259 wants to interrupt */
    int (*acknowledge)(void *context); /* vCPU 0 takes it: the vector, or negative */
    void (*end_of_interrupt)(void *context, uint8_t vector);
    void *context;
};

struct vcpu_config {
    struct vcpu_chips *chips; /* NULL: they are KVM's */
    int kvm_fd;               /* borrowed until vcpu_set_create returns */
    struct vm_ahead *ahead;   /* CPUID and vCPU 0's thread, until all are made; NULL: none */
    struct vm *vm;
    const struct topology *topology;
    bool shows_qnx; /* as in struct cpuid_topology */
    const struct bus *bus;
    const struct kvm_cpuid2 *cpuid; /* as cpuid_create gave it; NULL: ask `ahead` */
    struct vcpu_common *common;     /* vCPU 0 reads the registers */
    struct vcpu_gate *gate;
    const struct placement *const *placements; /* one a vCPU, or NULL; NULL: none has any */
    struct unsupported unsupported;
    struct counters *counters; /* shared ones to count exits in; NULL: own ones */
    vcpu_report_fn report;     /* on the vCPU's thread, which parks afterwards */
    vcpu_ready_fn ready;
    void *context; /* of both */
};

/* The handler of VCPU_KICK_SIGNAL; before the first vCPU is created. */
int vcpu_install_kick(struct err *err);

/* Start the thread of vCPU `index` of `count`. Requests begin with
 * VCPU_PAUSE. `config` is copied, what it points to is borrowed. */
int vcpu_create(const struct vcpu_config *config, uint32_t index, uint32_t count,
                struct vcpu **vcpu, struct err *err);
void vcpu_destroy(struct vcpu *vcpu); /* the thread has been joined */

int vcpu_fd(const struct vcpu *vcpu); /* once it is made */

/* Of KVM's statistics of this vCPU: whoever has it reads them with pread, at any time. -1: none. */
int vcpu_stats_fd(const struct vcpu *vcpu); /* once it is made */

/* It goes into this image, as soon as it may go on. It has never run, and is paused. */
void vcpu_enter(struct vcpu *vcpu, const struct vcpu_entry *entry);

/* The first start of all but vCPU 0, which has done this itself. Parked. */
int vcpu_begin(struct vcpu *vcpu, const struct vcpu_common *common, struct err *err);

/* Power-on, and into an image with `entry`; also takes a halt back. Parked. */
int vcpu_reset(struct vcpu *vcpu, const struct vcpu_common *common, const struct vcpu_entry *entry,
               struct err *err);

void vcpu_join(struct vcpu *vcpu); /* after VCPU_EXIT; once */

/* Once it is made: 0, or why it could not be or got no door. */
int vcpu_result(const struct vcpu *vcpu, struct err *err);

/* Store a request and kick; take one back; let it look at its requests if it is parked (both with
 * the gate locked). */
void vcpu_request(struct vcpu *vcpu, uint32_t request);
void vcpu_unrequest(struct vcpu *vcpu, uint32_t request);
void vcpu_wake(struct vcpu *vcpu);

/* Let it look at its INTR pin. Any thread. */
void vcpu_look(struct vcpu *vcpu);

/* On a vCPU's thread: park after the access that is going on, by VCPU_HALT or VCPU_WAIT (which
 * vcpu_set_go_on takes back). Elsewhere: nothing. */
void vcpu_park_self(uint32_t request);
uint32_t vcpu_self_index(void); /* UINT32_MAX on other threads */

/* Exits for a reason so far; exact while it is parked. */
uint64_t vcpu_exits(const struct vcpu *vcpu, uint32_t reason);

#endif
