/* All vCPUs of a machine. */
#include "qvm-worker/vm/vcpu_set.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "proto/base/err.h"
#include "qvm-worker/topology.h"
#include "qvm-worker/vm/cpuid.h"
#include "qvm-worker/vm/vcpu_state.h"
#include "qvm-worker/vm/vm_ahead.h"

#define NAME_SIZE  32
#define VALUE_SIZE 768
#define CUT_IDS    256u /* xAPIC ids have 8 bits */

struct vcpu_set {
    struct vcpu_gate gate;
    struct kvm_cpuid2 *cpuid; /* or NULL: each vCPU asks the VM ahead */
    struct vcpu_common *common;
    bool is_paused; /* asked for; vCPUs begin so */
    uint32_t count;
    struct vcpu *vcpus[]; /* NULL from the first that could not be created on */
};

/* Until one of the gate's counts is `count`. */
static void wait_until(struct vcpu_set *set, const uint32_t *have, uint32_t count)
{
    (void)pthread_mutex_lock(&set->gate.mutex);
    set->gate.awaited_count = count;
    while (*have < count) {
        (void)pthread_cond_wait(&set->gate.changed, &set->gate.mutex);
    }
    (void)pthread_mutex_unlock(&set->gate.mutex);
}

/* Threads make their vCPUs in any order, but for one thing: until a vCPU is in x2APIC mode its id
 * is cut to 8 bits, and KVM lets the one that was made first have it (kvm_recalculate_phys_map).
 * INIT and SIPI of vCPU 6 would reach vCPU 262. */
static int create_all(struct vcpu_set *set, struct vcpu_config *config, struct err *err)
{
    bool is_cut = false;
    int r = 0;

    if (vm_ahead_kvm_fd(config->ahead) < 0) {
        r = cpuid_create(config->kvm_fd, &set->cpuid, err);
    }
    r = r == 0 ? vcpu_common_create(config->kvm_fd, &set->common, err) : r;
    config->gate = &set->gate;
    config->cpuid = set->cpuid;
    config->common = set->common;
    if (r == 0) {
        r = vcpu_install_kick(err);
    }
    for (uint32_t i = 0; r == 0 && i < set->count; i++) {
        if (topology_apic_id(config->topology, i) >= CUT_IDS && !is_cut) {
            wait_until(set, &set->gate.made_count, i);
            is_cut = true;
        }
        r = vcpu_create(config, i, set->count, &set->vcpus[i], err);
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

int vcpu_set_await(struct vcpu_set *set, struct err *err)
{
    int r = 0;

    wait_until(set, &set->gate.made_count, set->count);
    for (uint32_t i = 0; r == 0 && i < set->count; i++) {
        r = vcpu_result(set->vcpus[i], err);
    }
    return r;
}

int vcpu_set_begin(struct vcpu_set *set, const struct vcpu_entry *entry, struct err *err)
{
    int r = set->count > 1 ? vcpu_set_await(set, err) : 0;

    if (r == 0 && entry != NULL) {
        vcpu_enter(set->vcpus[0], entry);
    }
    for (uint32_t i = 1; r == 0 && i < set->count; i++) {
        r = vcpu_begin(set->vcpus[i], set->common, err);
    }
    return r;
}

void vcpu_set_pause(struct vcpu_set *set)
{
    set->is_paused = true;
    for (uint32_t i = 0; i < set->count; i++) {
        vcpu_request(set->vcpus[i], VCPU_PAUSE);
    }
    wait_until(set, &set->gate.parked_count, set->count);
}

static void unrequest_all(struct vcpu_set *set, uint32_t request)
{
    (void)pthread_mutex_lock(&set->gate.mutex);
    for (uint32_t i = 0; i < set->count; i++) {
        vcpu_unrequest(set->vcpus[i], request);
        vcpu_wake(set->vcpus[i]);
    }
    (void)pthread_mutex_unlock(&set->gate.mutex);
}

void vcpu_set_resume(struct vcpu_set *set)
{
    set->is_paused = false;
    unrequest_all(set, VCPU_PAUSE);
}

void vcpu_set_go_on(struct vcpu_set *set)
{
    unrequest_all(set, VCPU_WAIT);
}

void vcpu_set_tell_time_lost(struct vcpu_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        (void)ioctl(vcpu_fd(set->vcpus[i]), KVM_KVMCLOCK_CTRL,
                    0); /* EINVAL: it has no such clock */
    }
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

void vcpu_set_look(struct vcpu_set *set)
{
    vcpu_look(set->vcpus[0]);
}

void vcpu_set_stop(struct vcpu_set *set)
{
    (void)pthread_mutex_lock(&set->gate.mutex);
    for (uint32_t i = 0; i < set->count && set->vcpus[i] != NULL; i++) {
        vcpu_request(set->vcpus[i], VCPU_EXIT);
        vcpu_wake(set->vcpus[i]);
    }
    (void)pthread_mutex_unlock(&set->gate.mutex);
    for (uint32_t i = 0; i < set->count && set->vcpus[i] != NULL; i++) {
        vcpu_join(set->vcpus[i]);
    }
}

uint32_t vcpu_set_count(const struct vcpu_set *set)
{
    return set->count;
}

int vcpu_set_fd(const struct vcpu_set *set, uint32_t index)
{
    return vcpu_fd(set->vcpus[index]);
}

size_t vcpu_set_stats_fds(const struct vcpu_set *set, int *fds, size_t most)
{
    size_t count = 0;

    while (count < most && count < set->count && vcpu_stats_fd(set->vcpus[count]) >= 0) {
        fds[count] = vcpu_stats_fd(set->vcpus[count]);
        count++;
    }
    return count;
}

static void exits_state(const struct vcpu *vcpu, const char *prefix, vcpu_set_state_fn add,
                        void *context)
{
    for (uint32_t reason = 0; reason < COUNTERS_REASONS; reason++) {
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
