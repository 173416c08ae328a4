/* The header of guest.multiboot: Multiboot Specification 0.6.96, 3.1. The linker script puts it
 * into the file's first 8 KiB. Wants memory information and modules at pages. */
#define MAGIC 0x1badb002
#define FLAGS 0x00000003

        .section .multiboot, "a"
        .balign 4
        .long   MAGIC
        .long   FLAGS
        .long   -(MAGIC + FLAGS)
        .section .note.GNU-stack, "", @progbits
