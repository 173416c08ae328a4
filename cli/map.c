/* What both drawings of the host need. */
#include "cli/map.h"

#include <stdlib.h>
#include <string.h>

static int compare_devices(const void *a, const void *b)
{
    const struct msg_device *left = a, *right = b;
    uint32_t left_group = (uint32_t)left->iommu_group; /* none is -1: the last */
    uint32_t right_group = (uint32_t)right->iommu_group;

    if (left_group != right_group) {
        return left_group < right_group ? -1 : 1;
    }
    return strcmp(left->bdf, right->bdf);
}

void map_sort_devices(struct msg_device_list *devices)
{
    if (devices->devices_count > 0) {
        qsort(devices->devices, devices->devices_count, sizeof(*devices->devices), compare_devices);
    }
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

size_t map_cpus_alike(const struct msg_partitions *division, size_t first)
{
    const struct msg_host_cpu *cpu = &division->cpus[first];
    size_t next = first + 1;

    for (; next < division->cpus_count; next++) {
        const struct msg_host_cpu *other = &division->cpus[next];

        if (other->cpu != cpu->cpu + (int64_t)(next - first) || other->node != cpu->node ||
            other->housekeeping != cpu->housekeeping || !is_same(other->use, cpu->use) ||
            !is_same(other->partition, cpu->partition) || !is_same(other->guest, cpu->guest)) {
            break;
        }
    }
    return next;
}

static int compare_shares(const void *a, const void *b)
{
    const struct msg_share *const *left = a, *const *right = b;

    if ((*left)->memory != (*right)->memory) {
        return (*left)->memory > (*right)->memory ? -1 : 1;
    }
    return strcmp((*left)->guest, (*right)->guest);
}

const struct msg_share **map_shares(const struct msg_partitions *division, const char *partition,
                                    size_t *count)
{
    const struct msg_share **shares =
        calloc(division->shares_count + 1, sizeof(const struct msg_share *));

    *count = 0;
    for (size_t i = 0; shares != NULL && i < division->shares_count; i++) {
        if (strcmp(division->shares[i].partition, partition) == 0) {
            shares[(*count)++] = &division->shares[i];
        }
    }
    if (*count > 0) {
        qsort(shares, *count, sizeof(const struct msg_share *), compare_shares);
    }
    return shares;
}
