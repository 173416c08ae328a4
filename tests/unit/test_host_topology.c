/* CPUs, caches, nodes and huge pages of a prepared machine. */
#include "daemon/host/topology.h"

#include <errno.h>

#include "proto/base/err.h"
#include "tests/unit/tree_unit.h"
#include "tests/unit/unit.h"

#define CPU  "/sys/devices/system/cpu"
#define NODE "/sys/devices/system/node"

/* Two nodes of two CPUs each, the second of one core; CPU 4 is off. */
static const struct tree_entry machine[] = {
    {CPU "/present", "0-4\n", NULL},
    {CPU "/online", "0-3\n", NULL},
    {CPU "/isolated", "2-3\n", NULL},
    {CPU "/nohz_full", "3\n", NULL},
    {CPU "/cpu0/topology/physical_package_id", "0\n", NULL},
    {CPU "/cpu0/topology/core_id", "0\n", NULL},
    {CPU "/cpu1/topology/physical_package_id", "0\n", NULL},
    {CPU "/cpu1/topology/core_id", "1\n", NULL},
    {CPU "/cpu2/topology/physical_package_id", "1\n", NULL},
    {CPU "/cpu2/topology/core_id", "0\n", NULL},
    {CPU "/cpu3/topology/physical_package_id", "1\n", NULL},
    {CPU "/cpu3/topology/core_id", "0\n", NULL},
    {CPU "/cpu0/cache/index0/level", "1\n", NULL},
    {CPU "/cpu0/cache/index0/type", "Data\n", NULL},
    {CPU "/cpu0/cache/index0/size", "48K\n", NULL},
    {CPU "/cpu0/cache/index0/shared_cpu_list", "0\n", NULL},
    {CPU "/cpu2/cache/index0/level", "3\n", NULL},
    {CPU "/cpu2/cache/index0/type", "Unified\n", NULL},
    {CPU "/cpu2/cache/index0/size", "2M\n", NULL},
    {CPU "/cpu2/cache/index0/shared_cpu_list", "2-3\n", NULL},
    {CPU "/cpu2/cache/index1/level", "1\n", NULL},
    {CPU "/cpu2/cache/index1/type", "Instruction\n", NULL},
    {CPU "/cpu2/cache/index1/size", "32K\n", NULL},
    {CPU "/cpu2/cache/index1/shared_cpu_list", "2-3\n", NULL},
    {CPU "/cpu3/cache/index0/level", "3\n", NULL},
    {CPU "/cpu3/cache/index0/shared_cpu_list", "2-3\n", NULL},
    {NODE "/node0/cpulist", "0-1\n", NULL},
    {NODE "/node0/distance", "10 21\n", NULL},
    {NODE "/node0/meminfo", "Node 0 MemTotal:  1024 kB\nNode 0 MemFree:  512 kB\n", NULL},
    {NODE "/node0/hugepages/hugepages-2048kB/nr_hugepages", "8\n", NULL},
    {NODE "/node0/hugepages/hugepages-2048kB/free_hugepages", "3\n", NULL},
    {NODE "/node0/hugepages/hugepages-1048576kB/nr_hugepages", "1\n", NULL},
    {NODE "/node2/cpulist", "2-3\n", NULL},
    {NODE "/node2/meminfo", "Node 2 MemTotal:  many kB\n", NULL},
    {NODE "/possible", "0,2\n", NULL},
    {"/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "1\n", NULL},
    {"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n", NULL},
    {"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "3\n", NULL},
    {"/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "2\n", NULL},
    {"/sys/kernel/mm/hugepages/hugepages-x/nr_hugepages", "8\n", NULL},
    {"/proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\x01\nprocessor\t: 1\n", NULL},
    {"/proc/meminfo", "MemTotal:  4096 kB\nMemFree:  1024 kB\n", NULL},
};

static struct topology topology;
static struct topology_memory memory;

static void teardown(void)
{
    topology_fini(&topology);
    tree_remove();
}

START_TEST(each_cpu_has_its_place)
{
    static const struct topology_cpu cpus[] = {
        {0, 0, 0, 0, true, false, false},     {1, 0, 0, 1, true, false, false},
        {2, 2, 1, 0, true, true, false},      {3, 2, 1, 0, true, true, true},
        {4, -1, -1, -1, false, false, false},
    };

    tree_add(machine, ARRAY_LEN(machine));
    ck_assert_int_eq(topology_read(tree_root, &topology, NULL), 0);
    ck_assert_uint_eq(topology.cpu_count, ARRAY_LEN(cpus));
    ck_assert_str_eq(topology.model, "Some CPU?");
    for (size_t i = 0; i < ARRAY_LEN(cpus); i++) {
        const struct topology_cpu *is = topology_cpu(&topology, (int)i), *should = &cpus[i];

        ck_assert_int_eq(is->cpu, should->cpu);
        ck_assert_int_eq(is->node, should->node);
        ck_assert_int_eq(is->package, should->package);
        ck_assert_int_eq(is->core, should->core);
        ck_assert(is->is_online == should->is_online);
        ck_assert(is->is_isolated == should->is_isolated);
        ck_assert(is->is_tickless == should->is_tickless);
    }
    ck_assert_ptr_null(topology_cpu(&topology, 5));
}
END_TEST

START_TEST(a_shared_cache_is_told_once)
{
    tree_add(machine, ARRAY_LEN(machine));
    ck_assert_int_eq(topology_read(tree_root, &topology, NULL), 0);
    ck_assert_uint_eq(topology.cache_count, 3);
    ck_assert_int_eq(topology.caches[0].level, 1);
    ck_assert_str_eq(topology.caches[0].type, "data");
    ck_assert_int_eq(topology.caches[0].size, 48 << 10);
    ck_assert_str_eq(topology.caches[1].type, "instructions");
    ck_assert_int_eq(topology.caches[2].level, 3);
    ck_assert_str_eq(topology.caches[2].type, "both");
    ck_assert_int_eq(topology.caches[2].size, 2 << 20);
    ck_assert_int_eq(CPU_COUNT(&topology.caches[2].cpus), 2);
}
END_TEST

START_TEST(a_kernel_that_tells_little_is_no_failure)
{
    tree_bytes(CPU "/present", "0-1\n", 4);
    tree_bytes(CPU "/online", "0\n", 2);
    tree_bytes(CPU "/nohz_full", "(null)\n", 7);
    ck_assert_int_eq(topology_read(tree_root, &topology, NULL), 0);
    ck_assert_uint_eq(topology.cpu_count, 2);
    ck_assert_int_eq(topology.cpus[0].node, -1);
    ck_assert(!topology.cpus[0].is_tickless);
    ck_assert(!topology.cpus[1].is_online);
    ck_assert_uint_eq(topology.cache_count, 0);
}
END_TEST

START_TEST(a_machine_without_sysfs_is_a_failure)
{
    struct err err = {0};

    ck_assert_int_eq(topology_read("/nowhere", &topology, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.msg, "'/nowhere" CPU "'"));
    ck_assert_int_eq(topology_read_memory("/nowhere", &memory, &err), -EIO);
    ck_assert_str_eq(err.msg, "cannot read '/nowhere/proc/meminfo'");
}
END_TEST

START_TEST(each_node_has_its_memory_and_its_huge_pages)
{
    tree_add(machine, ARRAY_LEN(machine));
    ck_assert_int_eq(topology_read_memory(tree_root, &memory, NULL), 0);
    ck_assert_uint_eq(memory.node_count, 2);
    ck_assert_int_eq(memory.nodes[0].node, 0);
    ck_assert_int_eq(memory.nodes[0].memory, 1 << 20);
    ck_assert_int_eq(memory.nodes[0].free, 1 << 19);
    ck_assert_str_eq(memory.nodes[0].distances, "10 21");
    ck_assert_int_eq(CPU_COUNT(&memory.nodes[0].cpus), 2);
    ck_assert_uint_eq(memory.nodes[0].huge_count, 2);
    ck_assert_int_eq(memory.nodes[0].huge[0].size, 2 << 20);
    ck_assert_int_eq(memory.nodes[0].huge[0].total, 8);
    ck_assert_int_eq(memory.nodes[0].huge[0].free, 3);
    ck_assert_int_eq(memory.nodes[0].huge[1].size, 1 << 30);
    ck_assert_int_eq(memory.nodes[1].node, 2);
    ck_assert_int_eq(memory.nodes[1].memory, 0);
    ck_assert_uint_eq(memory.nodes[1].huge_count, 0);
    ck_assert_int_eq(memory.total, 4 << 20); /* no node has what the firmware hides */
    ck_assert_uint_eq(memory.huge_count, 2);
    ck_assert_int_eq(memory.huge[0].reserved, 2);
}
END_TEST

START_TEST(a_kernel_without_nodes_is_one_node)
{
    tree_bytes("/proc/meminfo", "MemTotal:  4096 kB\nMemFree:  1024 kB\n", 38);
    tree_bytes("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n", 2);
    ck_assert_int_eq(topology_read_memory(tree_root, &memory, NULL), 0);
    ck_assert_uint_eq(memory.node_count, 1);
    ck_assert_int_eq(memory.nodes[0].memory, 4 << 20);
    ck_assert_int_eq(memory.nodes[0].free, 1 << 20);
    ck_assert_uint_eq(memory.nodes[0].huge_count, 1);
    ck_assert_int_eq(memory.nodes[0].huge[0].total, 8);
}
END_TEST

START_TEST(this_machine_has_what_it_runs_on)
{
    ck_assert_int_eq(topology_read("", &topology, NULL), 0);
    ck_assert_uint_ge(topology.cpu_count, 1);
    ck_assert_int_eq(topology_read_memory("", &memory, NULL), 0);
    ck_assert_int_gt(memory.nodes[0].memory + memory.nodes[memory.node_count - 1].memory, 0);
}
END_TEST

UNIT_MAIN_WITH("host_topology", tree_make, teardown, each_cpu_has_its_place,
               a_shared_cache_is_told_once, a_kernel_that_tells_little_is_no_failure,
               a_machine_without_sysfs_is_a_failure, each_node_has_its_memory_and_its_huge_pages,
               a_kernel_without_nodes_is_one_node, this_machine_has_what_it_runs_on)
