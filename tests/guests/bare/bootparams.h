/* The zero page of the Linux boot protocol, as far as the guest reads it. The loader's memory: it
 * may be overwritten once what is needed is copied. */
#ifndef QVM_TESTS_GUESTS_BARE_BOOTPARAMS_H
#define QVM_TESTS_GUESTS_BARE_BOOTPARAMS_H

#include <stdint.h>

#define E820_RAM       1
#define E820_TABLE_MAX 128

struct e820_entry {
    uint64_t start;
    uint64_t size;
    uint32_t type;
} __attribute__((packed));

struct boot_params {
    uint8_t unused_000[0x70];
    uint64_t acpi_rsdp_addr; /* 0: look for it */
    uint8_t unused_078[0x1e8 - 0x78];
    uint8_t e820_count;
    uint8_t unused_1e9[0x218 - 0x1e9];
    uint32_t ramdisk_image; /* the initrd */
    uint32_t ramdisk_size;
    uint8_t unused_220[0x228 - 0x220];
    uint32_t cmdline; /* physical address; 0: none */
    uint8_t unused_22c[0x2d0 - 0x22c];
    struct e820_entry e820[E820_TABLE_MAX];
} __attribute__((packed));

_Static_assert(__builtin_offsetof(struct boot_params, e820) == 0x2d0, "layout of the zero page");

#endif
