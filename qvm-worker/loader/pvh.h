/* PVH: a Xen note names the 32-bit entry, hvm_start_info tells the guest what it finds. */
#ifndef QVM_WORKER_LOADER_PVH_H
#define QVM_WORKER_LOADER_PVH_H

#include <stdbool.h>
#include <stdint.h>

struct boot_parameters;
struct err;
struct guest_boot;
struct image;
struct memory;

/* Look into the notes at `offset` for the entry. What is no well-formed note ends the search,
 * except that the entry's own note must be right: -EINVAL otherwise. */
int pvh_find_entry(const struct image *image, uint64_t offset, uint64_t size, bool *is_found,
                   uint64_t *entry, struct err *err);

/* What a PVH image finds: 32-bit mode, EBX. `entry` is set already. */
void pvh_fill(struct guest_boot *boot);

/* Write hvm_start_info (version 1), module list and memory map. */
void pvh_write(const struct memory *memory, const struct boot_parameters *parameters);

#endif
