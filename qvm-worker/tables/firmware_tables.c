/* ACPI tables for firmware. */
#include "qvm-worker/tables/firmware_tables.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/tables/firmware_files.h"

#define FILE_RSDP   "etc/acpi/rsdp"
#define FILE_TABLES FIRMWARE_TABLES_FILE
#define FILE_SCRIPT "etc/table-loader"

/* ACPI 6.5: 5.2.5.3 (RSDP), 5.2.6 (header), 5.2.8 (XSDT), 5.2.9 (FADT), 5.2.10 (FACS). */
#define RSDP_SIZE       36u
#define RSDP_V1_SIZE    20u
#define RSDP_XSDT       24u
#define RSDP_CHECKSUM   8u
#define RSDP_CHECKSUM_2 32u
#define HEADER_SIZE     36u
#define TABLE_LENGTH    4u
#define TABLE_CHECKSUM  9u
#define FADT_FACS       36u
#define FADT_DSDT       40u
#define FADT_X_DSDT     140u

#define GROWTH_MAX    256u /* windows that are told once they are somewhere */
#define PAGE          4096u
#define COMMANDS_MAX  128u
#define TABLES_ALIGN  64u /* of the FACS */
#define RSDP_ALIGN    16u
#define ZONE_HIGH     1u
#define ZONE_FSEG     2u
#define POINTER_32BIT 4u
#define POINTER_64BIT 8u

enum { COMMAND_ALLOCATE = 1, COMMAND_POINTER = 2, COMMAND_CHECKSUM = 3 };

struct command {
    uint32_t command;
    union {
        struct {
            char file[FIRMWARE_FILE_NAME_SIZE];
            uint32_t align;
            uint8_t zone;
        } __attribute__((packed)) allocate;
        struct {
            char in[FIRMWARE_FILE_NAME_SIZE], to[FIRMWARE_FILE_NAME_SIZE];
            uint32_t offset;
            uint8_t size;
        } __attribute__((packed)) pointer;
        struct {
            char file[FIRMWARE_FILE_NAME_SIZE];
            uint32_t at, start, size;
        } __attribute__((packed)) checksum;
        uint8_t room[124];
    };
} __attribute__((packed));

_Static_assert(sizeof(struct command) == 128, "as firmware reads it");

struct script {
    uint8_t *area;
    uint32_t size; /* that the tables take: the XSDT is the last of them */
    uint32_t count;
    bool is_full;
    struct command nowhere; /* for those that find no room */
    struct command list[COMMANDS_MAX];
};

static struct command *next(struct script *script, uint32_t command)
{
    struct command *to = &script->nowhere;

    if (script->count == COMMANDS_MAX) {
        script->is_full = true;
    } else {
        to = &script->list[script->count++];
    }
    memset(to, 0, sizeof(*to));
    to->command = command;
    return to;
}

static void allocate(struct script *script, const char *file, uint32_t align, uint8_t zone)
{
    struct command *command = next(script, COMMAND_ALLOCATE);

    (void)snprintf(command->allocate.file, FIRMWARE_FILE_NAME_SIZE, "%s", file);
    command->allocate.align = align;
    command->allocate.zone = zone;
}

/* The pointer at `offset` of a file points into the tables. */
static void relocate(struct script *script, const char *in, uint32_t offset, uint8_t size)
{
    struct command *command = next(script, COMMAND_POINTER);

    (void)snprintf(command->pointer.in, FIRMWARE_FILE_NAME_SIZE, "%s", in);
    (void)snprintf(command->pointer.to, FIRMWARE_FILE_NAME_SIZE, "%s", FILE_TABLES);
    command->pointer.offset = offset;
    command->pointer.size = size;
}

/* The sum is zero until firmware makes it: SeaBIOS adds to what is there, EDK II does not look. */
static void sum_up(struct script *script, const char *file, uint32_t at, uint32_t start,
                   uint32_t size)
{
    struct command *command = next(script, COMMAND_CHECKSUM);

    script->area[at] = 0;
    (void)snprintf(command->checksum.file, FIRMWARE_FILE_NAME_SIZE, "%s", file);
    command->checksum.at = at;
    command->checksum.start = start;
    command->checksum.size = size;
}

static uint32_t word(const struct script *script, uint32_t at)
{
    uint32_t value;

    memcpy(&value, script->area + at, sizeof(value));
    return value;
}

/* The tables are our own: their lengths are right. */
static uint32_t table_length(const struct script *script, uint32_t table)
{
    return word(script, table + TABLE_LENGTH);
}

static void add_fadt(struct script *script, uint32_t table)
{
    if (word(script, table + FADT_FACS) != 0) {
        relocate(script, FILE_TABLES, table + FADT_FACS, POINTER_32BIT);
    }
    relocate(script, FILE_TABLES, table + FADT_DSDT, POINTER_32BIT);
    relocate(script, FILE_TABLES, table + FADT_X_DSDT, POINTER_64BIT);
    sum_up(script, FILE_TABLES, table + TABLE_CHECKSUM, table, table_length(script, table));
}

static void add_xsdt(struct script *script, uint32_t xsdt)
{
    uint32_t length = table_length(script, xsdt);

    for (uint32_t at = xsdt + HEADER_SIZE; at < xsdt + length; at += POINTER_64BIT) {
        uint32_t table = word(script, at);

        relocate(script, FILE_TABLES, at, POINTER_64BIT);
        if (memcmp(script->area + table, "FACP", 4) == 0) {
            add_fadt(script, table);
        }
    }
    sum_up(script, FILE_TABLES, xsdt + TABLE_CHECKSUM, xsdt, length);
    script->size = xsdt + length;
}

static void make(struct script *script)
{
    allocate(script, FILE_RSDP, RSDP_ALIGN, ZONE_FSEG);
    allocate(script, FILE_TABLES, TABLES_ALIGN, ZONE_HIGH);
    add_xsdt(script, word(script, RSDP_XSDT));
    relocate(script, FILE_RSDP, RSDP_XSDT, POINTER_64BIT);
    sum_up(script, FILE_RSDP, RSDP_CHECKSUM, 0, RSDP_V1_SIZE);
    sum_up(script, FILE_RSDP, RSDP_CHECKSUM_2, 0, RSDP_SIZE);
}

int firmware_tables_add(struct firmware_files *files, uint8_t *area, uint32_t size, struct err *err)
{
    struct script script = {.area = area};
    int r;

    make(&script);
    if (script.is_full) {
        return err_set(err, -ENOSPC, "too many ACPI tables for firmware");
    }
    size = size != 0 ? size : (script.size + GROWTH_MAX + PAGE - 1) / PAGE * PAGE;
    if (script.size > size) {
        return err_set(err, -ENOSPC,
                       "firmware's ACPI tables have grown by more than there is room");
    }
    r = firmware_files_add(files, FILE_RSDP, area, RSDP_SIZE, err);
    r = r == 0 ? firmware_files_add(files, FILE_TABLES, area, size, err) : r;
    return r == 0 ? firmware_files_add(files, FILE_SCRIPT, script.list,
                                       script.count * (uint32_t)sizeof(script.list[0]), err)
                  : r;
}
