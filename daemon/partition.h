/* How the host is divided among guests: `partition`, `cluster`, `housekeeping` and `memory-region`
 * of qvmd.conf.
 *
 * There is always the partition `host`, which is the first: it has what the others leave, and is
 * the one of guests that name none. What is said of a partition is read by config.c; what follows
 * from it on this host is computed by partitions_settle(). Any thread, but one at a time. */
#ifndef QVM_DAEMON_PARTITION_H
#define QVM_DAEMON_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/base/cpu_list.h"

struct err;

#define PARTITIONS_MAX         32u
#define PARTITION_CLUSTERS_MAX 64u
#define PARTITION_REGIONS_MAX  64u
#define PARTITION_USERS_MAX    32u
#define PARTITION_HOST         "host"
#define PARTITION_NO_NODE      UINT64_C(1024)
#define PARTITION_PAGE_SIZE    4096u
#define PARTITION_CPUS_FACTOR  32 /* vCPUs per CPU unless it is said otherwise */
#define PARTITION_WEIGHT       100u
#define PARTITION_WEIGHT_MAX   1000u
#define PARTITION_PRIORITY_MAX 98u /* of vCPUs: the highest is left to qvmd */

struct conf_word;

struct partition {
    const char *name;
    unsigned line; /* of qvmd.conf; 0: it was not declared */

    /* as it was said */
    uint64_t memory;          /* bytes; 0: not said */
    uint64_t vcpus;           /* 0: not said */
    uint64_t weight;          /* PARTITION_WEIGHT: CPU time as any guest */
    uint64_t rt_priority;     /* highest real-time priority of vCPUs; 0: none */
    bool has_deadline;        /* vCPUs may have budgets (SCHED_DEADLINE) */
    uint64_t page_size, node; /* of its memory; PARTITION_NO_NODE: any */
    cpu_set_t said_shared, exclusive;
    bool has_shared;
    uid_t users[PARTITION_USERS_MAX]; /* whose guests may be in it; none: everybody's */
    size_t user_count;

    /* what follows */
    int64_t pool, vcpus_most; /* bytes, vCPUs */
    cpu_set_t shared;

    /* while they are read: where the words stand */
    const struct conf_word *memory_word, *shared_word, *exclusive_word, *page_size_word;
};

struct partition_cluster {
    const char *name;
    cpu_set_t cpus;
};

struct partition_region {
    const char *name;
    uint64_t start, size;
};

struct partitions {
    struct partition list[PARTITIONS_MAX];
    size_t count;
    struct partition_cluster clusters[PARTITION_CLUSTERS_MAX];
    size_t cluster_count;
    struct partition_region regions[PARTITION_REGIONS_MAX];
    size_t region_count;
    cpu_set_t said_housekeeping;
    const struct conf_word *housekeeping_word; /* while it is read */
    bool has_housekeeping;

    /* what follows */
    uint64_t rt_priority;   /* the highest that some partition gives */
    bool divides_cpus;      /* some CPU is not for everybody */
    bool binds_threads;     /* it is so, or was before qvmd.conf was read again */
    cpu_set_t housekeeping; /* of what is not a vCPU */
};

/* What the host has. */
struct topology_memory;
struct partition_host {
    cpu_set_t online;
    int64_t memory;                      /* bytes that guests may have in all, without huge pages */
    int64_t total;                       /* and that there are, without them */
    uint64_t vcpus;                      /* that guests may have in all; 0: not said */
    const struct topology_memory *nodes; /* of its nodes, and its huge pages; NULL: not known */
};

/* Nothing is declared. */
void partitions_init(struct partitions *partitions);

/* What follows on this host. -ENOEXEC with FILE:LINE: it cannot be so there. */
int partitions_settle(struct partitions *partitions, const struct partition_host *host,
                      struct err *err);

/* Its part that concerns memory: partition_memory.c. */
int partitions_settle_memory(struct partitions *partitions, const struct partition_host *host,
                             struct err *err);

/* How many of its huge pages nobody has now, by what the host tells now. */
int64_t partition_free_pages(const struct partition *partition,
                             const struct topology_memory *nodes);

/* NULL: there is none. */
const struct partition *partition_find(const struct partitions *partitions, const char *name);

/* Whether guests of `owner` may be in it; root's and qvmd's own user's always may. */
bool partition_takes(const struct partition *partition, uid_t owner, uid_t daemon_uid);

/* Whether RAM of its guests is there before they run: pages of a node or huge ones, which nothing
 * else can hold for them, and that of real-time vCPUs, which wait for nothing. */
bool partition_is_populated(const struct partition *partition);

/* Whether its RAM is in huge pages (hugetlb). */
bool partition_is_huge(const struct partition *partition);

/* The partition whose own CPU `cpu` is, or NULL. */
const struct partition *partition_of_cpu(const struct partitions *partitions, int cpu);

#endif
