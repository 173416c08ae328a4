/* Fixed addresses of the bare-metal guests, for C, assembler and linker scripts. */
#ifndef QVM_TESTS_GUESTS_BARE_LAYOUT_H
#define QVM_TESTS_GUESTS_BARE_LAYOUT_H

#define LOAD_ADDRESS 0x100000 /* first byte of flat image, ELF and the bzImage's payload */
#define OWN_SIZE     0x100000 /* init_size: RAM from LOAD_ADDRESS on that belongs to the guest */
#define BOOTS_RECORD 0x1ff000 /* counts boots; above all sections, so that no loader clears it */
#define AP_PAGE      0x8000   /* where started CPUs begin, in real mode */

#define SETUP_SIZE 0x400 /* boot sector and one sector of real-mode code before the payload */
#define ENTRY64    0x200 /* offset of the 64-bit entry in the payload */

#define CMDLINE_MAX 1023 /* cmdline_size of the header: bytes without the final NUL */

/* How it was entered. */
#define ENTERED_64        0
#define ENTERED_32        1
#define ENTERED_PVH       2
#define ENTERED_MULTIBOOT 3

/* GDT selectors */
#define SEL_KERNEL_CODE 0x08
#define SEL_KERNEL_DATA 0x10
#define SEL_USER_DATA   0x1b
#define SEL_USER_CODE   0x23
#define SEL_TSS         0x28 /* two slots */
#define SEL_CODE32      0x38 /* on the way to 64-bit mode */

#endif
