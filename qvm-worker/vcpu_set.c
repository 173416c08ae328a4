/* All vCPUs of a machine. */
#include "qvm-worker/vcpu_set.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/err.h"
#include "qvm-worker/cpuid.h"
#include "qvm-worker/vcpu_state.h"

#define NAME_SIZE  32
#define VALUE_SIZE 768

struct vcpu_set {
    struct vcpu_gate gate;
    struct kvm_cpuid2 *cpuid;
    struct vcpu_common *common;
    bool is_paused; /* asked for; vCPUs begin so */
    uint32_t count;
    struct vcpu *vcpus[]; /* NULL from the first that could not be created on */
};

static int create_all(struct vcpu_set *set, struct vcpu_config *config, struct err *err)
{
    int r = cpuid_create(config->kvm_fd, &set->cpuid, err);

    config->gate = &set->gate;
    config->cpuid = set->cpuid;
    for (uint32_t i = 0; r == 0 && i < set->count; i++) {
        r = vcpu_create(config, i, set->count, &set->vcpus[i], err);
    }
    if (r == 0) {
        r = vcpu_common_create(config->kvm_fd, vcpu_fd(set->vcpus[0]), &set->common, err);
    }
    return r;
}

int vcpu_set_create(const struct vcpu_config *config, uint32_t count, struct vcpu_set **set,
                    struct err *err)
{
    struct vcpu_config own = *config;
    struct vcpu_set *new = calloc(1, sizeof(*new) + count * sizeof(struct vcpu *));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    (void)pthread_mutex_init(&new->gate.mutex, NULL); /* cannot fail on Linux */
    (void)pthread_cond_init(&new->gate.changed, NULL);
    new->count = count;
    new->is_paused = true;
    r = create_all(new, &own, err);
    if (r != 0) {
        vcpu_set_destroy(new);
        return r;
    }
    *set = new;
    return 0;
}

void vcpu_set_destroy(struct vcpu_set *set)
{
    if (set == NULL) {
        return;
    }
    vcpu_set_stop(set);
    for (uint32_t i = set->count; i > 0; i--) {
        vcpu_destroy(set->vcpus[i - 1]);
    }
    vcpu_common_destroy(set->common);
    free(set->cpuid);
    (void)pthread_cond_destroy(&set->gate.changed);
    (void)pthread_mutex_destroy(&set->gate.mutex);
    free(set);
}

/* How many threads there are: those that failed to start are the last. */
static uint32_t started_count(const struct vcpu_set *set)
{
    uint32_t started = 0;

    while (started < set->count && set->vcpus[started] != NULL &&
           vcpu_is_started(set->vcpus[started])) {
        started++;
    }
    return started;
}

static void wait_until_parked(struct vcpu_set *set)
{
    uint32_t started = started_count(set);

    (void)pthread_mutex_lock(&set->gate.mutex);
    while (set->gate.parked_count < started) {
        (void)pthread_cond_wait(&set->gate.changed, &set->gate.mutex);
    }
    (void)pthread_mutex_unlock(&set->gate.mutex);
}

int vcpu_set_start(struct vcpu_set *set, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < set->count; i++) {
        r = vcpu_start(set->vcpus[i], err);
    }
    return r;
}

int vcpu_set_await(struct vcpu_set *set, struct err *err)
{
    wait_until_parked(set);
    for (uint32_t i = 0; i < set->count; i++) {
        int r = vcpu_ready_result(set->vcpus[i]);

        if (r != 0) {
            return err_sys(err, r, "vCPU %" PRIu32 " cannot close its door", i);
        }
    }
    return 0;
}

void vcpu_set_pause(struct vcpu_set *set)
{
    set->is_paused = true;
    for (uint32_t i = 0; i < set->count; i++) {
        vcpu_request(set->vcpus[i], VCPU_PAUSE);
    }
    wait_until_parked(set);
}

static void unrequest_all(struct vcpu_set *set, uint32_t request)
{
    (void)pthread_mutex_lock(&set->gate.mutex);
    for (uint32_t i = 0; i < set->count; i++) {
        vcpu_unrequest(set->vcpus[i], request);
    }
    (void)pthread_cond_broadcast(&set->gate.changed);
    (void)pthread_mutex_unlock(&set->gate.mutex);
}

void vcpu_set_resume(struct vcpu_set *set)
{
    set->is_paused = false;
    unrequest_all(set, VCPU_PAUSE);
}

bool vcpu_set_is_paused(const struct vcpu_set *set)
{
    return set->is_paused;
}

int vcpu_set_reset(struct vcpu_set *set, const struct vcpu_entry *entry, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < set->count; i++) {
        r = vcpu_reset(set->vcpus[i], set->common, i == 0 ? entry : NULL, err);
    }
    return r;
}

void vcpu_set_stop(struct vcpu_set *set)
{
    (void)pthread_mutex_lock(&set->gate.mutex);
    for (uint32_t i = 0; i < set->count && set->vcpus[i] != NULL; i++) {
        vcpu_request(set->vcpus[i], VCPU_EXIT);
    }
    (void)pthread_cond_broadcast(&set->gate.changed);
    (void)pthread_mutex_unlock(&set->gate.mutex);
    for (uint32_t i = 0; i < set->count && set->vcpus[i] != NULL; i++) {
        vcpu_join(set->vcpus[i]);
    }
}

static void exits_state(const struct vcpu *vcpu, const char *prefix, vcpu_set_state_fn add,
                        void *context)
{
    for (uint32_t reason = 0; reason < VCPU_REASON_COUNT; reason++) {
        const char *known = vcpu_state_exit_name(reason);
        char name[2 * NAME_SIZE], value[NAME_SIZE];

        if (vcpu_exits(vcpu, reason) == 0) {
            continue;
        }
        if (known != NULL) {
            (void)snprintf(name, sizeof(name), "%s.exits.%s", prefix, known);
        } else {
            (void)snprintf(name, sizeof(name), "%s.exits.reason-%" PRIu32, prefix, reason);
        }
        (void)snprintf(value, sizeof(value), "%" PRIu64, vcpu_exits(vcpu, reason));
        add(context, name, value);
    }
}

void vcpu_set_state(const struct vcpu_set *set, vcpu_set_state_fn add, void *context)
{
    for (uint32_t i = 0; i < set->count; i++) {
        char name[NAME_SIZE], registers[NAME_SIZE + 16], value[VALUE_SIZE];

        (void)snprintf(name, sizeof(name), "vcpu%" PRIu32, i);
        (void)snprintf(registers, sizeof(registers), "%s.registers", name);
        vcpu_state_text(vcpu_fd(set->vcpus[i]), value, sizeof(value));
        add(context, registers, value);
        exits_state(set->vcpus[i], name, add, context);
    }
}
