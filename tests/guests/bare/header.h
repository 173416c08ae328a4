/* The Linux boot protocol's header as an assembler macro; the section starts at offset 0.
 * BOOT_HEADER REAL_MODE_START, PAYLOAD_PARAGRAPHS (symbol: payload bytes / 16).
 * The payload is not relocatable and lies at LOAD_ADDRESS, which old and new loaders do alike. */
#ifndef QVM_TESTS_GUESTS_BARE_HEADER_H
#define QVM_TESTS_GUESTS_BARE_HEADER_H

#include "tests/guests/bare/layout.h"

#define BOOT_PROTOCOL  0x020c /* 2.12: xloadflags */
#define LOADED_HIGH    0x01
#define XLF_KERNEL_64  0x01
#define LONGEST_MEMORY 0x7fffffff

.macro BOOT_HEADER real_mode_start, payload_paragraphs
        .org    0x1f1
        .byte   SETUP_SIZE / 512 - 1            /* 1f1 setup_sects */
        .word   0                               /* 1f2 root_flags */
        .long   \payload_paragraphs             /* 1f4 syssize */
        .word   0, 0xffff, 0                    /* 1f8 ram_size, vid_mode, root_dev */
        .word   0xaa55                          /* 1fe boot_flag */
        .byte   0xeb, header_end - . - 1        /* 200 jump: real-mode entry, length of the header */
        .ascii  "HdrS"                          /* 202 */
        .word   BOOT_PROTOCOL                   /* 206 */
        .long   0                               /* 208 realmode_swtch */
        .word   0, 0                            /* 20c start_sys_seg, kernel_version */
        .byte   0                               /* 210 type_of_loader */
        .byte   LOADED_HIGH                     /* 211 loadflags */
        .word   0                               /* 212 setup_move_size */
        .long   LOAD_ADDRESS                    /* 214 code32_start */
        .long   0, 0                            /* 218 ramdisk_image, ramdisk_size */
        .long   0                               /* 220 bootsect_kludge */
        .word   0                               /* 224 heap_end_ptr */
        .byte   0, 0                            /* 226 ext_loader_ver, ext_loader_type */
        .long   0                               /* 228 cmd_line_ptr */
        .long   LONGEST_MEMORY                  /* 22c initrd_addr_max */
        .long   0x1000                          /* 230 kernel_alignment */
        .byte   0                               /* 234 relocatable_kernel */
        .byte   12                              /* 235 min_alignment, as a power of two */
        .word   XLF_KERNEL_64                   /* 236 xloadflags */
        .long   CMDLINE_MAX                     /* 238 cmdline_size */
        .long   0                               /* 23c hardware_subarch */
        .quad   0                               /* 240 hardware_subarch_data */
        .long   0, 0                            /* 248 payload_offset, payload_length */
        .quad   0                               /* 250 setup_data */
        .quad   LOAD_ADDRESS                    /* 258 pref_address */
        .long   OWN_SIZE                        /* 260 init_size */
        .long   0                               /* 264 handover_offset */
header_end:
        jmp     \real_mode_start
.endm

#endif
