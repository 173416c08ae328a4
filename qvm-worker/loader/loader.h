/* Images into guest memory, and what a guest finds when it starts.
 *
 * Loading may be done again at any time while no vCPU runs: it reads the same descriptors, refuses
 * a file that changed in place, and writes nothing but what it loads. Needs neither KVM nor a path:
 * what it opens is what it was given. */
#ifndef QVM_WORKER_LOADER_LOADER_H
#define QVM_WORKER_LOADER_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/loader/boot.h"
#include "qvm-worker/loader/image.h"
#include "qvm-worker/memory/memory.h"

struct err;

#define LOADER_ITEMS_MAX 64u

/* The firmware area, 0xE0000-0xFFFFF: who has what. */
#define LOADER_ACPI_START    0xe0000ull /* the acpi room writes here: LOADER_ACPI_SIZE bytes */
#define LOADER_ACPI_SIZE     0x16000ull
#define LOADER_GDT           0xf6000ull
#define LOADER_STACK         0xf6ff0ull /* 3.9 KiB down to the GDT */
#define LOADER_ZERO_PAGE     0xf7000ull
#define LOADER_PAGE_TABLES   0xf8000ull /* six pages: the first 4 GiB as they are */
#define LOADER_INFO          0xf7000ull /* 32-bit entries: seven pages of information instead */
#define LOADER_INFO_SIZE     0x7000u
#define LOADER_CMDLINE       0xfe000ull
#define LOADER_CMDLINE_SIZE  4096u
#define LOADER_SMBIOS        0xff000ull /* entry points at multiples of 16, then structures */
#define LOADER_SMBIOS_SIZE   0xff0u
#define LOADER_SMBIOS_TABLES 64u
#define LOADER_RESET_VECTOR  0xffff0ull /* 16 bytes, written by the power room */
#define LOADER_GDT_SIZE      40u
#define LOADER_ACPI_FILE_MAX 65536u /* bytes of one `acpi load` */

enum loader_kind {
    LOADER_DETECT, /* the first of the list is the bootimage; later ones are data */
    LOADER_GUEST,
    LOADER_INITRD,
    LOADER_DATA,
    LOADER_ACPI,
};

struct loader_item {
    enum loader_kind kind;
    bool has_address;
    uint64_t address;
    int fd;
    const char *path;
    const char *where;
    struct image_identity identity; /* filled in by the first load */
};

#define LOADER_RESERVED_MAX 2u

struct loader {
    struct loader_item *items;
    uint32_t item_count;
    const char *cmdline; /* NULL: none */
    const char *cmdline_where;
    const char *where;                               /* for what no line is to blame for */
    struct boot_range reserved[LOADER_RESERVED_MAX]; /* that the memory map names reserved */
    uint32_t reserved_count;
    bool has_shadow; /* firmware finds itself below 1 MiB without our copying it there */
    bool is_dry;     /* images are judged, and not read into guest memory */
};

/* How the bootimage starts, if it is no firmware: flat segments 0x10 (code) and 0x18 (data) of the
 * table at LOADER_GDT, interrupts off. */
struct loader_entry {
    bool is_firmware; /* as after power-on: real mode, 16 bytes below 4 GiB; the rest is 0 */
    bool is_32bit;    /* protected mode without paging; else 64-bit with LOADER_PAGE_TABLES */
    uint64_t address; /* guest-physical */
    uint32_t eax, ebx, esi;
};

/* Load everything, write the boot parameters; `entry` is the bootimage's. -ESTALE: a file changed.
 * -EINVAL: a sentence with FILE:LINE. */
int loader_load(struct loader *loader, const struct memory *memory, struct loader_entry *entry,
                struct err *err);

/* Read the whole of an `acpi load` item into *bytes, which the caller frees. */
int loader_read_acpi(struct loader_item *item, uint8_t **bytes, uint32_t *size, struct err *err);

#endif
