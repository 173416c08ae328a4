/* What qvmd tells a qvm of the host. */
#include "qvm-worker/under_host.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/base/cpu_list.h"
#include "proto/base/err.h"
#include "proto/msg.h"
#include "qvm-worker/life.h"

static int take_clusters(const struct msg_spawn *spawn, struct life *life, struct err *err)
{
    for (size_t i = 0; i < spawn->clusters_count; i++) {
        life->clusters[i].name = spawn->clusters[i].name;
        if (cpu_list_parse(spawn->clusters[i].cpus, &life->clusters[i].cpus) != 0) {
            return err_set(err, -EINVAL, "qvmd says that cluster '%s' has the CPUs '%s'",
                           spawn->clusters[i].name, spawn->clusters[i].cpus);
        }
    }
    return 0;
}

static int take_regions(const struct msg_spawn *spawn, struct life *life, struct err *err)
{
    for (size_t i = 0; i < spawn->regions_count; i++) {
        const struct msg_host_region *region = &spawn->regions[i];

        if (conf_regions_add(&life->regions, region->name, (uint64_t)region->start,
                             (uint64_t)region->size) != 0) {
            return err_set(err, -ENOMEM, "no memory left for the host's memory regions");
        }
    }
    return 0;
}

int under_host(const struct msg_spawn *spawn, struct life *life, struct err *err)
{
    int r;

    life->clusters = calloc(spawn->clusters_count + 1, sizeof(*life->clusters));
    life->partitions = calloc(spawn->partitions_count + 1, sizeof(*life->partitions));
    if (life->clusters == NULL || life->partitions == NULL) {
        return err_set(err, -ENOMEM, "no memory left for what the host has");
    }
    for (size_t i = 0; i < spawn->partitions_count; i++) {
        life->partitions[i] =
            (struct plan_partition){.name = spawn->partitions[i].name,
                                    .page_size = (uint64_t)spawn->partitions[i].page_size,
                                    .is_populated = spawn->partitions[i].is_populated};
    }
    r = take_clusters(spawn, life, err);
    r = r == 0 ? take_regions(spawn, life, err) : r;
    life->regions.source = "'memory-region' of qvmd.conf";
    life->host.clusters = life->clusters;
    life->host.cluster_count = spawn->clusters_count;
    life->host.partitions = life->partitions;
    life->host.partition_count = spawn->partitions_count;
    life->host.places_cpus = spawn->partitions_count > 0;
    return r;
}
