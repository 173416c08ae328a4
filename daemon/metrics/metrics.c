/* Figures as Prometheus text. */
#include "daemon/metrics/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/words.h"

#define NS_A_SECOND 1e9
#define MS_A_SECOND 1e3

void metrics_print_label(FILE *out, const char *text)
{
    (void)fputc('"', out); /* memory that is out shows when the stream is closed */
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            (void)fputs("\\n", out);
            continue;
        }
        if (*text == '"' || *text == '\\') {
            (void)fputc('\\', out);
        }
        (void)fputc(*text, out);
    }
    (void)fputc('"', out);
}

static void begin(FILE *out, const char *name, const char *type, const char *help)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(FILE *out, const char *name, const char *type, const char *help, double value)
{
    begin(out, name, type, help);
    (void)fprintf(out, "%s %.15g\n", name, value);
}

/* "NAME{guest="web"" without the bracket that ends it. */
static void begin_sample(FILE *out, const char *name, const char *guest)
{
    (void)fprintf(out, "%s{guest=", name);
    metrics_print_label(out, guest);
}

static void label(FILE *out, const char *name, const char *text)
{
    (void)fprintf(out, ",%s=", name);
    metrics_print_label(out, text);
}

/* ---- one number a guest ---- */

/* A family whose samples are int64_t members of a struct, divided by `scale`. */
struct family {
    const char *name, *type, *help;
    size_t offset;
    double scale;
};

#define STAT(name, type, member, scale, help)                                                      \
    {                                                                                              \
        name, type, help, offsetof(struct msg_guest_stats, member), scale                          \
    }

static const struct family stats_families[] = {
    STAT("qvm_guest_cpu_seconds_total", "counter", cpu_ns, NS_A_SECOND,
         "CPU time of the guest's qvm, vCPUs included."),
    STAT("qvm_guest_memory_bytes", "gauge", memory, 1, "Guest RAM that was granted."),
    STAT("qvm_guest_memory_touched_bytes", "gauge", memory_touched, 1,
         "Guest RAM that exists because somebody touched it."),
    STAT("qvm_guest_memory_own_bytes", "gauge", memory_own, 1, "Memory of the qvm itself."),
    STAT("qvm_guest_memory_swapped_bytes", "gauge", memory_swapped, 1,
         "Memory of the guest's qvm that is swapped out."),
    STAT("qvm_guest_memory_charged_bytes", "gauge", memory_charged, 1,
         "Memory that the guest's control group is charged for."),
    STAT("qvm_guest_console_bytes_total", "counter", console_bytes, 1,
         "Bytes that the guest said on its console."),
    STAT("qvm_guest_reboots_total", "counter", reboots, 1, "Resets inside the live instance."),
    STAT("qvm_guest_threads", "gauge", threads_count, 1, "Threads of the guest's qvm."),
    STAT("qvm_guest_sample_age_seconds", "gauge", age_ms, MS_A_SECOND,
         "Age of the figures of this guest."),
};

_Static_assert(sizeof(size_t) == sizeof(int64_t), "threads_count is read as a number, too");

static void print_families(FILE *out, const struct metrics *metrics)
{
    for (size_t f = 0; f < sizeof(stats_families) / sizeof(stats_families[0]); f++) {
        const struct family *family = &stats_families[f];

        begin(out, family->name, family->type, family->help);
        for (size_t i = 0; i < metrics->stats_count; i++) {
            int64_t value = 0;

            memcpy(&value, (const char *)&metrics->stats[i] + family->offset, sizeof(value));
            begin_sample(out, family->name, metrics->stats[i].name);
            (void)fprintf(out, "} %.15g\n", (double)value / family->scale);
        }
    }
}

/* ---- vCPUs and further counters ---- */

static void begin_vcpu(FILE *out, const char *name, const struct msg_guest_stats *stats,
                       int64_t vcpu)
{
    char number[24];

    (void)snprintf(number, sizeof(number), "%" PRId64, vcpu);
    begin_sample(out, name, stats->name);
    label(out, "vcpu", number);
}

static void print_vcpu_time(FILE *out, const struct metrics *metrics)
{
    static const char name[] = "qvm_guest_vcpu_cpu_seconds_total";

    begin(out, name, "counter", "CPU time of one vCPU's thread.");
    for (size_t i = 0; i < metrics->stats_count; i++) {
        const struct msg_guest_stats *stats = &metrics->stats[i];

        for (size_t v = 0; v < stats->vcpus_count; v++) {
            begin_vcpu(out, name, stats, stats->vcpus[v].vcpu);
            (void)fprintf(out, "} %.15g\n", (double)stats->vcpus[v].cpu_ns / NS_A_SECOND);
        }
    }
}

static void print_exits(FILE *out, const struct metrics *metrics)
{
    static const char name[] = "qvm_guest_vcpu_exits_total";

    begin(out, name, "counter", "How often a vCPU came back to its qvm, by reason.");
    for (size_t i = 0; i < metrics->stats_count; i++) {
        const struct msg_guest_stats *stats = &metrics->stats[i];

        for (size_t v = 0; v < stats->vcpus_count; v++) {
            const struct msg_vcpu_stats *vcpu = &stats->vcpus[v];

            for (size_t k = 0; k < vcpu->by_reason_count; k++) {
                begin_vcpu(out, name, stats, vcpu->vcpu);
                label(out, "reason", vcpu->by_reason[k].name);
                (void)fprintf(out, "} %" PRId64 "\n", vcpu->by_reason[k].value);
            }
        }
    }
}

static bool is_time(const char *name)
{
    size_t length = strlen(name);

    return length > 3 && strcmp(name + length - 3, "_ns") == 0;
}

/* KVM's own figures: events, and times in seconds. */
static void print_kvm(FILE *out, const struct metrics *metrics, bool of_time)
{
    const char *name = of_time ? "qvm_guest_vcpu_kvm_seconds_total" : "qvm_guest_vcpu_kvm_total";

    begin(out, name, "counter",
          of_time ? "Times that KVM counts of a vCPU." : "Events that KVM counts of a vCPU.");
    for (size_t i = 0; i < metrics->stats_count; i++) {
        const struct msg_guest_stats *stats = &metrics->stats[i];

        for (size_t v = 0; v < stats->vcpus_count; v++) {
            const struct msg_vcpu_stats *vcpu = &stats->vcpus[v];

            for (size_t k = 0; k < vcpu->kvm_count; k++) {
                if (is_time(vcpu->kvm[k].name) == of_time) {
                    begin_vcpu(out, name, stats, vcpu->vcpu);
                    label(out, "event", vcpu->kvm[k].name);
                    (void)fprintf(out, "} %.15g\n",
                                  (double)vcpu->kvm[k].value / (of_time ? NS_A_SECOND : 1));
                }
            }
        }
    }
}

static void print_counters(FILE *out, const struct metrics *metrics)
{
    static const char name[] = "qvm_guest_counter_total";

    begin(out, name, "counter", "Further counters of the machine and of devices.");
    for (size_t i = 0; i < metrics->stats_count; i++) {
        const struct msg_guest_stats *stats = &metrics->stats[i];

        for (size_t k = 0; k < stats->counters_count; k++) {
            begin_sample(out, name, stats->name);
            label(out, "counter", stats->counters[k].name);
            (void)fprintf(out, "} %" PRId64 "\n", stats->counters[k].value);
        }
    }
}

/* ---- guests and the host ---- */

static void print_guests(FILE *out, const struct metrics *metrics)
{
    int64_t states[STATE_COUNT] = {0};

    begin(out, "qvm_guest_state", "gauge", "1 for the state in which the guest is.");
    for (size_t i = 0; i < metrics->guest_count; i++) {
        const struct msg_guest *guest = &metrics->guests[i];

        states[guest->state]++;
        begin_sample(out, "qvm_guest_state", guest->name);
        label(out, "state", words_name(&words_state, guest->state));
        (void)fputs("} 1\n", out);
    }
    begin(out, "qvm_guest_restarts_total", "counter",
          "Instances started by policy since somebody started the guest.");
    for (size_t i = 0; i < metrics->guest_count; i++) {
        begin_sample(out, "qvm_guest_restarts_total", metrics->guests[i].name);
        (void)fprintf(out, "} %" PRId64 "\n", metrics->guests[i].restarts);
    }
    begin(out, "qvm_guests", "gauge", "Guests by their state.");
    for (int state = 0; state < STATE_COUNT; state++) {
        (void)fprintf(out, "qvm_guests{state=\"%s\"} %" PRId64 "\n",
                      words_name(&words_state, state), states[state]);
    }
}

static void print_pools(FILE *out, const struct metrics *metrics)
{
    static const struct {
        const char *name, *help;
        int kind;
        size_t offset;
    } families[] = {
        {"qvm_pool_memory_bytes", "Memory that guests may have.", RESOURCE_memory,
         offsetof(struct msg_pool, total)},
        {"qvm_pool_memory_claimed_bytes", "Memory that guests have.", RESOURCE_memory,
         offsetof(struct msg_pool, claimed)},
        {"qvm_pool_vcpus", "vCPUs that guests may have.", RESOURCE_cpu,
         offsetof(struct msg_pool, total)},
        {"qvm_pool_vcpus_claimed", "vCPUs that guests have.", RESOURCE_cpu,
         offsetof(struct msg_pool, claimed)},
    };

    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
        begin(out, families[f].name, "gauge", families[f].help);
        for (size_t i = 0; i < metrics->pool_count; i++) {
            int64_t value = 0;

            if (metrics->pools[i].kind == families[f].kind) {
                memcpy(&value, (const char *)&metrics->pools[i] + families[f].offset,
                       sizeof(value));
                (void)fprintf(out, "%s{pool=", families[f].name);
                metrics_print_label(out, metrics->pools[i].id);
                (void)fprintf(out, "} %" PRId64 "\n", value);
            }
        }
    }
}

char *metrics_format(const struct metrics *metrics)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL) {
        return NULL;
    }
    begin(out, "qvm_build_info", "gauge", "The version of qvmd.");
    (void)fputs("qvm_build_info{version=", out);
    metrics_print_label(out, metrics->version);
    (void)fputs("} 1\n", out);
    one(out, "qvm_store_degraded", "gauge", "1 when the store cannot be written.",
        metrics->is_degraded);
    one(out, "qvm_events_total", "counter", "Number of the newest event.",
        (double)metrics->last_event);
    one(out, "process_cpu_seconds_total", "counter", "CPU time of qvmd.",
        (double)metrics->own_cpu_ns / NS_A_SECOND);
    one(out, "process_resident_memory_bytes", "gauge", "Resident memory of qvmd.",
        (double)metrics->own_memory);
    print_pools(out, metrics);
    print_guests(out, metrics);
    print_families(out, metrics);
    print_vcpu_time(out, metrics);
    print_exits(out, metrics);
    print_kvm(out, metrics, false);
    print_kvm(out, metrics, true);
    print_counters(out, metrics);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
