/* What lies where in guest memory: two things never in one place, and places found for those that
 * may lie anywhere. */
#ifndef QVM_WORKER_LOADER_PLACE_H
#define QVM_WORKER_LOADER_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/memory/memory.h"

struct err;
struct image;

#define PLACES_MAX 256u

struct place {
    uint64_t start, size;
    const char *what; /* "the kernel", a path */
};

struct places {
    const struct memory *memory;
    uint32_t count;
    struct place list[PLACES_MAX];
    bool has_shadow; /* the host bridge shows ROM below 1 MiB, as its registers say */
    bool is_dry;     /* of what is placed here nothing is read into guest memory */
};

/* Empty but for the firmware area. */
void places_init(struct places *places, const struct memory *memory);

/* `size` bytes of RAM or ROM in one piece, or NULL. */
void *places_span(const struct memory *memory, uint64_t start, uint64_t size);

/* Take [start, start + size) for `image`. -EINVAL, in words: it is not all in one piece of RAM or
 * ROM, or something else is there. */
int places_take(struct places *places, const struct image *image, uint64_t start, uint64_t size,
                struct err *err);

/* The highest free multiple of `align` (a power of two) where `size` bytes end at or below
 * `limit`; 0: there is none. */
uint64_t places_find_high(const struct places *places, uint64_t size, uint64_t align,
                          uint64_t limit);

/* The lowest one at or above `from`; 0: there is none. */
uint64_t places_find_low(const struct places *places, uint64_t size, uint64_t align, uint64_t from);

/* The end of the highest RAM below `limit`. */
uint64_t places_ram_end(const struct places *places, uint64_t limit);

#endif
