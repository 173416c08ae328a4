/* Sources: Linux Documentation/arch/x86/boot.rst; Xen's xen/include/public/arch-x86/hvm/
 * start_info.h; Multiboot Specification 0.6.96, 3.3. */
#include "tests/guests/bare/entered.h"

#include "tests/guests/bare/console.h"
#include "tests/guests/bare/layout.h"
#include "tests/guests/bare/machine.h"

#define PVH_MAGIC       0x336ec578U
#define MULTIBOOT_MAP   (1U << 6)
#define MULTIBOOT_MODS  (1U << 3)
#define MULTIBOOT_WORDS (1U << 2)
#define MODULES_MAX     16

struct pvh_module {
    uint64_t start, size, cmdline, reserved;
};

struct pvh_map {
    uint64_t start, size;
    uint32_t type, reserved;
};

struct pvh_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp, map;
    uint32_t map_count, reserved;
};

struct multiboot_module {
    uint32_t start, end, name, reserved;
};

struct multiboot_info {
    uint32_t flags, lower, upper, device, cmdline, module_count, modules, symbols[4];
    uint32_t map_size, map;
};

struct module {
    uint64_t start, size;
    const char *name;
};

static unsigned how;
static struct boot_params params __attribute__((section(".noinit")));
static struct module modules[MODULES_MAX];
static unsigned module_count;

static const char *const names[] = {
    [ENTERED_64] = "64-bit, zero page",
    [ENTERED_32] = "32-bit, zero page",
    [ENTERED_PVH] = "PVH",
    [ENTERED_MULTIBOOT] = "multiboot",
};

static void add_module(uint64_t start, uint64_t size, const char *name)
{
    if (module_count < MODULES_MAX) {
        modules[module_count].start = start;
        modules[module_count].size = size;
        modules[module_count].name = name;
        module_count++;
    }
}

static void add_map(uint64_t start, uint64_t size, uint32_t type)
{
    struct e820_entry *entry = &params.e820[params.e820_count];

    if (params.e820_count < E820_TABLE_MAX) {
        entry->start = start;
        entry->size = size;
        entry->type = type;
        params.e820_count++;
    }
}

static void clear_params(void)
{
    params.acpi_rsdp_addr = 0;
    params.e820_count = 0;
    params.cmdline = 0;
}

static void take_pvh(const struct pvh_info *info)
{
    const struct pvh_module *module = (const struct pvh_module *)info->modules;
    const struct pvh_map *map = (const struct pvh_map *)info->map;

    clear_params();
    if (info->magic != PVH_MAGIC || info->version < 1) {
        return;
    }
    params.acpi_rsdp_addr = info->rsdp;
    params.cmdline = (uint32_t)info->cmdline;
    for (uint32_t i = 0; i < info->map_count; i++) {
        add_map(map[i].start, map[i].size, map[i].type);
    }
    for (uint32_t i = 0; i < info->module_count; i++) {
        add_module(module[i].start, module[i].size, "without a name");
    }
}

static void take_multiboot(const struct multiboot_info *info)
{
    const struct multiboot_module *module =
        (const struct multiboot_module *)(uint64_t)info->modules;
    uint64_t at = info->map;

    clear_params();
    if ((info->flags & MULTIBOOT_WORDS) != 0) {
        params.cmdline = info->cmdline;
    }
    while ((info->flags & MULTIBOOT_MAP) != 0 && at < (uint64_t)info->map + info->map_size) {
        const struct e820_entry *entry = (const struct e820_entry *)(at + 4);

        add_map(entry->start, entry->size, entry->type);
        at += 4 + *(const uint32_t *)at;
    }
    for (uint32_t i = 0; (info->flags & MULTIBOOT_MODS) != 0 && i < info->module_count; i++) {
        add_module(module[i].start, module[i].end - module[i].start,
                   (const char *)(uint64_t)module[i].name);
    }
}

const struct boot_params *entered_note(unsigned entry, const void *info)
{
    const struct boot_params *page = info;

    how = entry;
    if (entry == ENTERED_PVH) {
        take_pvh(info);
        return &params;
    }
    if (entry == ENTERED_MULTIBOOT) {
        take_multiboot(info);
        return &params;
    }
    if (page->ramdisk_size != 0) {
        add_module(page->ramdisk_image, page->ramdisk_size, "initrd");
    }
    return page;
}

void entered_print(void)
{
    print("entered: %s, %u modules\n", names[how % ARRAY_LEN(names)], (uint64_t)module_count);
    for (unsigned i = 0; i < module_count; i++) {
        const uint8_t *bytes = (const uint8_t *)modules[i].start;
        uint64_t sum = 0;

        for (uint64_t n = 0; n < modules[i].size; n++) {
            sum += bytes[n];
        }
        print("module %s: %u bytes, sum %u\n", modules[i].name, modules[i].size, sum);
    }
}
