/* What a vCPU says of itself. */
#include "qvm-worker/cpuid.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define LEAVES_FIRST 128u
#define LEAVES_MAX   4096u

#define BIT(n) (1u << (n))

#define LEAF_FEATURES      0x1u
#define LEAF_CACHES        0x4u
#define LEAF_STRUCTURED    0x7u
#define LEAF_COUNTERS      0xau
#define LEAF_TOPOLOGY      0xbu
#define LEAF_TOPOLOGY_V2   0x1fu
#define LEAF_HYPERVISOR    0x40000000u
#define LEAF_FREQUENCIES   0x40000010u
#define LEAF_AMD_FEATURES  0x80000001u
#define LEAF_AMD_SIZES     0x80000008u
#define LEAF_AMD_SVM       0x8000000au
#define LEAF_AMD_CACHES    0x8000001du
#define LEAF_AMD_CORE      0x8000001eu
#define LEAF_AMD_COUNTERS  0x80000022u
#define CACHE_LEVEL_SHARED 3u /* what all cores of a package share */

#define APIC_BUS_KHZ 1000000u /* KVM's LAPIC timer counts nanoseconds */

static struct kvm_cpuid2 *make_table(uint32_t room)
{
    struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + room * sizeof(table->entries[0]));

    if (table != NULL) {
        table->nent = room;
    }
    return table;
}

/* Ask with room for so many leaves; -E2BIG: there are more. */
static int ask(int kvm_fd, uint32_t room, struct kvm_cpuid2 **table)
{
    auto_free struct kvm_cpuid2 *new = make_table(room);

    if (new == NULL) {
        return -ENOMEM;
    }
    if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, new) != 0) {
        return -errno;
    }
    *table = take_ptr(new);
    return 0;
}

int cpuid_create(int kvm_fd, struct kvm_cpuid2 **table, struct err *err)
{
    int r = -E2BIG;

    for (uint32_t room = LEAVES_FIRST; r == -E2BIG && room <= LEAVES_MAX; room *= 2) {
        r = ask(kvm_fd, room, table);
    }
    return r == 0 ? 0 : err_sys(err, r, "KVM does not tell its CPUID");
}

struct kvm_cpuid2 *cpuid_copy(const struct kvm_cpuid2 *base)
{
    struct kvm_cpuid2 *copy = make_table(base->nent + CPUID_EXTRA_LEAVES);

    if (copy != NULL) {
        memcpy(copy->entries, base->entries, base->nent * sizeof(base->entries[0]));
        copy->nent = base->nent;
    }
    return copy;
}

/* Bits that number `count` things: 0 for one, 1 for two, 2 for three and four. */
static uint32_t bits_for(uint32_t count)
{
    uint32_t bits = 0;

    while (bits < 31 && BIT(bits) < count) {
        bits++;
    }
    return bits;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void remove_leaf(struct kvm_cpuid2 *table, uint32_t function)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < table->nent; i++) {
        if (table->entries[i].function != function) {
            table->entries[kept++] = table->entries[i];
        }
    }
    table->nent = kept;
}

static void add_leaf(struct kvm_cpuid2 *table, struct kvm_cpuid_entry2 entry)
{
    table->entries[table->nent++] = entry; /* at most CPUID_EXTRA_LEAVES times */
}

static uint32_t highest_leaf(const struct kvm_cpuid2 *table, uint32_t base)
{
    for (uint32_t i = 0; i < table->nent; i++) {
        if (table->entries[i].function == base) {
            return table->entries[i].eax;
        }
    }
    return 0;
}

static bool has_invpcid(const struct kvm_cpuid2 *table)
{
    for (uint32_t i = 0; i < table->nent; i++) {
        const struct kvm_cpuid_entry2 *entry = &table->entries[i];

        if (entry->function == LEAF_STRUCTURED && entry->index == 0) {
            return (entry->ebx & BIT(10)) != 0;
        }
    }
    return false;
}

static void set_features(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology,
                         bool with_pcid)
{
    uint32_t ids = min_u32(BIT(bits_for(topology->cpu_count)), 255);

    entry->ebx = (entry->ebx & 0xffff) | ids << 16 | (topology->apic_id & 0xff) << 24;
    entry->ecx &= ~(BIT(5) | BIT(15)); /* VMX, the performance capabilities MSR */
    entry->ecx |= BIT(24) | BIT(31);   /* TSC deadline timer, a hypervisor is present */
    if (!with_pcid) {
        entry->ecx &= ~BIT(17);
    }
    entry->edx = topology->cpu_count > 1 ? entry->edx | BIT(28) : entry->edx & ~BIT(28);
}

/* Leaf 4 and its AMD twin: EAX[25:14] how many APIC ids share this cache. */
static void set_cache_sharing(struct kvm_cpuid_entry2 *entry, uint32_t ids)
{
    uint32_t level = (entry->eax >> 5) & 7;
    uint32_t sharing = level >= CACHE_LEVEL_SHARED ? ids : 1;

    if ((entry->eax & 0x1f) != 0) { /* there is such a cache */
        entry->eax = (entry->eax & ~0x03ffc000u) | (sharing - 1) << 14;
    }
}

static void set_entry(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology,
                      bool with_pcid)
{
    uint32_t bits = bits_for(topology->cpu_count);

    switch (entry->function) {
    case LEAF_FEATURES:
        set_features(entry, topology, with_pcid);
        break;
    case LEAF_CACHES:
        set_cache_sharing(entry, BIT(bits));
        if ((entry->eax & 0x1f) != 0) {
            entry->eax = (entry->eax & 0x03ffffffu) | min_u32(BIT(bits) - 1, 63) << 26;
        }
        break;
    case LEAF_AMD_FEATURES:
        entry->ecx &= ~(BIT(2) | BIT(23) | BIT(24) | BIT(28)); /* SVM, performance counters */
        entry->ecx = topology->cpu_count > 1 ? entry->ecx | BIT(1) : entry->ecx & ~BIT(1);
        break;
    case LEAF_AMD_SIZES:
        entry->ecx = (entry->ecx & ~0xffffu) | bits << 12 | min_u32(topology->cpu_count - 1, 255);
        break;
    case LEAF_AMD_CACHES:
        set_cache_sharing(entry, BIT(bits));
        break;
    case LEAF_AMD_CORE:
        entry->eax = topology->apic_id;
        entry->ebx = topology->apic_id & 0xff; /* one thread a core */
        entry->ecx = 0;                        /* one node */
        break;
    case LEAF_HYPERVISOR:
        if (topology->tsc_khz != 0 && entry->eax < LEAF_FREQUENCIES) {
            entry->eax = LEAF_FREQUENCIES;
        }
        break;
    default:
        break;
    }
}

/* Leaf 0xB: threads of a core, cores of the package, end of the list. */
static void add_topology(struct kvm_cpuid2 *table, const struct cpuid_topology *topology)
{
    for (uint32_t level = 0; level < 3; level++) {
        struct kvm_cpuid_entry2 entry = {.function = LEAF_TOPOLOGY,
                                         .index = level,
                                         .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                                         .ecx = level,
                                         .edx = topology->apic_id};

        if (level == 0) {
            entry.ebx = 1;
            entry.ecx |= 1 << 8; /* a level of threads */
        } else if (level == 1) {
            entry.eax = bits_for(topology->cpu_count);
            entry.ebx = topology->cpu_count;
            entry.ecx |= 2 << 8; /* a level of cores */
        }
        add_leaf(table, entry);
    }
}

void cpuid_for_vcpu(struct kvm_cpuid2 *table, const struct cpuid_topology *topology)
{
    bool with_pcid = has_invpcid(table);
    uint32_t basic_max = highest_leaf(table, 0);

    remove_leaf(table, LEAF_COUNTERS);
    remove_leaf(table, LEAF_TOPOLOGY);
    remove_leaf(table, LEAF_TOPOLOGY_V2); /* a missing one reads 0: see leaf 0xB */
    remove_leaf(table, LEAF_FREQUENCIES);
    remove_leaf(table, LEAF_AMD_SVM);
    remove_leaf(table, LEAF_AMD_COUNTERS);
    for (uint32_t i = 0; i < table->nent; i++) {
        set_entry(&table->entries[i], topology, with_pcid);
    }
    if (basic_max >= LEAF_TOPOLOGY) {
        add_topology(table, topology);
    }
    if (topology->tsc_khz != 0 && highest_leaf(table, LEAF_HYPERVISOR) >= LEAF_FREQUENCIES) {
        add_leaf(table, (struct kvm_cpuid_entry2){.function = LEAF_FREQUENCIES,
                                                  .eax = topology->tsc_khz,
                                                  .ebx = APIC_BUS_KHZ});
    }
}
