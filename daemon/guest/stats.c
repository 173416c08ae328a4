/* Figures of a guest: from the kernel and from the memory that its qvm shares; no qvm is asked. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/guest/inside.h"
#include "daemon/hand/hand.h"
#include "daemon/host/clock.h"
#include "daemon/host/kvm_stats.h"
#include "daemon/host/usage.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"
#include "proto/console.h"
#include "proto/counters.h"

#define NS_A_MS INT64_C(1000000)

struct guest_figures {
    const struct counters *counters; /* NULL: its qvm shares none */
    struct kvm_stats kvm[GUEST_STATS_KVM_MAX];
    size_t kvm_count;
    struct msg_guest_stats sample; /* owned; clock_ns 0: none was taken */
};

/* ---- what a qvm hands over ---- */

static struct guest_figures *figures_of(struct guest *guest)
{
    if (guest->figures == NULL) {
        guest->figures = calloc(1, sizeof(*guest->figures));
    }
    return guest->figures;
}

void guest_take_counters(struct guest *guest, int fd)
{
    struct guest_figures *figures = fd >= 0 ? figures_of(guest) : NULL;
    const struct counters *counters = NULL;
    struct err err = {0};

    if (figures == NULL) {
        return; /* an older qvm sends none */
    }
    if (counters_map(fd, &counters, &err) < 0) {
        log_warn("guest: no counters guest=%s why=\"%s\"", guest->name, err.msg);
        return;
    }
    counters_unmap(figures->counters);
    figures->counters = counters;
}

size_t guest_figures_take(struct guest_figures *figures, int fds[GUEST_STATS_KVM_MAX])
{
    size_t count = 0;

    for (size_t i = 0; figures != NULL && i < figures->kvm_count; i++) {
        if (figures->kvm[i].fd >= 0) {
            fds[count++] = take_fd(&figures->kvm[i].fd);
        }
    }
    return count;
}

/* The last of them ends a VM, and with it lets go of the host's devices. */
static void close_kvm(struct guests *guests, struct guest_figures *figures, bool is_wary)
{
    int left[GUEST_STATS_KVM_MAX];
    size_t count = is_wary ? guest_figures_take(figures, left) : 0;

    for (size_t i = 0; i < figures->kvm_count; i++) {
        kvm_stats_close(&figures->kvm[i]);
    }
    figures->kvm_count = 0;
    if (count > 0) {
        hands_close(guests->env.hands, left, count);
    }
}

void guest_take_kvm_stats(struct guest *guest, int *fds, size_t count)
{
    struct guest_figures *figures = count > 0 ? figures_of(guest) : NULL;
    struct err err = {0};

    if (figures == NULL) {
        return;
    }
    close_kvm(guest->all, figures, guest->is_wary);
    for (size_t i = 0; i < count && i < GUEST_STATS_KVM_MAX; i++) {
        if (kvm_stats_open(fds[i], &figures->kvm[i], &err) < 0) {
            log_warn("guest: no statistics guest=%s why=\"%s\"", guest->name, err.msg);
            return; /* the next one would be taken for this vCPU's */
        }
        fds[i] = -1;
        figures->kvm_count++;
    }
}

void guest_figures_destroy(struct guests *guests, struct guest_figures *figures, bool is_wary)
{
    if (figures == NULL) {
        return;
    }
    counters_unmap(figures->counters);
    close_kvm(guests, figures, is_wary);
    msg_fini(MSG_guest_stats, &figures->sample);
    free(figures);
}

/* ---- a sample ---- */

/* Append to a list with room; without memory for its name the counter is left out. */
static void add_counter(struct msg_counter *list, size_t *count, const char *name, int64_t value)
{
    struct msg_counter *counter = &list[*count];

    counter->name = strdup(name);
    counter->value = value;
    *count += counter->name != NULL;
}

static void sample_reasons(const struct counters *counters, uint32_t vcpu,
                           struct msg_vcpu_stats *stats)
{
    stats->by_reason = calloc(COUNTERS_REASONS, sizeof(*stats->by_reason));
    for (uint32_t reason = 0; stats->by_reason != NULL && reason < COUNTERS_REASONS; reason++) {
        int64_t exits = counters_exits(counters, vcpu, reason);
        const char *known = counters_reason_name(reason);
        char number[32];

        if (exits == 0) {
            continue;
        }
        (void)snprintf(number, sizeof(number), "reason-%" PRIu32, reason);
        add_counter(stats->by_reason, &stats->by_reason_count, known != NULL ? known : number,
                    exits);
        /* the sum of strangers' numbers must be a number, too */
        stats->exits = exits < INT64_MAX - stats->exits ? stats->exits + exits : INT64_MAX;
    }
}

static void sample_kvm(const struct kvm_stats *kvm, struct msg_vcpu_stats *stats)
{
    int64_t values[KVM_STATS_COUNT];

    stats->kvm = calloc(KVM_STATS_COUNT, sizeof(*stats->kvm));
    if (stats->kvm == NULL || kvm_stats_read(kvm, values) < 0) {
        return;
    }
    for (size_t i = 0; i < KVM_STATS_COUNT; i++) {
        if (values[i] >= 0) {
            add_counter(stats->kvm, &stats->kvm_count, kvm_stats_names[i], values[i]);
        }
    }
}

/* CPU time by the names that the threads of vCPUs give themselves. */
static void sample_vcpu_time(const struct usage *usage, struct msg_guest_stats *sample)
{
    for (size_t i = 0; i < usage->thread_count; i++) {
        unsigned vcpu = 0;
        int end = 0;

        if (sscanf(usage->threads[i].name, "vcpu%4u%n", &vcpu, &end) == 1 &&
            usage->threads[i].name[end] == '\0' && vcpu < sample->vcpus_count) {
            sample->vcpus[vcpu].cpu_ns = usage->threads[i].cpu_ns;
        }
    }
}

static void sample_vcpus(const struct guest *guest, const struct usage *usage,
                         struct msg_guest_stats *sample)
{
    const struct guest_figures *figures = guest->figures;
    size_t shared = figures->counters != NULL ? counters_vcpu_count(figures->counters) : 0;
    size_t count =
        guest->vcpus > 0 && guest->vcpus <= COUNTERS_VCPUS_MAX ? (size_t)guest->vcpus : shared;

    sample->vcpus = calloc(count + 1, sizeof(*sample->vcpus));
    if (sample->vcpus == NULL) {
        return;
    }
    sample->vcpus_count = count;
    for (size_t i = 0; i < count; i++) {
        sample->vcpus[i].vcpu = (int64_t)i;
        if (figures->counters != NULL) {
            sample_reasons(figures->counters, (uint32_t)i, &sample->vcpus[i]);
        }
        if (i < figures->kvm_count) {
            sample_kvm(&figures->kvm[i], &sample->vcpus[i]);
        }
    }
    sample_vcpu_time(usage, sample);
}

static void sample_threads(const struct usage *usage, struct msg_guest_stats *sample)
{
    sample->threads = calloc(usage->thread_count + 1, sizeof(*sample->threads));
    for (size_t i = 0; sample->threads != NULL && i < usage->thread_count; i++) {
        const struct usage_thread *from = &usage->threads[i];
        struct msg_thread *thread = &sample->threads[sample->threads_count];

        *thread = (struct msg_thread){.tid = from->tid,
                                      .name = strdup(from->name),
                                      .state = strdup(from->state),
                                      .cpu_ns = from->cpu_ns};
        if (thread->name == NULL || thread->state == NULL) {
            msg_fini(MSG_thread, thread);
            return;
        }
        sample->threads_count++;
    }
}

static void sample_named(const struct counters *counters, struct msg_guest_stats *sample)
{
    sample->counters = calloc(COUNTERS_NAMED_MAX, sizeof(*sample->counters));
    for (uint32_t i = 0; sample->counters != NULL && i < COUNTERS_NAMED_MAX; i++) {
        char name[COUNTERS_NAME_SIZE];
        int64_t value = 0;

        if (counters_named(counters, i, name, &value)) {
            add_counter(sample->counters, &sample->counters_count, name, value);
        }
    }
}

/* What only the control group knows; its CPU time has that of threads that have ended. */
static void sample_group(const struct guest *guest, struct msg_guest_stats *sample)
{
    struct cgroup_usage group;

    if (guest->cgroup_fd < 0 || cgroup_read_usage(guest->cgroup_fd, &group) < 0) {
        return;
    }
    sample->memory_charged = group.memory > 0 ? group.memory : 0;
    sample->memory_peak = group.memory_peak > 0 ? group.memory_peak : 0;
    sample->cpu_ns = group.cpu_ns > sample->cpu_ns ? group.cpu_ns : sample->cpu_ns;
}

static void take_sample(const struct guest *guest, const struct usage *usage,
                        struct msg_guest_stats *sample)
{
    sample->clock_ns = clock_mono_ns();
    sample->cpu_ns = usage->cpu_ns;
    sample->memory_touched = usage->shared;
    sample->memory_own = usage->own;
    sample->memory_swapped = usage->swapped;
    sample_group(guest, sample);
    sample_vcpus(guest, usage, sample);
    sample_threads(usage, sample);
    if (guest->figures->counters != NULL) {
        sample_named(guest->figures->counters, sample);
        counters_rest(guest->figures->counters);
    }
}

bool guest_stats_refresh(struct guest *guest, int64_t not_before_ns)
{
    struct guest_figures *figures;
    struct msg_guest_stats sample = {0};
    struct usage usage;

    if (!state_has_process(guest->state) || guest->instance.pid == 0) {
        return false;
    }
    figures = figures_of(guest);
    if (figures == NULL || figures->sample.clock_ns >= not_before_ns ||
        usage_read(guest->instance.pid, guest->instance.start_ticks, &usage, NULL) < 0) {
        return false;
    }
    take_sample(guest, &usage, &sample);
    usage_fini(&usage);
    msg_fini(MSG_guest_stats, &figures->sample);
    figures->sample = sample;
    return true;
}

void guest_stats(const struct guest *guest, struct msg_guest_stats *stats)
{
    bool is_live = state_has_process(guest->state);

    *stats = (struct msg_guest_stats){0};
    if (is_live && guest->figures != NULL && guest->figures->sample.clock_ns != 0) {
        *stats = guest->figures->sample;
        stats->age_ms = (clock_mono_ns() - stats->clock_ns) / NS_A_MS;
    }
    stats->name = lend(guest->name);
    stats->state = (int)guest->state;
    stats->instance = guest->instance.id;
    if (is_live) {
        stats->pid = guest->instance.pid;
        stats->memory = guest->memory;
        stats->reboots = guest->instance.reboots;
        if (guest->ring != NULL && guest->ring_instance == guest->instance.id) {
            stats->console_bytes = (int64_t)(console_ring_end(guest->ring) & INT64_MAX);
        }
    }
}
