/* What a new qvm is told of the host, for the words of its configuration. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/partition.h"
#include "daemon/worker/spawn_inside.h"
#include "proto/base/lend.h"
#include "proto/msg.h"

#define CPUS_SIZE 4096 /* of a list of every other CPU */

/* What the qvm is told of the host, in messages. */
struct spawn_host {
    struct msg_host_partition partitions[PARTITIONS_MAX];
    struct msg_host_cluster clusters[PARTITION_CLUSTERS_MAX];
    struct msg_host_region regions[PARTITION_REGIONS_MAX];
    char cpus[PARTITION_CLUSTERS_MAX][CPUS_SIZE];
};

int spawn_tell_host(const struct partitions *from, struct spawn_host **host,
                    struct msg_spawn *spawn)
{
    struct spawn_host *told = calloc(1, sizeof(*told));

    if (told == NULL) {
        return -ENOMEM;
    }
    *host = told;
    spawn->partitions = told->partitions;
    spawn->clusters = told->clusters;
    spawn->regions = told->regions;
    spawn->places_vcpus = from->binds_threads;
    for (size_t i = 0; i < from->count; i++) {
        const struct partition *partition = &from->list[i];
        told->partitions[spawn->partitions_count++] = (struct msg_host_partition){
            .name = lend(partition->name),
            .page_size = partition_is_huge(partition) ? (int64_t)partition->page_size : 0,
            .is_populated = partition_is_populated(partition)};
    }
    for (size_t i = 0; i < from->cluster_count; i++) {
        (void)cpu_list_print(&from->clusters[i].cpus, told->cpus[i], CPUS_SIZE);
        told->clusters[spawn->clusters_count++] =
            (struct msg_host_cluster){.name = lend(from->clusters[i].name), .cpus = told->cpus[i]};
    }
    for (size_t i = 0; i < from->region_count; i++) {
        told->regions[spawn->regions_count++] =
            (struct msg_host_region){.name = lend(from->regions[i].name),
                                     .start = (int64_t)from->regions[i].start,
                                     .size = (int64_t)from->regions[i].size};
    }
    return 0;
}
