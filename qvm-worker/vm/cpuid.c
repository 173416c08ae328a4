/* What a vCPU says of itself. */
#include "qvm-worker/vm/cpuid.h"

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
#define HYPERVISOR_LEAVES  0x100u /* a hypervisor has so many; another one's may follow */
#define LEAF_AMD           0x80000000u
#define LEAF_AMD_FEATURES  0x80000001u
#define LEAF_AMD_SIZES     0x80000008u
#define LEAF_AMD_SVM       0x8000000au
#define LEAF_AMD_CACHES    0x8000001du
#define LEAF_AMD_CORE      0x8000001eu
#define LEAF_AMD_COUNTERS  0x80000022u
#define CACHE_LEVEL_SHARED 3u /* what all cores of a package share */

/* "QNXQVMBSQG" */
#define NAME_QNX_EBX 0x51584e51u
#define NAME_QNX_ECX 0x53424d56u
#define NAME_QNX_EDX 0x00004751u

#define VENDOR_AMD_EBX   0x68747541u /* "AuthenticAMD" */
#define VENDOR_AMD_EDX   0x69746e65u
#define VENDOR_AMD_ECX   0x444d4163u
#define AMD_HAS_TOPOLOGY BIT(22)

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

/* Logical processors of a package. */
static uint32_t package_size(const struct topology *cpus)
{
    return topology_cores(cpus) * topology_threads(cpus);
}

/* APIC ids of a package, with those that nobody has. */
static uint32_t package_ids(const struct topology *cpus)
{
    return BIT(topology_package_shift(cpus));
}

static void set_features(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology,
                         bool with_pcid)
{
    uint32_t ids = min_u32(package_ids(&topology->cpus), 255);

    entry->ebx = (entry->ebx & 0xffff) | ids << 16 | (topology->apic_id & 0xff) << 24;
    entry->ecx &= ~(BIT(5) | BIT(15)); /* VMX, the performance capabilities MSR */
    entry->ecx |= BIT(24) | BIT(31);   /* TSC deadline timer, a hypervisor is present */
    if (!with_pcid) {
        entry->ecx &= ~BIT(17);
    }
    entry->edx = package_size(&topology->cpus) > 1 ? entry->edx | BIT(28) : entry->edx & ~BIT(28);
}

/* Leaf 4 and its AMD twin: EAX[25:14] how many APIC ids share this cache: those of a package, or
 * those of a core. */
static void set_cache_sharing(struct kvm_cpuid_entry2 *entry, const struct topology *cpus)
{
    uint32_t level = (entry->eax >> 5) & 7;
    uint32_t sharing =
        level >= CACHE_LEVEL_SHARED ? package_ids(cpus) : BIT(topology_core_shift(cpus));

    if ((entry->eax & 0x1f) != 0) { /* there is such a cache */
        entry->eax = (entry->eax & ~0x03ffc000u) | (sharing - 1) << 14;
    }
}

/* Leaf 4 alone, EAX[31:26]: for how many cores a package has ids. */
static void set_core_ids(struct kvm_cpuid_entry2 *entry, const struct topology *cpus)
{
    uint32_t ids = package_ids(cpus) >> topology_core_shift(cpus);

    if ((entry->eax & 0x1f) != 0) {
        entry->eax = (entry->eax & 0x03ffffffu) | min_u32(ids - 1, 63) << 26;
    }
}

static void set_amd_core(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology)
{
    const struct topology *cpus = &topology->cpus;
    uint32_t in_package = topology->apic_id & (package_ids(cpus) - 1);

    entry->eax = topology->apic_id;
    entry->ebx = (in_package >> topology_core_shift(cpus) & 0xff) | (topology_threads(cpus) - 1)
                                                                        << 8;
    entry->ecx = topology->apic_id >> topology_package_shift(cpus) & 0xff; /* a node a package */
}

static void set_entry(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology,
                      bool with_pcid)
{
    const struct topology *cpus = &topology->cpus;

    switch (entry->function) {
    case LEAF_FEATURES:
        set_features(entry, topology, with_pcid);
        break;
    case LEAF_CACHES:
        set_cache_sharing(entry, cpus);
        set_core_ids(entry, cpus);
        break;
    case LEAF_AMD_FEATURES:
        entry->ecx &= ~(BIT(2) | BIT(23) | BIT(24) | BIT(28)); /* SVM, performance counters */
        entry->ecx = package_size(cpus) > 1 ? entry->ecx | BIT(1) : entry->ecx & ~BIT(1);
        break;
    case LEAF_AMD_SIZES:
        entry->ecx = (entry->ecx & ~0xffffu) | topology_package_shift(cpus) << 12 |
                     min_u32(package_size(cpus) - 1, 255);
        break;
    case LEAF_AMD_CACHES:
        set_cache_sharing(entry, cpus);
        break;
    case LEAF_AMD_CORE:
        set_amd_core(entry, topology);
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

/* Leaf 0xB: threads of a core, logical processors of the package, end of the list. */
static void add_topology(struct kvm_cpuid2 *table, const struct cpuid_topology *topology)
{
    const struct topology *cpus = &topology->cpus;

    for (uint32_t level = 0; level < 3; level++) {
        struct kvm_cpuid_entry2 entry = {.function = LEAF_TOPOLOGY,
                                         .index = level,
                                         .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                                         .ecx = level,
                                         .edx = topology->apic_id};

        if (level == 0) {
            entry.eax = topology_core_shift(cpus);
            entry.ebx = topology_threads(cpus);
            entry.ecx |= 1 << 8; /* a level of threads */
        } else if (level == 1) {
            entry.eax = topology_package_shift(cpus);
            entry.ebx = package_size(cpus);
            entry.ecx |= 2 << 8; /* a level of cores */
        }
        add_leaf(table, entry);
    }
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *table, uint32_t function)
{
    for (uint32_t i = 0; i < table->nent; i++) {
        if (table->entries[i].function == function) {
            return &table->entries[i];
        }
    }
    return NULL;
}

/* On a host of AMD's that does not tell threads, as its leaves of topology are the one place where
 * guests look for them there: AMD APM 3, appendix E.4.2 and E.4.17. */
static void add_amd_core(struct kvm_cpuid2 *table, const struct topology *cpus)
{
    const struct kvm_cpuid_entry2 *first = find(table, 0);
    struct kvm_cpuid_entry2 *last = find(table, LEAF_AMD);
    struct kvm_cpuid_entry2 *features = find(table, LEAF_AMD_FEATURES);
    bool is_amd = first != NULL && first->ebx == VENDOR_AMD_EBX && first->edx == VENDOR_AMD_EDX &&
                  first->ecx == VENDOR_AMD_ECX;

    if (!is_amd || topology_threads(cpus) == 1 || last == NULL || features == NULL) {
        return;
    }
    features->ecx |= AMD_HAS_TOPOLOGY;
    last->eax = last->eax > LEAF_AMD_CORE ? last->eax : LEAF_AMD_CORE;
    if (find(table, LEAF_AMD_CORE) == NULL) {
        add_leaf(table, (struct kvm_cpuid_entry2){.function = LEAF_AMD_CORE});
    }
}

/* KVM's leaves go to the next place where guests look for a hypervisor, as KVM itself does. The
 * frequencies stay: they belong to whoever is first. */
static void show_qnx(struct kvm_cpuid2 *table)
{
    uint32_t last = LEAF_HYPERVISOR + HYPERVISOR_LEAVES;
    struct kvm_cpuid_entry2 *kvm;

    for (uint32_t i = 0; i < table->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &table->entries[i];

        if (entry->function >= LEAF_HYPERVISOR && entry->function != LEAF_FREQUENCIES &&
            entry->function < LEAF_HYPERVISOR + HYPERVISOR_LEAVES) {
            entry->function += HYPERVISOR_LEAVES;
            last = entry->function > last ? entry->function : last;
        }
    }
    kvm = find(table, LEAF_HYPERVISOR + HYPERVISOR_LEAVES);
    if (kvm != NULL) {
        kvm->eax = last;
    }
    add_leaf(table, (struct kvm_cpuid_entry2){.function = LEAF_HYPERVISOR,
                                              .eax = find(table, LEAF_FREQUENCIES) != NULL
                                                         ? LEAF_FREQUENCIES
                                                         : LEAF_HYPERVISOR,
                                              .ebx = NAME_QNX_EBX,
                                              .ecx = NAME_QNX_ECX,
                                              .edx = NAME_QNX_EDX});
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
    add_amd_core(table, &topology->cpus);
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
    if (topology->shows_qnx) {
        show_qnx(table);
    }
}
