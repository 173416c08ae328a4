/* Bootimages: what they are, where they lie, where and how they start. */
#ifndef QVM_WORKER_LOADER_GUEST_H
#define QVM_WORKER_LOADER_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/memory/memory.h"

struct err;
struct image;
struct places;

#define GUEST_HEAD_SIZE 1024u /* of the file: what decides about its kind */

#define LINUX_HEADER_START 0x1f1u /* in the file and in the zero page */
#define LINUX_HEADER_ROOM  (0x290u - LINUX_HEADER_START)

/* What a bootimage wants to find when it starts. */
enum guest_protocol {
    GUEST_ZERO_PAGE, /* (R)SI: the zero page of Documentation/arch/x86/boot.rst */
    GUEST_PVH,       /* EBX: hvm_start_info; Xen's docs/misc/pvh.pandoc */
    GUEST_MULTIBOOT, /* EBX: the information of the Multiboot Specification 0.6.96 */
    GUEST_FIRMWARE,  /* nothing: starts at the reset vector, and asks by itself */
};

/* What the rest of the loader must know of a bootimage. */
struct guest_boot {
    enum guest_protocol protocol;
    bool is_32bit;                     /* starts in 32-bit mode without paging; else 64-bit */
    uint64_t entry;                    /* guest-physical */
    uint64_t cmdline_max;              /* bytes, without the final 0 */
    uint64_t initrd_limit;             /* an initrd ends at or below this address */
    uint32_t module_max;               /* how many initrds it can be told of */
    uint32_t header_size;              /* bytes of `header`; 0 but for Linux */
    uint8_t header[LINUX_HEADER_ROOM]; /* goes to the zero page at LINUX_HEADER_START */
    const char *name;                  /* the path of the file */
};

struct guest_request {
    bool has_address;
    uint64_t address;
    bool is_named; /* `guest load`: an unknown file needs an address; otherwise it is flat */
};

/* Recognize `image`, take its places, load it. A .bss is zeroed: RAM may be used. */
int guest_load(const struct image *image, const struct guest_request *request,
               struct places *places, struct guest_boot *boot, struct err *err);

/* The kinds, each for a file that begins with its magic in `head`. */
int guest_load_linux(const struct image *image, const struct guest_request *request,
                     const uint8_t *head, struct places *places, struct guest_boot *boot,
                     struct err *err);
int guest_load_elf(const struct image *image, const struct guest_request *request,
                   const uint8_t *head, struct places *places, struct guest_boot *boot,
                   struct err *err);

/* [address, +size) of memory gets `file_size` bytes of the file from `offset` on, and zeroes. */
struct guest_piece {
    uint64_t offset, file_size, address, size;
};

/* Take the piece's place and load it. */
int guest_load_piece(const struct image *image, const struct guest_piece *piece,
                     struct places *places, struct err *err);

#endif
