/* The boot sector, the header and the real-mode entry of guest.bzimage: a loader that knows the
 * 64-bit entry reads the header alone; one that begins in real mode (SeaBIOS, qboot) runs the code.
 * Offsets and meanings: Documentation/arch/x86/boot.rst of the Linux sources. */
#include "tests/guests/bare/header.inc"

        .section .setup, "ax"
        .code16
        BOOT_HEADER start, payload_paragraphs

/* In real mode: CS = segment + 0x20, DS = segment where this sector lies. Makes a zero page at
 * DS:ZERO_PAGE, asks the BIOS for the memory map, enters the payload in 32-bit mode. */
        .set ZERO_PAGE, 0x1000
        .set E820_COUNT, 0x1e8
        .set E820_TABLE, 0x2d0
        .set E820_ENTRY_SIZE, 20
        .set E820_MAX, 128
        .set E820_SIGNATURE, 0x534d4150

start:  cli
        cld
        pushw   %ds
        pushw   $1f
        lretw                           /* CS = DS: labels are offsets from the boot sector */
1:      movw    %ds, %ax
        movw    %ax, %es
        xorl    %eax, %eax
        movw    $ZERO_PAGE, %di
        movw    $1024, %cx
        rep     stosl
        movw    $0x1f1, %si
        movw    $ZERO_PAGE + 0x1f1, %di
        movw    $header_end - 0x1f1, %cx
        rep     movsb

        xorl    %ebx, %ebx
        movw    $ZERO_PAGE + E820_TABLE, %di
2:      movl    $0xe820, %eax
        movl    $E820_ENTRY_SIZE, %ecx
        movl    $E820_SIGNATURE, %edx
        sti
        int     $0x15
        cli
        jc      3f
        cmpl    $E820_SIGNATURE, %eax
        jne     3f
        incb    ZERO_PAGE + E820_COUNT
        addw    $E820_ENTRY_SIZE, %di
        cmpb    $E820_MAX, ZERO_PAGE + E820_COUNT
        jae     3f
        testl   %ebx, %ebx
        jnz     2b

3:      xorl    %esi, %esi
        movw    %ds, %si
        shll    $4, %esi                /* linear address of this sector */
        leal    gdt16(%esi), %eax
        movl    %eax, gdt16_base
        addl    $ZERO_PAGE, %esi
        lgdtl   gdt16_limit
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        movw    $0x18, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        ljmpl   $0x10, $LOAD_ADDRESS

        .balign 8
gdt16:  .quad   0, 0
        .quad   0x00cf9b000000ffff      /* 0x10: flat 32-bit code */
        .quad   0x00cf93000000ffff      /* 0x18: flat data */
gdt16_limit:
        .word   . - gdt16 - 1
gdt16_base:
        .long   0
        .org    SETUP_SIZE
        .section .note.GNU-stack, "", @progbits
