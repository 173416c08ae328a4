/* All vCPUs of a machine: created, started, paused, reset and stopped together. */
#ifndef QVM_WORKER_VCPU_SET_H
#define QVM_WORKER_VCPU_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/vcpu.h"

struct err;
struct vcpu_set;

/* For `config`, gate and cpuid are the set's own: leave them NULL. */
int vcpu_set_create(const struct vcpu_config *config, uint32_t count, struct vcpu_set **set,
                    struct err *err);
void vcpu_set_destroy(struct vcpu_set *set); /* stops first */

/* Make the threads; each calls `ready` and parks. */
int vcpu_set_start(struct vcpu_set *set, struct err *err);

/* Returns when all have done that: the first result of `ready` that is no success, in words. */
int vcpu_set_await(struct vcpu_set *set, struct err *err);

/* Park all; returns when each is out of KVM_RUN with its instruction complete. Let them go. */
void vcpu_set_pause(struct vcpu_set *set);
void vcpu_set_resume(struct vcpu_set *set);
bool vcpu_set_is_paused(const struct vcpu_set *set);

/* Power-on; the first one goes into the image. All are parked, or not started. */
int vcpu_set_reset(struct vcpu_set *set, const struct vcpu_entry *entry, struct err *err);

/* End and join all threads. */
void vcpu_set_stop(struct vcpu_set *set);

/* Name and value of each thing worth showing; all are parked, or not running. */
typedef void (*vcpu_set_state_fn)(void *context, const char *name, const char *value);
void vcpu_set_state(const struct vcpu_set *set, vcpu_set_state_fn add, void *context);

#endif
