/* All vCPUs of a machine: created, started, paused, reset and stopped together. */
#ifndef QVM_WORKER_VM_VCPU_SET_H
#define QVM_WORKER_VM_VCPU_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/vm/vcpu.h"

struct err;
struct vcpu_set;

/* Start all threads; each makes its vCPU, calls `ready` and, being paused, parks. Of `config`,
 * gate, cpuid and common are the set's own: leave them NULL. */
int vcpu_set_create(const struct vcpu_config *config, uint32_t count, struct vcpu_set **set,
                    struct err *err);
void vcpu_set_destroy(struct vcpu_set *set); /* stops first */

/* Returns when all are made: the first result that is no success. Before anything but
 * vcpu_set_destroy, vcpu_set_begin and the vcpu_set_resume that follows it. */
int vcpu_set_await(struct vcpu_set *set, struct err *err);

/* The first start: the first vCPU goes into the image with vcpu_set_resume; NULL: it starts where a
 * processor does. One that is alone is not waited for, so that it need not be waked up. */
int vcpu_set_begin(struct vcpu_set *set, const struct vcpu_entry *entry, struct err *err);

/* Park all; returns when each is out of KVM_RUN with its instruction complete. Let them go. */
void vcpu_set_pause(struct vcpu_set *set);
void vcpu_set_resume(struct vcpu_set *set);

/* Those that wait (VCPU_WAIT) need not any longer. All are parked. */
void vcpu_set_go_on(struct vcpu_set *set);
/* Guests with KVM's clock take the pause for no lock-up of theirs (KVM_KVMCLOCK_CTRL); the others
 * have nobody to tell. All are parked. */
void vcpu_set_tell_time_lost(struct vcpu_set *set);

bool vcpu_set_is_paused(const struct vcpu_set *set);

/* Power-on; the first one goes into the image. All are parked. */
int vcpu_set_reset(struct vcpu_set *set, const struct vcpu_entry *entry, struct err *err);

/* vCPU 0 looks at its INTR pin. Any thread. */
void vcpu_set_look(struct vcpu_set *set);

/* End and join all threads. */
void vcpu_set_stop(struct vcpu_set *set);

uint32_t vcpu_set_count(const struct vcpu_set *set);
int vcpu_set_fd(const struct vcpu_set *set, uint32_t index); /* once it is made */

/* Descriptors of KVM's statistics of the first vCPUs, in their order; borrowed. */
size_t vcpu_set_stats_fds(const struct vcpu_set *set, int *fds, size_t most);

/* Name and value of each thing worth showing; all are parked. */
typedef void (*vcpu_set_state_fn)(void *context, const char *name, const char *value);
void vcpu_set_state(const struct vcpu_set *set, vcpu_set_state_fn add, void *context);

#endif
