/* What a bootimage finds. */
#include "qvm-worker/loader/boot.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "qvm-worker/loader/guest.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/loader/multiboot.h"
#include "qvm-worker/loader/pvh.h"
#include "qvm-worker/memory/memory.h"

/* The zero page: Documentation/arch/x86/zero-page.rst. */
#define ZERO_PAGE_SIZE   4096u
#define ACPI_POINTER     0x070u
#define MAP_COUNT        0x1e8u
#define TYPE_OF_LOADER   0x210u
#define INITRD_START     0x218u
#define INITRD_SIZE      0x21cu
#define CMDLINE_POINTER  0x228u
#define MAP_START        0x2d0u
#define LOADER_UNDEFINED 0xffu

#define BASE_RAM_END 0x9fc00ull /* a PC's extended BIOS data area begins here */
#define BASE_TOP     0xa0000ull

#define PAGE_SIZE    4096u
#define TABLE_COUNT  512u
#define PAGE_PRESENT 0x03ull /* and writable */
#define PAGE_LARGE   0x83ull /* and 2 MiB of it */

static void add_map(struct boot_map *map, uint64_t start, uint64_t end, uint32_t type)
{
    struct boot_map_entry *last = map->count > 0 ? &map->list[map->count - 1] : NULL;

    if (start >= end || map->count == BOOT_MAP_MAX) {
        return;
    }
    if (last != NULL && last->type == type && last->start + last->size == start) {
        last->size += end - start;
    } else {
        map->list[map->count++] = (struct boot_map_entry){start, end - start, type};
    }
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void boot_make_map(const struct memory *memory, const struct boot_range *reserved,
                   uint32_t reserved_count, struct boot_map *map)
{
    uint32_t region_count = 0;
    const struct memory_region *regions = memory_regions(memory, &region_count);
    uint32_t told = 0; /* of the reserved ones */

    map->count = 0;
    for (uint32_t i = 0; i < region_count; i++) {
        uint64_t start = regions[i].start, end = start + regions[i].size;

        for (; told < reserved_count && start >= reserved[told].start; told++) {
            add_map(map, reserved[told].start, reserved[told].start + reserved[told].size,
                    BOOT_MAP_RESERVED);
        }
        if (!regions[i].is_ram) {
            add_map(map, start, end, BOOT_MAP_RESERVED);
        } else if (start < BASE_TOP) {
            add_map(map, start, min_u64(end, BASE_RAM_END), BOOT_MAP_RAM);
            add_map(map, max_u64(start, BASE_RAM_END), end, BOOT_MAP_RESERVED);
        } else if (start >= MEMORY_FIRMWARE_END) {
            add_map(map, start, end, BOOT_MAP_RAM);
        }
    }
    for (; told < reserved_count; told++) {
        add_map(map, reserved[told].start, reserved[told].start + reserved[told].size,
                BOOT_MAP_RESERVED);
    }
}

static void put(uint8_t *page, uint32_t at, uint64_t value, uint32_t size)
{
    memcpy(page + at, &value, size);
}

static void write_zero_page(const struct memory *memory, const struct boot_parameters *parameters)
{
    const struct guest_boot *guest = parameters->guest;
    const struct boot_map *map = &parameters->map;
    uint8_t page[ZERO_PAGE_SIZE] = {0};

    memcpy(page + LINUX_HEADER_START, guest->header, guest->header_size);
    put(page, TYPE_OF_LOADER, LOADER_UNDEFINED, 1);
    put(page, CMDLINE_POINTER, LOADER_CMDLINE, 4);
    if (parameters->module_count > 0) { /* below 4 GiB: guest->initrd_limit is */
        put(page, INITRD_START, parameters->modules[0].start, 4);
        put(page, INITRD_SIZE, parameters->modules[0].size, 4);
    } else {
        put(page, INITRD_START, 0, 8);
    }
    put(page, ACPI_POINTER, LOADER_ACPI_START, 8);
    put(page, MAP_COUNT, map->count, 1);
    memcpy(page + MAP_START, map->list, map->count * sizeof(map->list[0]));
    (void)memory_copy_in(memory, gpa(LOADER_ZERO_PAGE), page, sizeof(page)); /* always there */
}

/* The first 4 GiB where they are, in pages of 2 MiB: one table of each upper level, four below. */
static void write_page_tables(const struct memory *memory)
{
    uint64_t *table = memory_span(memory, gpa(LOADER_PAGE_TABLES), 6 * PAGE_SIZE);

    memset(table, 0, 2 * PAGE_SIZE);
    table[0] = (LOADER_PAGE_TABLES + PAGE_SIZE) | PAGE_PRESENT;
    for (uint64_t i = 0; i < 4; i++) {
        table[TABLE_COUNT + i] = (LOADER_PAGE_TABLES + (2 + i) * PAGE_SIZE) | PAGE_PRESENT;
    }
    for (uint64_t i = 0; i < 4 * TABLE_COUNT; i++) {
        table[2 * TABLE_COUNT + i] = i << 21 | PAGE_LARGE;
    }
}

static void write_gdt(const struct memory *memory, bool is_32bit)
{
    const uint64_t gdt[LOADER_GDT_SIZE / 8] = {
        0,
        0,
        is_32bit ? 0x00cf9b000000ffff : 0x00af9b000000ffff /* code */,
        0x00cf93000000ffff /* data */,
        0x008f8b000000ffff /* task */,
    };

    (void)memory_copy_in(memory, gpa(LOADER_GDT), gdt, sizeof(gdt)); /* always there */
}

const char *boot_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* A multiboot image finds its own name before the words. */
static void write_cmdline(const struct memory *memory, const struct boot_parameters *parameters)
{
    bool has_name = parameters->guest->protocol == GUEST_MULTIBOOT;
    char *to = memory_span(memory, gpa(LOADER_CMDLINE), LOADER_CMDLINE_SIZE);

    (void)snprintf(to, LOADER_CMDLINE_SIZE, "%.*s%s%s", has_name ? (int)BOOT_NAME_MAX : 0,
                   boot_base_name(parameters->guest->name), has_name ? " " : "",
                   parameters->cmdline);
}

void boot_write(const struct memory *memory, const struct boot_parameters *parameters,
                struct loader_entry *entry)
{
    const struct guest_boot *guest = parameters->guest;

    if (guest->protocol == GUEST_FIRMWARE) {
        *entry = (struct loader_entry){.is_firmware = true, .address = guest->entry};
        return;
    }
    *entry = (struct loader_entry){.is_32bit = guest->is_32bit, .address = guest->entry};
    write_cmdline(memory, parameters);
    write_gdt(memory, guest->is_32bit);
    switch (guest->protocol) {
    case GUEST_ZERO_PAGE:
        write_zero_page(memory, parameters);
        write_page_tables(memory);
        entry->esi = LOADER_ZERO_PAGE;
        break;
    case GUEST_PVH:
        pvh_write(memory, parameters);
        entry->ebx = LOADER_INFO;
        break;
    case GUEST_MULTIBOOT:
        multiboot_write(memory, parameters);
        entry->eax = MULTIBOOT_MAGIC;
        entry->ebx = LOADER_INFO;
        break;
    case GUEST_FIRMWARE:
        break;
    }
}
