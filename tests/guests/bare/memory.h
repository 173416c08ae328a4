/* The map of the guest's RAM, its page tables, and the RAM test. */
#ifndef QVM_TESTS_GUESTS_BARE_MEMORY_H
#define QVM_TESTS_GUESTS_BARE_MEMORY_H

#include <stdint.h>

struct boot_params;

/* Copy the memory map and use page tables of our own: one to one, ring 3 included. Without 1 GiB
 * pages nothing but the first GiB's RAM and the top of the fourth is mapped, to be up sooner. */
void memory_init(const struct boot_params *params);

/* Map everything up to the end of RAM, at least 4 GiB. RAM that cannot be mapped (above 4 GiB on a
 * CPU without 1 GiB pages) is not tested. */
void memory_map_all(void);

/* RAM in the loader's map. */
uint64_t memory_ram_kib(void);

/* Boots since the VM was made: RAM is not cleared by a reset. Adds one. */
unsigned memory_count_boot(void);

/* Write all RAM above the guest's own 2 MiB, then read it back; in ring 3, which is fast even where
 * KVM emulates ring 0. Returns KiB tested; `errors` counts wrong 8-byte words, `first` is the
 * first. Destroys what a loader put there. */
uint64_t memory_test(uint64_t *errors, uint64_t *first);

/* Busy for ever in ring 3, interrupts off. */
void memory_spin_user(void);

#endif
