/* ACPI's byte code. */
#include "qvm-worker/tables/aml.h"

#include <stdlib.h>
#include <string.h>

#define OP_ONE      0x01u
#define OP_NAME     0x08u
#define OP_BYTE     0x0au
#define OP_WORD     0x0bu
#define OP_DWORD    0x0cu
#define OP_STRING   0x0du
#define OP_SCOPE    0x10u
#define OP_BUFFER   0x11u
#define OP_PACKAGE  0x12u
#define OP_METHOD   0x14u
#define OP_EXTENDED 0x5bu
#define OP_DEVICE   0x82u

#define METHOD_SERIALIZED 0x08u

#define LENGTH_SIZE 3u /* a package length of three bytes: up to 1 MiB */

#define EISA_LENGTH 7u
#define ISA_LINES   16u

#define RESOURCE_IRQ         0x22u
#define RESOURCE_IO          0x47u
#define RESOURCE_END         0x79u
#define RESOURCE_EXTENDED    0x89u
#define RESOURCE_MEMORY      0x86u
#define RESOURCE_DWORD_SPACE 0x87u
#define RESOURCE_WORD_SPACE  0x88u
#define RESOURCE_QWORD_SPACE 0x8au

void aml_bytes(struct aml *aml, const void *bytes, uint32_t size)
{
    if (aml->is_full || size > aml->room - aml->size) {
        aml->is_full = true;
        return;
    }
    memcpy(aml->bytes + aml->size, bytes, size);
    aml->size += size;
}

static void put(struct aml *aml, uint64_t value, uint32_t size)
{
    aml_bytes(aml, &value, size);
}

/* Leave room for a length; it counts itself. */
static uint32_t open_length(struct aml *aml)
{
    uint32_t at = aml->size;

    put(aml, 0, LENGTH_SIZE);
    return at;
}

void aml_close(struct aml *aml, uint32_t opened)
{
    uint32_t length = aml->size - opened;

    if (!aml->is_full) {
        aml->bytes[opened] = (uint8_t)(0x80u | (length & 0xf));
        aml->bytes[opened + 1] = (uint8_t)(length >> 4);
        aml->bytes[opened + 2] = (uint8_t)(length >> 12);
    }
}

uint32_t aml_open_scope(struct aml *aml, const char *path)
{
    uint32_t opened;

    put(aml, OP_SCOPE, 1);
    opened = open_length(aml);
    aml_bytes(aml, path, (uint32_t)strlen(path));
    return opened;
}

uint32_t aml_open_device(struct aml *aml, const char *name)
{
    uint32_t opened;

    put(aml, OP_EXTENDED | OP_DEVICE << 8, 2);
    opened = open_length(aml);
    aml_bytes(aml, name, 4);
    return opened;
}

uint32_t aml_open_method(struct aml *aml, const char *name, uint32_t argument_count)
{
    uint32_t opened;

    put(aml, OP_METHOD, 1);
    opened = open_length(aml);
    aml_bytes(aml, name, 4);
    put(aml, METHOD_SERIALIZED | argument_count, 1);
    return opened;
}

uint32_t aml_open_package(struct aml *aml, uint32_t element_count)
{
    uint32_t opened;

    put(aml, OP_PACKAGE, 1);
    opened = open_length(aml);
    put(aml, element_count, 1);
    return opened;
}

uint32_t aml_open_resources(struct aml *aml)
{
    uint32_t opened;

    aml_name(aml, "_CRS");
    put(aml, OP_BUFFER, 1);
    opened = open_length(aml);
    put(aml, OP_WORD, 1);
    put(aml, 0, 2); /* the buffer's size, when it is known */
    return opened;
}

void aml_close_resources(struct aml *aml, uint32_t opened)
{
    uint32_t size;

    put(aml, RESOURCE_END, 2); /* its checksum of 0 counts as right */
    size = aml->size - opened - LENGTH_SIZE - 3;
    if (!aml->is_full) {
        aml->bytes[opened + LENGTH_SIZE + 1] = (uint8_t)size;
        aml->bytes[opened + LENGTH_SIZE + 2] = (uint8_t)(size >> 8);
    }
    aml_close(aml, opened);
}

void aml_name(struct aml *aml, const char *name)
{
    put(aml, OP_NAME, 1);
    aml_bytes(aml, name, 4);
}

void aml_integer(struct aml *aml, uint32_t value)
{
    if (value <= OP_ONE) {
        put(aml, value, 1); /* ZeroOp and OneOp are their own values */
    } else if (value <= UINT8_MAX) {
        put(aml, OP_BYTE, 1);
        put(aml, value, 1);
    } else if (value <= UINT16_MAX) {
        put(aml, OP_WORD, 1);
        put(aml, value, 2);
    } else {
        put(aml, OP_DWORD, 1);
        put(aml, value, 4);
    }
}

void aml_string(struct aml *aml, const char *text)
{
    put(aml, OP_STRING, 1);
    aml_bytes(aml, text, (uint32_t)strlen(text) + 1);
}

/* "PNP0C0C": three letters of five bits, four hexadecimal digits; big-endian in memory. */
static uint32_t eisa_id(const char *id)
{
    uint32_t letters =
        (uint32_t)(id[0] - '@') << 10 | (uint32_t)(id[1] - '@') << 5 | (uint32_t)(id[2] - '@');

    return __builtin_bswap32(letters << 16 | (uint32_t)strtoul(id + 3, NULL, 16));
}

void aml_eisa_id(struct aml *aml, const char *id)
{
    put(aml, OP_DWORD, 1);
    put(aml, eisa_id(id), 4);
}

void aml_hid(struct aml *aml, const char *hid)
{
    aml_name(aml, "_HID");
    if (strncmp(hid, "PNP", 3) == 0 && strlen(hid) == EISA_LENGTH) {
        aml_eisa_id(aml, hid);
    } else {
        aml_string(aml, hid);
    }
}

void aml_resource_io(struct aml *aml, uint16_t start, uint8_t size)
{
    put(aml, RESOURCE_IO, 1);
    put(aml, 1, 1); /* all 16 address lines are decoded */
    put(aml, start, 2);
    put(aml, start, 2);
    put(aml, 1, 1); /* alignment */
    put(aml, size, 1);
}

/* ACPI 6.4, 6.4.3.6: bit 0 consumer, 1 edge, 2 active low, 3 shared. */
static uint8_t irq_flags(uint32_t gsi, bool is_level)
{
    if (!is_level) {
        return 3;
    }
    return gsi < ISA_LINES ? 1 : 13;
}

void aml_resource_irq(struct aml *aml, uint32_t gsi, bool is_level)
{
    if (gsi < ISA_LINES && !is_level) {
        put(aml, RESOURCE_IRQ, 1); /* without flags: edge, active high, exclusive */
        put(aml, 1u << gsi, 2);
    } else {
        put(aml, RESOURCE_EXTENDED, 1);
        put(aml, 6, 2); /* length */
        put(aml, irq_flags(gsi, is_level), 1);
        put(aml, 1, 1); /* one line */
        put(aml, gsi, 4);
    }
}

void aml_resource_memory(struct aml *aml, uint32_t start, uint32_t size)
{
    put(aml, RESOURCE_MEMORY, 1);
    put(aml, 9, 2); /* length */
    put(aml, 1, 1); /* writable */
    put(aml, start, 4);
    put(aml, size, 4);
}

/* Address space descriptors: ACPI 6.5, 6.4.3.5. */
void aml_resource_window(struct aml *aml, enum aml_window kind, uint64_t first, uint64_t last)
{
    static const struct {
        uint8_t tag, width, type, flags; /* of the type: decodes all ports; writable, not cached */
    } kinds[] = {
        [AML_WINDOW_BUSES] = {RESOURCE_WORD_SPACE, 2, 2, 0},
        [AML_WINDOW_PORTS] = {RESOURCE_WORD_SPACE, 2, 1, 3},
        [AML_WINDOW_MEMORY] = {RESOURCE_DWORD_SPACE, 4, 0, 1},
        [AML_WINDOW_MEMORY_64] = {RESOURCE_QWORD_SPACE, 8, 0, 1},
    };
    uint32_t width = kinds[kind].width;

    put(aml, kinds[kind].tag, 1);
    put(aml, 3 + 5 * width, 2);
    put(aml, kinds[kind].type, 1);
    put(aml, 0x0c, 1); /* producer; both ends are fixed */
    put(aml, kinds[kind].flags, 1);
    put(aml, 0, width); /* granularity */
    put(aml, first, width);
    put(aml, last, width);
    put(aml, 0, width); /* translation */
    put(aml, last - first + 1, width);
}
