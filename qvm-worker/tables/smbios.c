/* The SMBIOS tables of a guest. */
#include "qvm-worker/tables/smbios.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "qvm-worker/loader/loader.h"
#include "qvm-worker/memory/memory.h"

#define VERSION_MAJOR 3u
#define VERSION_MINOR 0u /* what we have of each structure is in 3.0 already */

#define TYPE_FIRMWARE  0u
#define TYPE_SYSTEM    1u
#define TYPE_CHASSIS   3u
#define TYPE_PROCESSOR 4u
#define TYPE_ARRAY     16u
#define TYPE_DEVICE    17u
#define TYPE_MAPPED    19u
#define TYPE_BOOT      32u
#define TYPE_END       127u

#define NO_HANDLE    0xfffeu
#define UNKNOWN      2u
#define OTHER        1u
#define KIB_OF(size) ((size) >> 10)
#define MIB_OF(size) ((size) >> 20)
#define MIB_LIMIT    0x7fffu /* of a 16-bit size; what is larger stands in its extended field */
#define KIB_LIMIT    0x80000000u
#define CORES_LIMIT  0xffu
#define NAME_MAX_    64u

#define UUID_TEXT_SIZE 36u

static const char maker[] = "QVM";

static void put(uint8_t *at, uint64_t value, uint32_t size)
{
    memcpy(at, &value, size);
}

/* Begin a structure: `size` bytes, zeroed, of which the header is filled in. Handles are types. */
static uint8_t *begin(struct smbios *tables, uint8_t type, uint8_t size)
{
    uint8_t *at = tables->bytes + tables->size;

    memset(at, 0, size);
    at[0] = type;
    at[1] = size;
    put(at + 2, (uint64_t)type << 8, 2);
    tables->size += size;
    tables->count++;
    return at;
}

/* End the structure at `from` with its strings, in the order of their numbers; NULL ends them. */
static void end(struct smbios *tables, const uint8_t *from, const char *const *strings)
{
    uint32_t first = tables->size;
    uint32_t whole;

    for (; *strings != NULL; strings++) {
        uint32_t size = (uint32_t)strlen(*strings) + 1;

        memcpy(tables->bytes + tables->size, *strings, size);
        tables->size += size;
    }
    if (tables->size == first) { /* 6.1.3: without strings two zeroes */
        tables->bytes[tables->size++] = 0;
    }
    tables->bytes[tables->size++] = 0;
    whole = (uint32_t)(tables->bytes + tables->size - from);
    tables->largest = whole > tables->largest ? (uint16_t)whole : tables->largest;
}

/* 128 bits of the name, as a UUID of version 8 (RFC 9562, 5.8): the same name has the same one. */
static void make_uuid(const char *name, uint8_t uuid[16])
{
    static const uint64_t seeds[2] = {0xcbf29ce484222325, 0x84222325cbf29ce4};

    for (int half = 0; half < 2; half++) {
        uint64_t hash = seeds[half]; /* FNV-1a */

        for (const char *at = name; *at != '\0'; at++) {
            hash = (hash ^ (uint8_t)*at) * 0x100000001b3;
        }
        hash ^= hash >> 29;
        hash *= 0xbf58476d1ce4e5b9;
        put(uuid + 8 * half, hash, 8);
    }
    uuid[7] = (uint8_t)((uuid[7] & 0x0f) | 0x80); /* 7.2.1: this half is little-endian */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

static void add_firmware(struct smbios *tables)
{
    uint8_t *at = begin(tables, TYPE_FIRMWARE, 24);

    at[4] = 1;
    at[5] = 2;
    at[8] = 3;
    put(at + 10, 1u << 3, 8);      /* no characteristics are told */
    put(at + 18, 1u << 4 << 8, 2); /* a virtual machine */
    at[20] = at[21] = at[22] = at[23] = 0xff;
    end(tables, at, (const char *const[]){maker, "1", "01/01/2026", NULL});
}

int smbios_parse_uuid(const char *text, uint8_t uuid[16])
{
    /* where its bytes stand: the first three fields are little-endian */
    static const uint8_t places[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    static const char digits[] = "0123456789abcdef";
    uint32_t count = 0;

    if (strlen(text) != UUID_TEXT_SIZE) {
        return -EINVAL;
    }
    for (uint32_t i = 0; i < UUID_TEXT_SIZE; i++) {
        const char *digit = memchr(digits, tolower((unsigned char)text[i]), sizeof(digits) - 1);
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (is_dash != (text[i] == '-') || (!is_dash && digit == NULL)) {
            return -EINVAL;
        }
        if (!is_dash) {
            uint8_t *byte = &uuid[places[count++ / 2]];

            *byte = (uint8_t)(*byte << 4 | (digit - digits));
        }
    }
    return 0;
}

static const char *text_or(const char *text, const char *other)
{
    return text != NULL ? text : other;
}

static void add_system(struct smbios *tables, const char *name,
                       const struct smbios_identity *identity)
{
    uint8_t *at = begin(tables, TYPE_SYSTEM, 27);

    at[4] = 1;
    at[5] = 2;
    at[7] = 3; /* serial number */
    if (identity->uuid == NULL || smbios_parse_uuid(identity->uuid, at + 8) != 0) {
        make_uuid(name, at + 8);
    }
    at[24] = 6; /* woken by the power switch */
    end(tables, at,
        (const char *const[]){text_or(identity->manufacturer, maker),
                              text_or(identity->product, "virtual machine"),
                              text_or(identity->serial, name), NULL});
}

static void add_chassis(struct smbios *tables, const struct smbios_identity *identity)
{
    uint8_t *at = begin(tables, TYPE_CHASSIS, 22);

    at[4] = 1;
    at[5] = OTHER;
    at[9] = at[10] = at[11] = 3; /* safe */
    at[12] = UNKNOWN;
    end(tables, at, (const char *const[]){text_or(identity->manufacturer, maker), NULL});
}

static uint8_t cut(uint32_t count)
{
    return (uint8_t)(count < CORES_LIMIT ? count : CORES_LIMIT);
}

/* A package, as CPUID has it. */
static void add_processor(struct smbios *tables, const struct topology *cpus, uint8_t number)
{
    uint32_t cores = topology_cores(cpus), threads = cores * topology_threads(cpus);
    uint8_t *at = begin(tables, TYPE_PROCESSOR, 48);
    char name[16];

    (void)snprintf(name, sizeof(name), "CPU %u", number);
    at[2] = number;
    at[4] = 1;
    at[5] = 3; /* central */
    at[6] = UNKNOWN;
    at[7] = 2;
    at[24] = 0x41; /* populated, enabled */
    at[25] = OTHER;
    put(at + 26, UINT32_MAX, 4); /* no structures of caches */
    put(at + 30, UINT16_MAX, 2);
    at[35] = at[36] = cut(cores);
    at[37] = cut(threads);
    put(at + 38, 1u << 2, 2); /* 64-bit */
    put(at + 40, UNKNOWN, 2);
    put(at + 42, cores, 2);
    put(at + 44, cores, 2);
    put(at + 46, threads, 2);
    end(tables, at, (const char *const[]){name, maker, NULL});
}

static void add_memory(struct smbios *tables, uint64_t size)
{
    uint8_t *at = begin(tables, TYPE_ARRAY, 23);
    bool is_large = KIB_OF(size) >= KIB_LIMIT;

    at[4] = OTHER;
    at[5] = 3; /* system memory */
    at[6] = 6; /* multi-bit error correction: the host's concern */
    put(at + 7, is_large ? KIB_LIMIT : KIB_OF(size), 4);
    put(at + 11, NO_HANDLE, 2);
    put(at + 13, 1, 2);
    put(at + 15, is_large ? size : 0, 8);
    end(tables, at, (const char *const[]){NULL});

    at = begin(tables, TYPE_DEVICE, 40);
    put(at + 4, TYPE_ARRAY << 8, 2);
    put(at + 6, NO_HANDLE, 2);
    put(at + 8, UINT16_MAX, 2);
    put(at + 10, UINT16_MAX, 2);
    is_large = MIB_OF(size) >= MIB_LIMIT;
    put(at + 12, is_large ? MIB_LIMIT : MIB_OF(size), 2);
    at[14] = 9; /* DIMM */
    at[16] = 1;
    at[18] = 7;               /* RAM */
    put(at + 19, 1u << 1, 2); /* other */
    put(at + 28, is_large ? MIB_OF(size) : 0, 4);
    end(tables, at, (const char *const[]){"DIMM 0", NULL});
}

/* One structure for RAM below and one above the devices. */
static void add_mapped(struct smbios *tables, uint64_t start, uint64_t size, uint8_t number)
{
    uint8_t *at;

    if (size == 0) {
        return;
    }
    at = begin(tables, TYPE_MAPPED, 31);
    at[2] = number;
    if (KIB_OF(start + size - 1) < UINT32_MAX) {
        put(at + 4, KIB_OF(start), 4);
        put(at + 8, KIB_OF(start + size - 1), 4);
    } else {
        put(at + 4, UINT32_MAX, 4);
        put(at + 8, UINT32_MAX, 4);
        put(at + 15, start, 8);
        put(at + 23, start + size - 1, 8);
    }
    put(at + 12, TYPE_ARRAY << 8, 2);
    at[14] = 1;
    end(tables, at, (const char *const[]){NULL});
}

void smbios_build(const struct smbios_config *config, struct smbios *tables)
{
    static const struct smbios_identity nothing;
    const struct smbios_identity *identity = config->identity != NULL ? config->identity : &nothing;
    const struct memory *memory = config->memory;
    uint32_t packages = topology_packages(&config->cpus);
    char name[NAME_MAX_];
    uint8_t *at;

    (void)snprintf(name, sizeof(name), "%s", config->name);
    memset(tables, 0, sizeof(*tables));
    add_firmware(tables);
    add_system(tables, name, identity);
    add_chassis(tables, identity);
    for (uint32_t i = 0; i < packages && i < SMBIOS_PACKAGES_MAX; i++) {
        add_processor(tables, &config->cpus, (uint8_t)i);
    }
    add_memory(tables, memory_size(memory));
    add_mapped(tables, 0, memory_size_below_4g(memory), 0);
    add_mapped(tables, MEMORY_DEVICES_END, memory_size_above_4g(memory), 1);
    at = begin(tables, TYPE_BOOT, 11); /* no errors */
    end(tables, at, (const char *const[]){NULL});
    at = begin(tables, TYPE_END, 4);
    end(tables, at, (const char *const[]){NULL});
}

static void set_checksum(uint8_t *bytes, uint32_t size, uint32_t at)
{
    uint8_t sum = 0;

    bytes[at] = 0;
    for (uint32_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + bytes[i]);
    }
    bytes[at] = (uint8_t)-sum;
}

void smbios_anchor(const struct smbios *tables, uint32_t address,
                   uint8_t anchor[SMBIOS_ANCHOR_SIZE])
{
    memset(anchor, 0, SMBIOS_ANCHOR_SIZE);
    memcpy(anchor, "_SM_", 4);
    anchor[5] = SMBIOS_ANCHOR_SIZE;
    anchor[6] = VERSION_MAJOR;
    anchor[7] = VERSION_MINOR;
    put(anchor + 8, tables->largest, 2);
    memcpy(anchor + 16, "_DMI_", 5);
    put(anchor + 22, tables->size, 2);
    put(anchor + 24, address, 4);
    put(anchor + 28, tables->count, 2);
    anchor[30] = VERSION_MAJOR << 4 | VERSION_MINOR;
    set_checksum(anchor + 16, SMBIOS_ANCHOR_SIZE - 16, 5);
    set_checksum(anchor, SMBIOS_ANCHOR_SIZE, 4);
}

void smbios_anchor_3(const struct smbios *tables, uint64_t address, uint8_t anchor[SMBIOS_ANCHOR_3])
{
    memset(anchor, 0, SMBIOS_ANCHOR_3);
    memcpy(anchor, "_SM3_", 5);
    anchor[6] = SMBIOS_ANCHOR_3;
    anchor[7] = VERSION_MAJOR;
    anchor[8] = VERSION_MINOR;
    anchor[10] = 1;
    put(anchor + 12, tables->size, 4);
    put(anchor + 16, address, 8);
    set_checksum(anchor, SMBIOS_ANCHOR_3, 5);
}

void smbios_write(const struct smbios *tables, const struct memory *memory)
{
    uint8_t *area = memory_span(memory, gpa(LOADER_SMBIOS), LOADER_SMBIOS_SIZE); /* always there */

    memset(area, 0, LOADER_SMBIOS_SIZE);
    smbios_anchor(tables, (uint32_t)LOADER_SMBIOS + LOADER_SMBIOS_TABLES, area);
    smbios_anchor_3(tables, LOADER_SMBIOS + LOADER_SMBIOS_TABLES, area + 32);
    memcpy(area + LOADER_SMBIOS_TABLES, tables->bytes, tables->size);
}
