/* Firmware: a bootimage in ROM that ends at 4 GiB, where a processor starts at power-on.
 *
 * As on a PC its last 128 KiB are seen below 1 MiB as well, in the ROM itself where there is a host
 * bridge that says so (machine/board.h), else as a copy in RAM, which the firmware may write to. */
#ifndef QVM_WORKER_LOADER_FIRMWARE_H
#define QVM_WORKER_LOADER_FIRMWARE_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct guest_boot;
struct image;
struct memory;
struct places;

/* Whether an image that is loaded to `address` is firmware: it lies in ROM. */
bool firmware_is_at(const struct memory *memory, uint64_t address);

/* -EINVAL: it does not fit its ROM, or ends elsewhere. */
int firmware_load(const struct image *image, uint64_t address, struct places *places,
                  struct guest_boot *boot, struct err *err);

#endif
