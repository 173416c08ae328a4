/* Where `ram` and `rom` options put memory: part of memory.c. */
#ifndef QVM_WORKER_MEMORY_LAYOUT_H
#define QVM_WORKER_MEMORY_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/memory/memory.h"

struct err;

/* The device area may split each RAM, the firmware area one ROM. */
#define MEMORY_PIECES_MAX (2 * MEMORY_RANGES_MAX)

/* A piece of RAM or ROM as configured, before the first MiB is cut. */
struct memory_piece {
    uint64_t start, end;
    const char *where;
    bool is_rom;
};

struct memory_layout {
    uint32_t count;
    uint64_t devices_start; /* MEMORY_DEVICES_START, or earlier */
    bool is_firmware_rom;   /* a `rom` covers the firmware area: it is left out of `pieces` */
    struct memory_piece pieces[MEMORY_PIECES_MAX];
};

/* Place all ranges, in ascending order of their start. -EINVAL: as memory_create. */
int memory_layout_make(struct memory_layout *layout, const struct memory_range *ranges,
                       uint32_t count, struct err *err);

#endif
