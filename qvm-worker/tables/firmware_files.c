/* What firmware may ask the VM for. */
#include "qvm-worker/tables/firmware_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/loader/boot.h"
#include "qvm-worker/machine/acpi.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/tables/firmware_tables.h"
#include "qvm-worker/tables/smbios.h"

#define ACPI_SIZE (264u << 10) /* room for all tables; what is left over is cut */
#define ACPI_MOST (256u << 10)

int firmware_files_add(struct firmware_files *files, const char *name, const void *bytes,
                       uint32_t size, struct err *err)
{
    struct firmware_file *file = &files->list[files->count];

    if (files->count == FIRMWARE_FILES_MAX) {
        return err_set(err, -ENOSPC, "no room for the firmware's file '%s'", name);
    }
    file->bytes = malloc(size);
    if (file->bytes == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    memcpy(file->bytes, bytes, size);
    file->size = size;
    files->count++;
    return 0;
}

void firmware_files_fini(struct firmware_files *files)
{
    for (uint32_t i = 0; i < files->count; i++) {
        free(files->list[i].bytes);
    }
    files->count = 0;
}

/* Linux's e820 entries; SeaBIOS and OVMF read them (QEMU: hw/i386/fw_cfg.c). */
static int add_map(struct firmware_files *files, const struct firmware_facts *facts,
                   struct err *err)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(facts->memory, &count);
    struct boot_map map = {0};

    for (uint32_t i = 0; i < count; i++) { /* firmware cuts the first MiB by itself */
        uint64_t end = regions[i].start + regions[i].size;
        struct boot_map_entry *last = map.count > 0 ? &map.list[map.count - 1] : NULL;

        if (last != NULL && regions[i].start <= MEMORY_FIRMWARE_END) {
            last->size = end - last->start;
        } else {
            map.list[map.count++] =
                (struct boot_map_entry){regions[i].start, regions[i].size, BOOT_MAP_RAM};
        }
    }
    map.list[map.count++] =
        (struct boot_map_entry){facts->reserved_start, facts->reserved_size, BOOT_MAP_RESERVED};
    return firmware_files_add(files, "etc/e820", map.list,
                              map.count * (uint32_t)sizeof(map.list[0]), err);
}

static int add_smbios(struct firmware_files *files, const struct firmware_facts *facts,
                      struct err *err)
{
    uint8_t anchor[SMBIOS_ANCHOR_SIZE];
    struct smbios tables;
    int r;

    smbios_build(facts->smbios, &tables);
    smbios_anchor(&tables, 0, anchor);
    r = firmware_files_add(files, "etc/smbios/smbios-anchor", anchor, sizeof(anchor), err);
    return r == 0 ? firmware_files_add(files, "etc/smbios/smbios-tables", tables.bytes, tables.size,
                                       err)
                  : r;
}

/* 0: there is none. */
static uint32_t size_of(const struct firmware_files *files, const char *name)
{
    for (uint32_t i = 0; i < files->count; i++) {
        if (strcmp(files->list[i].name, name) == 0) {
            return files->list[i].size;
        }
    }
    return 0;
}

static int add_acpi(struct firmware_files *files, const struct firmware_facts *facts,
                    uint32_t tables_size, struct err *err)
{
    auto_free uint8_t *area = calloc(1, ACPI_SIZE);
    int r;

    if (area == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = machine_acpi_build(facts->acpi, area, 0, ACPI_MOST, err);
    return r == 0 ? firmware_tables_add(files, area, tables_size, err) : r;
}

int firmware_files_make(struct firmware_files *files, const struct firmware_facts *facts,
                        struct err *err)
{
    uint32_t tables_size = size_of(files, FIRMWARE_TABLES_FILE);
    int r;

    firmware_files_fini(files);
    r = add_map(files, facts, err);
    r = r == 0 ? add_smbios(files, facts, err) : r;
    return r == 0 ? add_acpi(files, facts, tables_size, err) : r;
}
