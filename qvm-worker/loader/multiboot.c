/* Multiboot Specification 0.6.96: 3.1 (header), 3.2 (machine state), 3.3 (information). */
#include "qvm-worker/loader/multiboot.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/loader/boot.h"
#include "qvm-worker/loader/guest.h"
#include "qvm-worker/loader/image.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/memory/memory.h"

#define SEARCH_SIZE   8192u
#define HEADER_MAGIC  0x1badb002u
#define HEADER_ALIGN  4u
#define HEADER_CHECK  12u /* bytes with magic, flags, checksum */
#define HEADER_SIZE   32u /* with addresses */
#define MODULES_BELOW (1ull << 32)

/* What an image may insist on. */
#define FLAG_ALIGN_MODULES (1u << 0) /* initrds lie at pages anyway */
#define FLAG_WANTS_MEMORY  (1u << 1)
#define FLAG_WANTS_VIDEO   (1u << 2)
#define FLAGS_REQUIRED     0xffffu
#define FLAG_ADDRESSES     (1u << 16)

/* What the information tells. */
#define TELLS_MEMORY  (1u << 0)
#define TELLS_CMDLINE (1u << 2)
#define TELLS_MODULES (1u << 3)
#define TELLS_MAP     (1u << 6)
#define TELLS_LOADER  (1u << 9)

#define KIB 1024u
#define MIB (1024u * KIB)

struct multiboot_info {
    uint32_t flags, memory_lower, memory_upper, boot_device, cmdline;
    uint32_t module_count, modules;
    uint32_t symbols[4];
    uint32_t map_size, map;
    uint32_t drives_size, drives, config_table, loader_name, apm_table;
    uint32_t video[7];
};

struct module_entry {
    uint32_t start, end, name, reserved;
};

struct map_entry {
    uint32_t size; /* of what follows */
    struct boot_map_entry entry;
} __attribute__((packed));

struct multiboot_area {
    struct multiboot_info info;
    struct module_entry modules[BOOT_MODULES_MAX];
    struct map_entry map[BOOT_MAP_MAX];
    char loader_name[8];
    char names[BOOT_MODULES_MAX][BOOT_NAME_MAX + 1];
};

_Static_assert(offsetof(struct multiboot_info, map_size) == 44, "as the specification has it");
_Static_assert(sizeof(struct multiboot_area) <= LOADER_INFO_SIZE, "it has its place");

static uint32_t word(const uint8_t *bytes, uint64_t at)
{
    uint32_t value;

    memcpy(&value, bytes + at, sizeof(value));
    return value;
}

static int check_flags(const struct image *image, uint32_t flags, struct err *err)
{
    uint32_t known = FLAG_ALIGN_MODULES | FLAG_WANTS_MEMORY;

    if ((flags & FLAG_WANTS_VIDEO) != 0) {
        return image_refuse(image, err,
                            "wants a video mode of its multiboot loader: there is none");
    }
    if ((flags & FLAGS_REQUIRED & ~known) != 0) {
        return image_refuse(image, err, "wants unknown features of its multiboot loader: 0x%x",
                            flags & FLAGS_REQUIRED & ~known);
    }
    return 0;
}

static int take_header(const struct image *image, const uint8_t *bytes, uint64_t at, uint64_t size,
                       struct multiboot_header *header, struct err *err)
{
    uint32_t flags = word(bytes, at + 4);

    header->is_found = true;
    header->at = at;
    header->has_addresses = (flags & FLAG_ADDRESSES) != 0;
    if (header->has_addresses && size - at < HEADER_SIZE) {
        return image_refuse(image, err, "is cut short inside its multiboot header");
    }
    if (header->has_addresses) {
        header->header_address = word(bytes, at + 12);
        header->load_address = word(bytes, at + 16);
        header->load_end = word(bytes, at + 20);
        header->bss_end = word(bytes, at + 24);
        header->entry = word(bytes, at + 28);
    }
    return check_flags(image, flags, err);
}

int multiboot_find(const struct image *image, struct multiboot_header *header, struct err *err)
{
    uint8_t bytes[SEARCH_SIZE];
    uint64_t size = image->size < sizeof(bytes) ? image->size : sizeof(bytes);
    uint64_t wrong_at = UINT64_MAX;
    int r = image_read(image, 0, bytes, size, err);

    for (uint64_t at = 0; r == 0 && at + HEADER_CHECK <= size; at += HEADER_ALIGN) {
        if (word(bytes, at) != HEADER_MAGIC) {
            continue;
        }
        if (HEADER_MAGIC + word(bytes, at + 4) + word(bytes, at + 8) == 0) {
            return take_header(image, bytes, at, size, header, err);
        }
        wrong_at = at;
    }
    if (r == 0 && wrong_at != UINT64_MAX) {
        r = image_refuse(image, err,
                         "has a multiboot header at 0x%" PRIx64 " whose checksum is wrong",
                         wrong_at);
    }
    return r;
}

/* The part of the file that the header's addresses mean. */
static int find_piece(const struct image *image, const struct multiboot_header *header,
                      struct guest_piece *piece, struct err *err)
{
    uint64_t before = header->header_address - header->load_address; /* of the header */
    uint64_t load_size, end;

    if (header->header_address < header->load_address || before > header->at) {
        return image_refuse(image, err,
                            "has a multiboot header for 0x%x at 0x%" PRIx64
                            " of a file that begins at 0x%x",
                            header->header_address, header->at, header->load_address);
    }
    piece->offset = header->at - before;
    piece->address = header->load_address;
    load_size = header->load_end == 0 ? image->size - piece->offset
                                      : (uint64_t)header->load_end - header->load_address;
    end = header->bss_end == 0 ? header->load_address + load_size : header->bss_end;
    if ((header->load_end != 0 && header->load_end < header->load_address) ||
        end < header->load_address || end - header->load_address < load_size) {
        return image_refuse(image, err, "has a multiboot header whose addresses go backwards");
    }
    piece->file_size = load_size;
    piece->size = end - header->load_address;
    if (header->entry < piece->address || header->entry - piece->address >= piece->size) {
        return image_refuse(image, err, "starts at 0x%x, where it does not lie", header->entry);
    }
    return 0;
}

int multiboot_load(const struct image *image, const struct multiboot_header *header,
                   struct places *places, struct guest_boot *boot, struct err *err)
{
    struct guest_piece piece = {0};
    int r = find_piece(image, header, &piece, err);

    r = r == 0 ? guest_load_piece(image, &piece, places, err) : r;
    if (r == 0) {
        boot->entry = header->entry;
        multiboot_fill(image, boot);
    }
    return r;
}

void multiboot_fill(const struct image *image, struct guest_boot *boot)
{
    /* The first word of the command line is the image's name. */
    uint64_t name_size = strnlen(boot_base_name(image->path), BOOT_NAME_MAX) + 1;

    boot->protocol = GUEST_MULTIBOOT;
    boot->is_32bit = true;
    boot->initrd_limit = MODULES_BELOW;
    boot->module_max = BOOT_MODULES_MAX;
    boot->cmdline_max -= name_size;
}

static uint32_t address_of(size_t offset)
{
    return (uint32_t)(LOADER_INFO + offset);
}

static void write_modules(const struct boot_parameters *parameters, struct multiboot_area *area)
{
    for (uint32_t i = 0; i < parameters->module_count; i++) {
        const struct boot_module *module = &parameters->modules[i];

        area->modules[i] = (struct module_entry){
            .start = (uint32_t)module->start, /* below 4 GiB: guest->initrd_limit is */
            .end = (uint32_t)(module->start + module->size),
            .name = address_of(offsetof(struct multiboot_area, names) + i * sizeof(area->names[0])),
        };
        (void)snprintf(area->names[i], sizeof(area->names[i]), "%s", boot_base_name(module->path));
    }
    area->info.module_count = parameters->module_count;
    area->info.modules = address_of(offsetof(struct multiboot_area, modules));
}

/* The map; and the RAM from 0 and from 1 MiB on, in KiB. */
static void write_map(const struct boot_map *map, struct multiboot_area *area)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const struct boot_map_entry *entry = &map->list[i];

        area->map[i] = (struct map_entry){sizeof(*entry), *entry};
        if (entry->type == BOOT_MAP_RAM && entry->start == 0) {
            area->info.memory_lower = (uint32_t)(entry->size / KIB);
        } else if (entry->type == BOOT_MAP_RAM && entry->start == MIB) {
            area->info.memory_upper = (uint32_t)(entry->size / KIB);
        }
    }
    area->info.map_size = map->count * (uint32_t)sizeof(area->map[0]);
    area->info.map = address_of(offsetof(struct multiboot_area, map));
}

void multiboot_write(const struct memory *memory, const struct boot_parameters *parameters)
{
    struct multiboot_area *area = memory_span(memory, gpa(LOADER_INFO), sizeof(*area));

    memset(area, 0, sizeof(*area));
    area->info.flags = TELLS_MEMORY | TELLS_CMDLINE | TELLS_MODULES | TELLS_MAP | TELLS_LOADER;
    area->info.cmdline = (uint32_t)LOADER_CMDLINE;
    area->info.loader_name = address_of(offsetof(struct multiboot_area, loader_name));
    memcpy(area->loader_name, "qvm", sizeof("qvm"));
    write_modules(parameters, area);
    write_map(&parameters->map, area);
}
