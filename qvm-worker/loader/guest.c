/* Bootimages: what they are; flat ones. */
#include "qvm-worker/loader/guest.h"

#include <errno.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/loader/image.h"
#include "qvm-worker/loader/multiboot.h"
#include "qvm-worker/loader/place.h"

#define FLAT_ADDRESS   0x100000ull
#define INITRD_LIMIT   0x80000000ull /* where nothing else is said: below 2 GiB, as Linux */
#define CMDLINE_LIMIT  4095u         /* the page that holds it, without the final 0 */
#define LINUX_MAGIC_AT 0x202u
#define ELF_MAGIC      "\177ELF"
#define TEXT_SAMPLE    64u

/* No processor starts at a sentence: a configuration or a script given by mistake. */
static bool is_text(const uint8_t *head, uint64_t size)
{
    uint64_t sample = size < TEXT_SAMPLE ? size : TEXT_SAMPLE;

    for (uint64_t i = 0; i < sample; i++) {
        if ((head[i] < ' ' || head[i] > '~') && head[i] != '\n' && head[i] != '\t' &&
            head[i] != '\r') {
            return false;
        }
    }
    return true;
}

static int load_flat(const struct image *image, const struct guest_request *request,
                     const uint8_t *head, struct places *places, struct guest_boot *boot,
                     struct err *err)
{
    uint64_t address = request->has_address ? request->address : FLAT_ADDRESS;
    int r;

    if (request->is_named && !request->has_address) {
        return image_refuse(image, err,
                            "is no Linux kernel, ELF or multiboot image; with a load address "
                            "it would be started at its first byte");
    }
    if (!request->has_address && is_text(head, image->size)) {
        return image_refuse(image, err, "is text, not a bootimage");
    }
    r = places_take(places, image, address, image->size, err);
    if (r == 0) {
        r = image_read_to_guest(image, 0, places->memory, address, image->size, err);
    }
    if (r == 0) {
        boot->entry = address;
    }
    return r;
}

/* A file of no known kind: a multiboot header says where it goes, or it is flat. */
static int load_other(const struct image *image, const struct guest_request *request,
                      const uint8_t *head, struct places *places, struct guest_boot *boot,
                      struct err *err)
{
    struct multiboot_header header = {0};
    int r = multiboot_find(image, &header, err);

    if (r != 0) {
        return r;
    }
    if (!header.is_found) {
        return load_flat(image, request, head, places, boot, err);
    }
    if (!header.has_addresses) {
        return image_refuse(image, err,
                            "has a multiboot header without addresses, and is no ELF image");
    }
    if (request->has_address) {
        return image_refuse(image, err, "is a multiboot image and says itself where it is loaded");
    }
    return multiboot_load(image, &header, places, boot, err);
}

int guest_load_piece(const struct image *image, const struct guest_piece *piece,
                     struct places *places, struct err *err)
{
    int r = places_take(places, image, piece->address, piece->size, err);

    if (r == 0) {
        r = image_read_to_guest(image, piece->offset, places->memory, piece->address,
                                piece->file_size, err);
    }
    if (r == 0 && !image->is_dry) {
        uint8_t *to = places_span(places->memory, piece->address, piece->size);

        memset(to + piece->file_size, 0, piece->size - piece->file_size);
    }
    return r;
}

int guest_load(const struct image *image, const struct guest_request *request,
               struct places *places, struct guest_boot *boot, struct err *err)
{
    uint8_t head[GUEST_HEAD_SIZE] = {0};
    uint64_t size = image->size < sizeof(head) ? image->size : sizeof(head);
    int r = image_read(image, 0, head, size, err);

    if (r != 0) {
        return r;
    }
    memset(boot, 0, sizeof(*boot));
    boot->cmdline_max = CMDLINE_LIMIT;
    boot->initrd_limit = INITRD_LIMIT;
    boot->module_max = 1;
    boot->name = image->path;
    if (memcmp(head, ELF_MAGIC, 4) == 0) {
        return guest_load_elf(image, request, head, places, boot, err);
    }
    if (memcmp(head + LINUX_MAGIC_AT, "HdrS", 4) == 0) {
        return guest_load_linux(image, request, head, places, boot, err);
    }
    return load_other(image, request, head, places, boot, err);
}
