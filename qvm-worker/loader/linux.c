/* Linux bzImages, by their 64-bit or 32-bit entry: Documentation/arch/x86/boot.rst. */
#include <inttypes.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/loader/guest.h"
#include "qvm-worker/loader/image.h"
#include "qvm-worker/loader/place.h"

/* Offsets in the file's head. */
#define SETUP_SECTORS  0x1f1u
#define BOOT_FLAG      0x1feu
#define HEADER_LENGTH  0x201u /* the header ends at 0x202 + this */
#define HEADER_MAGIC   0x202u
#define VERSION        0x206u
#define OLD_FLAGS      0x211u
#define INITRD_MAX     0x22cu
#define ALIGNMENT      0x230u
#define IS_RELOCATABLE 0x234u
#define LOAD_FLAGS     0x236u
#define CMDLINE_SIZE   0x238u
#define PREFERRED      0x258u
#define INIT_SIZE      0x260u

#define BOOT_FLAG_VALUE 0xaa55u
#define VERSION_OLDEST  0x205u /* the first that says where it may lie */
#define VERSION_PLACE   0x20au /* the first with PREFERRED and INIT_SIZE */
#define VERSION_64BIT   0x20cu /* the first with LOAD_FLAGS */
#define LOAD_FLAG_64BIT 1u
#define OLD_FLAG_HIGH   1u /* a bzImage: begins at 1 MiB, if nowhere else */
#define SECTOR_SIZE     512u
#define SECTORS_IF_ZERO 4u
#define ENTRY_64BIT     0x200u /* from the start of the protected-mode part */
#define LOWEST          0x100000ull
#define ALIGNMENT_MAX   (1ull << 30)
#define IDENTITY_LIMIT  (1ull << 32) /* our page tables reach so far */
#define CMDLINE_IF_ZERO 255u

struct kernel {
    uint64_t payload_at, payload_size; /* in the file: the protected-mode part */
    uint64_t room;                     /* what it needs in memory while it starts */
    uint64_t preferred, alignment;
    bool is_relocatable;
    bool is_64bit; /* has the 64-bit entry */
};

static uint64_t field(const uint8_t *head, uint32_t at, uint32_t size)
{
    uint64_t value = 0;

    memcpy(&value, head + at, size);
    return value;
}

/* Whether it is one that can be started here, and by which entry. */
static int check_kind(const struct image *image, const uint8_t *head, struct kernel *kernel,
                      struct err *err)
{
    uint64_t version = field(head, VERSION, 2);

    if (image->size < GUEST_HEAD_SIZE || field(head, BOOT_FLAG, 2) != BOOT_FLAG_VALUE ||
        version < VERSION_OLDEST || (field(head, OLD_FLAGS, 1) & OLD_FLAG_HIGH) == 0) {
        return image_refuse(image, err, "is not a bzImage of boot protocol 2.05 or later");
    }
    kernel->is_64bit =
        version >= VERSION_64BIT && (field(head, LOAD_FLAGS, 2) & LOAD_FLAG_64BIT) != 0;
    return 0;
}

static int read_header(const struct image *image, const uint8_t *head, struct kernel *kernel,
                       struct err *err)
{
    uint64_t sectors = field(head, SETUP_SECTORS, 1);
    bool has_place = field(head, VERSION, 2) >= VERSION_PLACE;
    int r = check_kind(image, head, kernel, err);

    if (r != 0) {
        return r;
    }
    kernel->payload_at = ((sectors == 0 ? SECTORS_IF_ZERO : sectors) + 1) * SECTOR_SIZE;
    if (image->size <= kernel->payload_at + ENTRY_64BIT) {
        return image_refuse(image, err,
                            "is cut short: its kernel begins at 0x%" PRIx64 ", it has %" PRIu64
                            " bytes",
                            kernel->payload_at, image->size);
    }
    kernel->payload_size = image->size - kernel->payload_at;
    kernel->room = has_place ? field(head, INIT_SIZE, 4) : 0;
    if (kernel->room < kernel->payload_size) {
        kernel->room = kernel->payload_size;
    }
    kernel->preferred = has_place ? field(head, PREFERRED, 8) : LOWEST;
    kernel->alignment = field(head, ALIGNMENT, 4);
    kernel->is_relocatable = field(head, IS_RELOCATABLE, 1) != 0;
    if (kernel->alignment == 0 || (kernel->alignment & (kernel->alignment - 1)) != 0 ||
        kernel->alignment > ALIGNMENT_MAX) {
        return image_refuse(image, err, "asks for an alignment of 0x%" PRIx64, kernel->alignment);
    }
    return 0;
}

/* Where it goes: the address given, the preferred one, or the lowest that fits. */
static int choose_address(const struct image *image, const struct guest_request *request,
                          const struct kernel *kernel, const struct places *places,
                          uint64_t *address, struct err *err)
{
    uint64_t chosen = kernel->preferred;

    if (request->has_address) {
        chosen = request->address;
        if (chosen != kernel->preferred &&
            (!kernel->is_relocatable || chosen % kernel->alignment != 0)) {
            return image_refuse(
                image, err, "cannot start at 0x%" PRIx64 ": it asks for 0x%" PRIx64 "%s 0x%" PRIx64,
                chosen, kernel->preferred,
                kernel->is_relocatable ? " or a multiple of" : ", alignment", kernel->alignment);
        }
    } else if (kernel->is_relocatable &&
               memory_span(places->memory, gpa(chosen), kernel->room) == NULL) {
        uint64_t found = places_find_low(places, kernel->room, kernel->alignment, LOWEST);

        chosen = found != 0 ? found : chosen;
    }
    if (chosen < LOWEST || chosen >= IDENTITY_LIMIT || kernel->room > IDENTITY_LIMIT - chosen) {
        return image_refuse(image, err, "cannot start at 0x%" PRIx64, chosen);
    }
    *address = chosen;
    return 0;
}

static void fill_boot(const uint8_t *head, const struct kernel *kernel, uint64_t address,
                      struct guest_boot *boot)
{
    uint64_t cmdline_max =
        field(head, VERSION, 2) > VERSION_OLDEST ? field(head, CMDLINE_SIZE, 4) : 0;
    uint64_t header_end = HEADER_MAGIC + field(head, HEADER_LENGTH, 1);

    boot->is_32bit = !kernel->is_64bit;
    boot->entry = address + (kernel->is_64bit ? ENTRY_64BIT : 0);
    boot->initrd_limit = field(head, INITRD_MAX, 4) + 1;
    if (cmdline_max == 0) {
        cmdline_max = CMDLINE_IF_ZERO;
    }
    if (cmdline_max < boot->cmdline_max) {
        boot->cmdline_max = cmdline_max;
    }
    if (header_end > LINUX_HEADER_START + LINUX_HEADER_ROOM) {
        header_end = LINUX_HEADER_START + LINUX_HEADER_ROOM;
    }
    boot->header_size = (uint32_t)(header_end - LINUX_HEADER_START);
    memcpy(boot->header, head + LINUX_HEADER_START, boot->header_size);
}

int guest_load_linux(const struct image *image, const struct guest_request *request,
                     const uint8_t *head, struct places *places, struct guest_boot *boot,
                     struct err *err)
{
    struct kernel kernel = {0};
    uint64_t address = 0;
    int r = read_header(image, head, &kernel, err);

    if (r == 0) {
        r = choose_address(image, request, &kernel, places, &address, err);
    }
    if (r == 0) {
        r = places_take(places, image, address, kernel.room, err);
    }
    if (r == 0) {
        r = image_read_to_guest(image, kernel.payload_at, places->memory, address,
                                kernel.payload_size, err);
    }
    if (r == 0) {
        fill_boot(head, &kernel, address, boot);
    }
    return r;
}
