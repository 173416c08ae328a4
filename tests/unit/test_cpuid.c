/* What a vCPU says of itself, from a host's leaves that are made up here. */
#include "qvm-worker/vm/cpuid.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

#define BIT(n) (1u << (n))

static struct kvm_cpuid2 *base;
static struct kvm_cpuid2 *table;
static uint32_t cores, threads; /* 0: as usual */

static void add(uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx,
                uint32_t edx)
{
    base->entries[base->nent++] = (struct kvm_cpuid_entry2){
        .function = function, .index = index, .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx};
}

static void set_up(uint32_t invpcid)
{
    base = calloc(1, sizeof(*base) + 64 * sizeof(base->entries[0]));
    ck_assert_ptr_nonnull(base);
    add(0, 0, 0x1f, 0, 0, 0);
    add(1, 0, 0, 0xff1234, BIT(5) | BIT(15) | BIT(17) | BIT(21), 0);
    add(4, 0, 0xfc000121, 0, 0, 0); /* 64 cores, a cache of level 1 */
    add(4, 3, 0x7c3fc163, 0, 0, 0); /* level 3, shared by 256 */
    add(4, 4, 0, 0, 0, 0);
    add(7, 0, 0, invpcid, 0, 0);
    add(0xa, 0, 0x07300403, 0, 0, 0);
    add(0xb, 0, 1, 2, 0x100, 99);
    add(0x1f, 0, 1, 2, 0x100, 99);
    add(0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
    add(0x40000001, 0, 0x1, 0, 0, 0);
    add(0x80000001, 0, 0, 0, BIT(0) | BIT(2) | BIT(23), 0);
    add(0x80000008, 0, 0x3028, 0, 0x703f, 0);
    add(0x8000000a, 0, 1, 0, 0, 0);
    add(0x8000001e, 0, 99, 0x1ff, 0x300, 0);
}

static const struct kvm_cpuid_entry2 *find(uint32_t function, uint32_t index)
{
    for (uint32_t i = 0; i < table->nent; i++) {
        if (table->entries[i].function == function && table->entries[i].index == index) {
            return &table->entries[i];
        }
    }
    return NULL;
}

static bool shows_qnx;

static void make(uint32_t cpu_count, uint32_t apic_id, uint32_t tsc_khz)
{
    const struct cpuid_topology topology = {
        {cpu_count, cores, threads}, apic_id, tsc_khz, shows_qnx};

    free(table);
    table = cpuid_copy(base);
    ck_assert_ptr_nonnull(table);
    cpuid_for_vcpu(table, &topology);
    ck_assert_uint_le(table->nent, base->nent + CPUID_EXTRA_LEAVES);
}

static void tear_down(void)
{
    free(table);
    free(base);
    table = base = NULL;
}

START_TEST(hypervisor_and_deadline_timer_are_told)
{
    set_up(BIT(10));
    make(1, 0, 0);
    ck_assert_uint_eq(find(1, 0)->ecx, BIT(17) | BIT(21) | BIT(24) | BIT(31));
    tear_down();
}
END_TEST

START_TEST(one_cpu_is_no_package_of_many)
{
    set_up(0);
    make(1, 0, 0);
    ck_assert_uint_eq(find(1, 0)->edx & BIT(28), 0);
    ck_assert_uint_eq(find(1, 0)->ebx, 0x00011234);
    ck_assert_uint_eq(find(4, 0)->eax >> 26, 0);
    ck_assert_uint_eq(find(4, 3)->eax >> 14, 0);
    ck_assert_uint_eq(find(0xb, 1)->eax, 0);
    ck_assert_uint_eq(find(0x80000008, 0)->ecx, 0);
    tear_down();
}
END_TEST

START_TEST(each_of_three_cpus_has_its_id_everywhere)
{
    set_up(0);
    for (uint32_t id = 0; id < 3; id++) {
        make(3, id, 0);
        ck_assert_uint_eq(find(1, 0)->ebx, id << 24 | 4 << 16 | 0x1234);
        ck_assert_uint_eq(find(1, 0)->edx & BIT(28), BIT(28));
        ck_assert_uint_eq(find(4, 0)->eax, 3u << 26 | 0x121); /* level 1 is a core's own */
        ck_assert_uint_eq(find(4, 3)->eax, 3u << 26 | 3u << 14 | 0x163);
        ck_assert_uint_eq(find(4, 4)->eax, 0); /* no cache stays none */
        for (uint32_t level = 0; level < 3; level++) {
            ck_assert_uint_eq(find(0xb, level)->edx, id);
            ck_assert_uint_eq(find(0xb, level)->flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
        }
        ck_assert_uint_eq(find(0xb, 0)->ebx, 1);
        ck_assert_uint_eq(find(0xb, 0)->ecx, 0x100);
        ck_assert_uint_eq(find(0xb, 1)->eax, 2);
        ck_assert_uint_eq(find(0xb, 1)->ebx, 3);
        ck_assert_uint_eq(find(0xb, 1)->ecx, 0x201);
        ck_assert_uint_eq(find(0xb, 2)->ebx, 0);
        ck_assert_uint_eq(find(0xb, 2)->ecx, 2);
        ck_assert_uint_eq(find(0x80000008, 0)->ecx, 0x2002);
        ck_assert_uint_eq(find(0x8000001e, 0)->eax, id);
        ck_assert_uint_eq(find(0x8000001e, 0)->ebx, id);
        ck_assert_uint_eq(find(0x8000001e, 0)->ecx, 0);
        ck_assert_uint_eq(find(0x80000001, 0)->ecx, BIT(0) | BIT(1));
    }
    tear_down();
}
END_TEST

START_TEST(cores_of_two_packages_have_their_threads_everywhere)
{
    set_up(0);
    cores = 3;
    threads = 2;
    make(12, 0xb, 0); /* the second package's second core's second thread */
    ck_assert_uint_eq(find(1, 0)->ebx, 0xbu << 24 | 8 << 16 | 0x1234);
    ck_assert_uint_eq(find(4, 0)->eax, 3u << 26 | 1u << 14 | 0x121); /* level 1 is a core's */
    ck_assert_uint_eq(find(4, 3)->eax, 3u << 26 | 7u << 14 | 0x163);
    ck_assert_uint_eq(find(0xb, 0)->eax, 1);
    ck_assert_uint_eq(find(0xb, 0)->ebx, 2);
    ck_assert_uint_eq(find(0xb, 1)->eax, 3);
    ck_assert_uint_eq(find(0xb, 1)->ebx, 6);
    ck_assert_uint_eq(find(0xb, 2)->edx, 0xb);
    ck_assert_uint_eq(find(0x80000008, 0)->ecx, 0x3005);
    ck_assert_uint_eq(find(0x8000001e, 0)->eax, 0xb);
    ck_assert_uint_eq(find(0x8000001e, 0)->ebx, 0x101);
    ck_assert_uint_eq(find(0x8000001e, 0)->ecx, 1);
    cores = threads = 0;
    tear_down();
}
END_TEST

START_TEST(threads_are_told_on_a_host_of_amds_that_has_none)
{
    set_up(0);
    base->nent--; /* 0x8000001E */
    base->entries[0] =
        (struct kvm_cpuid_entry2){0, 0, 0, 0xd, 0x68747541, 0x444d4163, 0x69746e65, {0}};
    add(0x80000000, 0, 0x8000001a, 0, 0, 0);
    make(2, 1, 0);
    ck_assert_ptr_null(find(0x8000001e, 0));
    ck_assert_uint_eq(find(0x80000001, 0)->ecx & BIT(22), 0);
    threads = 2;
    make(2, 1, 0);
    ck_assert_uint_eq(find(0x8000001e, 0)->eax, 1);
    ck_assert_uint_eq(find(0x8000001e, 0)->ebx, 0x100);
    ck_assert_uint_eq(find(0x80000001, 0)->ecx & BIT(22), BIT(22));
    ck_assert_uint_eq(find(0x80000000, 0)->eax, 0x8000001e);
    base->entries[0].ebx = 0x756e6547; /* another maker's */
    make(2, 1, 0);
    ck_assert_ptr_null(find(0x8000001e, 0));
    threads = 0;
    tear_down();
}
END_TEST

START_TEST(ids_have_gaps_where_a_level_is_no_power_of_two)
{
    static const uint32_t ids[] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13};
    const struct topology topology = {12, 3, 2}, usual = {12, 0, 0};

    ck_assert_int_eq(topology_check(&topology, NULL), 0);
    ck_assert_uint_eq(topology_packages(&topology), 2);
    ck_assert_uint_eq(topology_packages(&usual), 1);
    for (uint32_t i = 0; i < ARRAY_LEN(ids); i++) {
        ck_assert_uint_eq(topology_apic_id(&topology, i), ids[i]);
        ck_assert_uint_eq(topology_apic_id(&usual, i), i);
    }
}
END_TEST

START_TEST(cpus_that_do_not_fill_their_packages_are_refused)
{
    const struct topology half_a_core = {3, 0, 2}, half_a_package = {6, 4, 1};
    struct err err = {0};

    ck_assert_int_eq(topology_check(&half_a_core, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "3 CPUs are no whole number of cores of 2 threads");
    ck_assert_int_eq(topology_check(&half_a_package, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "6 CPUs are no whole number of packages of 4 cores with 1 thread");
}
END_TEST

START_TEST(counters_and_nested_virtualization_are_not_told)
{
    set_up(0);
    make(2, 1, 0);
    ck_assert_ptr_null(find(0xa, 0));
    ck_assert_ptr_null(find(0x1f, 0));
    ck_assert_ptr_null(find(0x8000000a, 0));
    ck_assert_uint_eq(find(1, 0)->ecx & (BIT(5) | BIT(15)), 0);
    tear_down();
}
END_TEST

START_TEST(pcid_comes_with_invpcid_alone)
{
    set_up(0);
    make(1, 0, 0);
    ck_assert_uint_eq(find(1, 0)->ecx & BIT(17), 0);
    tear_down();
}
END_TEST

START_TEST(frequencies_are_told_when_they_are_known)
{
    set_up(0);
    make(1, 0, 2596128);
    ck_assert_uint_eq(find(0x40000000, 0)->eax, 0x40000010);
    ck_assert_uint_eq(find(0x40000010, 0)->eax, 2596128);
    ck_assert_uint_eq(find(0x40000010, 0)->ebx, 1000000);
    make(1, 0, 0);
    ck_assert_uint_eq(find(0x40000000, 0)->eax, 0x40000001);
    ck_assert_ptr_null(find(0x40000010, 0));
    tear_down();
}
END_TEST

START_TEST(ids_of_255_cpus_fit)
{
    set_up(0);
    make(255, 254, 0);
    ck_assert_uint_eq(find(1, 0)->ebx >> 16, 254u << 8 | 255);
    ck_assert_uint_eq(find(4, 0)->eax >> 26, 63);
    ck_assert_uint_eq(find(4, 3)->eax >> 14 & 0xfff, 255);
    ck_assert_uint_eq(find(0xb, 1)->eax, 8);
    tear_down();
}
END_TEST

START_TEST(old_host_without_topology_leaf_gets_none)
{
    set_up(0);
    base->entries[0].eax = 7;
    make(2, 1, 0);
    ck_assert_ptr_null(find(0xb, 0));
    tear_down();
}
END_TEST

START_TEST(another_name_stands_before_those_of_kvm)
{
    set_up(0);
    shows_qnx = true;
    make(1, 0, 0);
    ck_assert_uint_eq(find(0x40000000, 0)->eax, 0x40000000);
    ck_assert_mem_eq(&find(0x40000000, 0)->ebx, "QNXQVMBSQG\0", 12);
    ck_assert_uint_eq(find(0x40000100, 0)->eax, 0x40000101);
    ck_assert_mem_eq(&find(0x40000100, 0)->ebx, "KVMKVMKVM\0\0", 12);
    ck_assert_ptr_nonnull(find(0x40000101, 0));
    ck_assert_ptr_null(find(0x40000001, 0));
    make(1, 0, 2000000);
    ck_assert_uint_eq(find(0x40000000, 0)->eax, 0x40000010);
    ck_assert_uint_eq(find(0x40000010, 0)->eax, 2000000);
    ck_assert_uint_eq(find(0x40000100, 0)->eax, 0x40000101);
    shows_qnx = false;
    tear_down();
}
END_TEST

UNIT_MAIN("cpuid", another_name_stands_before_those_of_kvm, hypervisor_and_deadline_timer_are_told,
          one_cpu_is_no_package_of_many, each_of_three_cpus_has_its_id_everywhere,
          cores_of_two_packages_have_their_threads_everywhere,
          threads_are_told_on_a_host_of_amds_that_has_none,
          ids_have_gaps_where_a_level_is_no_power_of_two,
          cpus_that_do_not_fill_their_packages_are_refused,
          counters_and_nested_virtualization_are_not_told, pcid_comes_with_invpcid_alone,
          frequencies_are_told_when_they_are_known, ids_of_255_cpus_fit,
          old_host_without_topology_leaf_gets_none)
