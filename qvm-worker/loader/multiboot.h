/* Multiboot 1: a header in the first 8 KiB of the file, information in memory. */
#ifndef QVM_WORKER_LOADER_MULTIBOOT_H
#define QVM_WORKER_LOADER_MULTIBOOT_H

#include <stdbool.h>
#include <stdint.h>

struct boot_parameters;
struct err;
struct guest_boot;
struct image;
struct memory;
struct places;

#define MULTIBOOT_MAGIC 0x2badb002u /* EAX at the start */

struct multiboot_header {
    bool is_found;
    bool has_addresses; /* the header says where the file's parts lie; otherwise it is ELF's */
    uint64_t at;        /* in the file */
    uint32_t header_address, load_address, load_end, bss_end, entry;
};

/* Look for a header. -EINVAL: there is one with a wrong checksum, or it asks for what this loader
 * has not. */
int multiboot_find(const struct image *image, struct multiboot_header *header, struct err *err);

/* Load an image whose header has addresses. */
int multiboot_load(const struct image *image, const struct multiboot_header *header,
                   struct places *places, struct guest_boot *boot, struct err *err);

/* What a multiboot image finds: 32-bit mode, EBX. `entry` is set already. */
void multiboot_fill(const struct image *image, struct guest_boot *boot);

/* Write the information, memory map, module list and names. */
void multiboot_write(const struct memory *memory, const struct boot_parameters *parameters);

#endif
