/* What a bootimage finds: zero page with the memory map, command line, page tables, GDT.
 *
 * All of it lies in the firmware area, which the memory map names reserved: no RAM is taken. */
#ifndef QVM_WORKER_LOADER_BOOT_H
#define QVM_WORKER_LOADER_BOOT_H

#include <stdint.h>

struct guest_boot;
struct memory;

struct boot_initrd {
    uint64_t start, size; /* size 0: none */
};

#define BOOT_MAP_MAX 128u /* entries of the zero page's memory map */

enum { BOOT_MAP_RAM = 1, BOOT_MAP_RESERVED = 2 };

struct boot_map_entry {
    uint64_t start, size;
    uint32_t type;
} __attribute__((packed));

/* The memory map, as the zero page holds it: RAM without what a PC keeps for itself, the firmware
 * area and [reserved_start, +reserved_size). Returns the number of entries. */
uint32_t boot_make_map(const struct memory *memory, uint64_t reserved_start, uint64_t reserved_size,
                       struct boot_map_entry map[BOOT_MAP_MAX]);

/* `cmdline` fits its page: the caller checked. */
void boot_write(const struct memory *memory, const struct guest_boot *guest,
                const struct boot_initrd *initrd, const char *cmdline, uint64_t reserved_start,
                uint64_t reserved_size);

#endif
