/* PVH. Xen's docs/misc/pvh.pandoc; xen/include/public/elfnote.h and arch-x86/hvm/start_info.h. */
#include "qvm-worker/loader/pvh.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/loader/boot.h"
#include "qvm-worker/loader/guest.h"
#include "qvm-worker/loader/image.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/memory/memory.h"

#define NOTES_MAX     65536u /* bytes of one note segment that are looked at */
#define NOTE_ALIGN    4u
#define NOTE_ENTRY    18u /* XEN_ELFNOTE_PHYS32_ENTRY */
#define MODULES_BELOW (1ull << 32)

static const char note_name[4] = "Xen";

#define START_MAGIC   0x336ec578u
#define START_VERSION 1u

struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp;
    uint64_t map;
    uint32_t map_count, reserved;
};

struct module_entry {
    uint64_t address, size, cmdline, reserved;
};

struct map_entry {
    uint64_t address, size;
    uint32_t type, reserved;
};

/* Everything one behind the other, where the guest finds it. */
struct pvh_area {
    struct start_info info;
    struct module_entry modules[BOOT_MODULES_MAX];
    struct map_entry map[BOOT_MAP_MAX];
};

_Static_assert(sizeof(struct start_info) == 56, "as Xen has it");
_Static_assert(sizeof(struct pvh_area) <= LOADER_INFO_SIZE, "it has its place");

static uint64_t padded(uint32_t size)
{
    return ((uint64_t)size + NOTE_ALIGN - 1) / NOTE_ALIGN * NOTE_ALIGN;
}

/* The entry's own note: `size` bytes, 4 or 8, little-endian. */
static int take_entry(const struct image *image, uint64_t offset, uint32_t size, uint64_t *entry,
                      struct err *err)
{
    uint64_t value = 0;
    int r;

    if (size != 4 && size != 8) {
        return image_refuse(image, err, "has a PVH note with an entry of %u bytes", size);
    }
    r = image_read(image, offset, &value, size, err);
    if (r == 0 && value > UINT32_MAX) {
        r = image_refuse(image, err, "has a PVH note whose 32-bit entry is 0x%" PRIx64, value);
    }
    if (r == 0) {
        *entry = value;
    }
    return r;
}

int pvh_find_entry(const struct image *image, uint64_t offset, uint64_t size, bool *is_found,
                   uint64_t *entry, struct err *err)
{
    uint64_t at = 0, limit = size < NOTES_MAX ? size : NOTES_MAX;
    int r = 0;

    while (r == 0 && !*is_found && limit - at >= sizeof(Elf32_Nhdr)) {
        Elf32_Nhdr note; /* both classes have the same */
        uint64_t description;
        char name[sizeof(note_name)] = {0};

        r = image_read(image, offset + at, &note, sizeof(note), err);
        if (r != 0) {
            break;
        }
        at += sizeof(note);
        description = at + padded(note.n_namesz);
        if (description > limit || padded(note.n_descsz) > limit - description) {
            break; /* goes on outside of its segment */
        }
        if (note.n_namesz == sizeof(name)) {
            r = image_read(image, offset + at, name, sizeof(name), err);
        }
        if (r == 0 && note.n_type == NOTE_ENTRY && memcmp(name, note_name, sizeof(name)) == 0) {
            r = take_entry(image, offset + description, note.n_descsz, entry, err);
            *is_found = r == 0;
        }
        at = description + padded(note.n_descsz);
    }
    return r;
}

void pvh_fill(struct guest_boot *boot)
{
    boot->protocol = GUEST_PVH;
    boot->is_32bit = true;
    boot->initrd_limit = MODULES_BELOW;
    boot->module_max = BOOT_MODULES_MAX;
}

void pvh_write(const struct memory *memory, const struct boot_parameters *parameters)
{
    static const uint64_t base = LOADER_INFO;
    struct pvh_area area = {.info = {.magic = START_MAGIC,
                                     .version = START_VERSION,
                                     .module_count = parameters->module_count,
                                     .cmdline = LOADER_CMDLINE,
                                     .rsdp = LOADER_ACPI_START,
                                     .map = base + offsetof(struct pvh_area, map),
                                     .map_count = parameters->map.count}};

    if (parameters->module_count > 0) {
        area.info.modules = base + offsetof(struct pvh_area, modules);
    }
    for (uint32_t i = 0; i < parameters->module_count; i++) {
        area.modules[i].address = parameters->modules[i].start;
        area.modules[i].size = parameters->modules[i].size;
    }
    for (uint32_t i = 0; i < parameters->map.count; i++) {
        const struct boot_map_entry *from = &parameters->map.list[i];

        area.map[i] = (struct map_entry){from->start, from->size, from->type, 0};
    }
    (void)memory_copy_in(memory, gpa(base), &area, sizeof(area)); /* always there */
}
