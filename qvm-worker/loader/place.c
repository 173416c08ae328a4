/* What lies where in guest memory. */
#include "qvm-worker/loader/place.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>

#include "proto/base/err.h"
#include "qvm-worker/loader/image.h"

#define MIB ((uint64_t)1 << 20)

void places_init(struct places *places, const struct memory *memory)
{
    places->memory = memory;
    places->has_shadow = false;
    places->is_dry = false;
    places->count = 1;
    places->list[0] = (struct place){
        MEMORY_FIRMWARE_START, MEMORY_FIRMWARE_END - MEMORY_FIRMWARE_START, "the firmware tables"};
}

/* What of ours is in [start, start + size), or NULL. Neither wraps around. */
static const struct place *find_overlap(const struct places *places, uint64_t start, uint64_t size)
{
    for (uint32_t i = 0; i < places->count; i++) {
        const struct place *place = &places->list[i];

        if (start < place->start + place->size && place->start < start + size) {
            return place;
        }
    }
    return NULL;
}

void *places_span(const struct memory *memory, uint64_t start, uint64_t size)
{
    void *span = memory_span(memory, gpa(start), size);

    return span != NULL ? span : memory_rom_span(memory, gpa(start), size);
}

int places_take(struct places *places, const struct image *image, uint64_t start, uint64_t size,
                struct err *err)
{
    const struct place *other;

    if (size > MEMORY_ADDRESS_MAX || places_span(places->memory, start, size) == NULL) {
        return image_refuse(
            image, err,
            "needs %" PRIu64 " MiB at 0x%" PRIx64 ", guest RAM ends at 0x%" PRIx64 ": raise `ram`",
            size / MIB + (size % MIB != 0 ? 1 : 0), start, places_ram_end(places, UINT64_MAX));
    }
    other = find_overlap(places, start, size);
    if (other != NULL) {
        return image_refuse(
            image, err,
            "at 0x%" PRIx64 "-0x%" PRIx64 " would overwrite %s (0x%" PRIx64 "-0x%" PRIx64 ")",
            start, start + size - 1, other->what, other->start, other->start + other->size - 1);
    }
    if (places->count == PLACES_MAX) {
        return image_refuse(image, err, "is one piece too many to load: %u", PLACES_MAX);
    }
    places->list[places->count++] = (struct place){start, size, image->path};
    return 0;
}

/* The highest fit inside one region; 0: none. */
static uint64_t find_high_in(const struct places *places, const struct memory_region *region,
                             uint64_t size, uint64_t align, uint64_t limit)
{
    uint64_t end = region->start + region->size;

    end = end < limit ? end : limit;
    while (end >= size && end - size >= region->start) {
        uint64_t start = (end - size) & ~(align - 1);
        const struct place *other = find_overlap(places, start, size);

        if (start < region->start || start == 0) {
            return 0;
        }
        if (other == NULL) {
            return start;
        }
        end = other->start; /* smaller each turn: other->start < start + size <= end */
    }
    return 0;
}

uint64_t places_find_high(const struct places *places, uint64_t size, uint64_t align,
                          uint64_t limit)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(places->memory, &count);

    for (uint32_t i = count; i > 0; i--) {
        uint64_t start = find_high_in(places, &regions[i - 1], size, align, limit);

        if (start != 0) {
            return start;
        }
    }
    return 0;
}

uint64_t places_find_low(const struct places *places, uint64_t size, uint64_t align, uint64_t from)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(places->memory, &count);

    for (uint32_t i = 0; i < count; i++) {
        uint64_t end = regions[i].start + regions[i].size;
        uint64_t at = regions[i].start > from ? regions[i].start : from;

        at = (at + align - 1) & ~(align - 1);
        while (at < end && size <= end - at) {
            const struct place *other = find_overlap(places, at, size);

            if (other == NULL) {
                return at;
            }
            at = (other->start + other->size + align - 1) & ~(align - 1);
        }
    }
    return 0;
}

uint64_t places_ram_end(const struct places *places, uint64_t limit)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(places->memory, &count);
    uint64_t end = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (regions[i].is_ram && regions[i].start < limit) {
            end = regions[i].start + regions[i].size;
        }
    }
    return end < limit ? end : limit;
}
