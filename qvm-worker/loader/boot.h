/* What a bootimage finds: its parameters with the memory map, command line, page tables, GDT.
 *
 * All of it lies in the firmware area, which the memory map names reserved: no RAM is taken. */
#ifndef QVM_WORKER_LOADER_BOOT_H
#define QVM_WORKER_LOADER_BOOT_H

#include <stdint.h>

struct guest_boot;
struct loader_entry;
struct memory;

#define BOOT_MODULES_MAX 16u
#define BOOT_NAME_MAX    255u /* bytes of a module's name; what is longer is cut */

struct boot_module {
    uint64_t start, size;
    const char *path;
};

#define BOOT_MAP_MAX 128u /* entries of the memory map: as many as a zero page holds */

enum { BOOT_MAP_RAM = 1, BOOT_MAP_RESERVED = 2 };

struct boot_map_entry {
    uint64_t start, size;
    uint32_t type;
} __attribute__((packed));

struct boot_map {
    uint32_t count;
    struct boot_map_entry list[BOOT_MAP_MAX];
};

/* Addresses that a guest may not take for free. */
struct boot_range {
    uint64_t start, size;
};

/* RAM without what a PC keeps for itself, the firmware area and `reserved`, ascending, below 4 GiB
 * and above the RAM there. */
void boot_make_map(const struct memory *memory, const struct boot_range *reserved,
                   uint32_t reserved_count, struct boot_map *map);

/* All that a bootimage is told, in whichever form. */
struct boot_parameters {
    const struct guest_boot *guest;
    const char *cmdline; /* fits: the caller checked */
    uint32_t module_count;
    struct boot_module modules[BOOT_MODULES_MAX];
    struct boot_map map;
};

/* What stands behind the last '/' of a path. */
const char *boot_base_name(const char *path);

/* Write it all; `entry` tells where and how the guest starts. */
void boot_write(const struct memory *memory, const struct boot_parameters *parameters,
                struct loader_entry *entry);

#endif
