/* The CPUs of this machine and their caches, and its NUMA nodes with memory and huge pages, as
 * sysfs(5) tells. `root` stands before "/sys": "" on the machine itself, a prepared tree in tests.
 * What is not told there is -1, 0 or empty. */
#ifndef QVM_DAEMON_HOST_TOPOLOGY_H
#define QVM_DAEMON_HOST_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/cpu_list.h"

struct err;

#define TOPOLOGY_NODES_MAX  64u /* node numbers are below */
#define TOPOLOGY_HUGE_MAX   8u  /* sizes of huge pages */
#define TOPOLOGY_CACHES_MAX (4u * CPU_LIST_MAX)
#define TOPOLOGY_TEXT_SIZE  256u
#define TOPOLOGY_MODEL_SIZE 128u

struct topology_cpu {
    int cpu;
    int node, package,
        core; /* numbers as the kernel gives them; cores count anew in each package */
    bool is_online;
    bool is_isolated; /* the scheduler puts nothing there by itself (isolcpus=) */
    bool is_tickless; /* the kernel keeps its timer away (nohz_full=) */
};

struct topology_cache {
    int level;
    const char *type; /* data, instructions or both */
    int64_t size;
    cpu_set_t cpus; /* that share it */
};

struct topology {
    char model[TOPOLOGY_MODEL_SIZE];        /* as the CPUs call themselves */
    struct topology_cpu cpus[CPU_LIST_MAX]; /* those that may ever be online, by number */
    size_t cpu_count;
    struct topology_cache *caches; /* by level; owned */
    size_t cache_count;
};

int topology_read(const char *root, struct topology *topology, struct err *err);
void topology_fini(struct topology *topology);

/* What is said of CPU number `cpu`, or NULL. */
const struct topology_cpu *topology_cpu(const struct topology *topology, int cpu);

/* Pages of one size. */
struct topology_huge {
    int64_t size;        /* bytes of a page */
    int64_t total, free; /* pages */
    int64_t reserved;    /* of the free ones, promised to mappings; known of the machine alone */
};

struct topology_node {
    int node;
    cpu_set_t cpus;
    int64_t memory, free;               /* bytes */
    char distances[TOPOLOGY_TEXT_SIZE]; /* to each node, as the firmware says; 10 is near */
    struct topology_huge huge[TOPOLOGY_HUGE_MAX]; /* by size */
    size_t huge_count;
};

struct topology_memory {
    struct topology_node nodes[TOPOLOGY_NODES_MAX];
    size_t node_count;                            /* a machine that tells of none is one */
    struct topology_huge huge[TOPOLOGY_HUGE_MAX]; /* of all nodes */
    size_t huge_count;
    int64_t total, free; /* bytes of all nodes */
};

/* As it is now. */
int topology_read_memory(const char *root, struct topology_memory *memory, struct err *err);

#endif
