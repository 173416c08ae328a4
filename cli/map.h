/* The host drawn against its guests: CPUs, memory and devices with who has them. */
#ifndef QVM_CLI_MAP_H
#define QVM_CLI_MAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/msg.h"

/* What is drawn; borrowed. */
struct map {
    const struct msg_partitions *division;
    const struct msg_device_list *devices; /* sorted by map_sort_devices() */
};

/* Bring what is in one IOMMU group together, those in none last. */
void map_sort_devices(struct msg_device_list *devices);

/* The first CPU behind those from `first` on that are next to it and like it: same node, use,
 * partition, guest. */
size_t map_cpus_alike(const struct msg_partitions *division, size_t first);

/* The guests of a partition by their memory, the largest first; free(). NULL: memory is out. */
const struct msg_share **map_shares(const struct msg_partitions *division, const char *partition,
                                    size_t *count);

/* Lines of text; `is_wide`: all guests by their names. -ENOMEM */
int map_print(const struct map *map, bool is_wide, FILE *out);

/* A picture, SVG 1.1. -ENOMEM */
int map_draw(const struct map *map, FILE *out);

#endif
