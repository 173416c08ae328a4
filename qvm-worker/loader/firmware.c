/* Firmware in ROM. */
#include "qvm-worker/loader/firmware.h"

#include <inttypes.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/loader/guest.h"
#include "qvm-worker/loader/image.h"
#include "qvm-worker/loader/place.h"
#include "qvm-worker/memory/memory.h"

#define ROM_END       ((uint64_t)1 << 32) /* the reset vector is 16 bytes below */
#define SMALLEST      16u
#define ERASED        0xff
#define FIRMWARE_SIZE (MEMORY_FIRMWARE_END - MEMORY_FIRMWARE_START)
#define SHADOW_SIZE   (MEMORY_FIRMWARE_START - MEMORY_HOLE_END)

bool firmware_is_at(const struct memory *memory, uint64_t address)
{
    return memory_rom_span(memory, gpa(address), 1) != NULL;
}

/* The end of the ROM to right below 1 MiB. SeaBIOS of 256 KiB runs from below 0xE0000 on, where it
 * copies itself if it knows the chipset: there is RAM, if `ram` has any. */
static void copy_low(const struct memory *memory, const uint8_t *rom, uint64_t size)
{
    uint64_t upper = size < FIRMWARE_SIZE ? size : FIRMWARE_SIZE;
    uint64_t lower = size - upper < SHADOW_SIZE ? size - upper : SHADOW_SIZE;
    uint8_t *to = memory_span(memory, gpa(MEMORY_FIRMWARE_START), FIRMWARE_SIZE); /* always there */
    uint8_t *below = memory_span(memory, gpa(MEMORY_FIRMWARE_START - lower), lower);

    memset(to, ERASED, FIRMWARE_SIZE - upper);
    memcpy(to + FIRMWARE_SIZE - upper, rom + size - upper, upper);
    if (below != NULL) {
        memcpy(below, rom + size - upper - lower, lower);
    }
}

int firmware_load(const struct image *image, uint64_t address, struct places *places,
                  struct guest_boot *boot, struct err *err)
{
    uint8_t *rom = memory_rom_span(places->memory, gpa(address), image->size);
    int r;

    if (rom == NULL) {
        return image_refuse(image, err,
                            "has %" PRIu64 " bytes for 0x%" PRIx64 ", where the `rom` is smaller",
                            image->size, address);
    }
    if (address + image->size != ROM_END || image->size < SMALLEST) {
        return image_refuse(image, err,
                            "is firmware and must end at 4 GiB, where a processor starts: load it "
                            "to 0x%" PRIx64,
                            ROM_END - image->size);
    }
    r = places_take(places, image, address, image->size, err);
    if (r == 0) {
        r = image_read_to_guest(image, 0, places->memory, address, image->size, err);
    }
    if (r == 0) {
        if (!places->has_shadow) {
            copy_low(places->memory, rom, image->size);
        }
        boot->protocol = GUEST_FIRMWARE;
        boot->entry = ROM_END - SMALLEST;
        boot->cmdline_max = 0;
        boot->module_max = 0;
    }
    return r;
}
