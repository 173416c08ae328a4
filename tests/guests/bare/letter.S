/* letter.bzimage: the least that shows a VMM's start-up time. Prints one letter on COM1, then resets:
 * port 0x64, port 0xcf9, and a triple fault where neither is there. Every entry of the boot protocol
 * (real mode, 32-bit, 64-bit) does the same. */
#include "tests/guests/bare/header.inc"

#define COM1          0x3f8
#define LETTER        'Q'
#define KEYBOARD_PORT 0x64
#define KEYBOARD_RESET 0xfe
#define RESET_PORT    0xcf9
#define RESET_FULL    0x06

/* The same source in 16, 32 and 64 bits; ends in an exception without handlers. */
.macro SAY_AND_RESET no_table
        movw    $COM1, %dx
        movb    $LETTER, %al
        outb    %al, %dx
        movb    $KEYBOARD_RESET, %al
        outb    %al, $KEYBOARD_PORT
        movw    $RESET_PORT, %dx
        movb    $RESET_FULL, %al
        outb    %al, %dx
        lidt    \no_table
        smsw    %ax                     /* real mode would not look at the table's limit */
        orw     $1, %ax
        lmsw    %ax
        xorl    %eax, %eax
        divl    %eax
        hlt
.endm

        .section .setup, "ax"
        .code16
        BOOT_HEADER start, payload_paragraphs
start:  cli
        SAY_AND_RESET %cs:empty-0x200   /* CS:0 is 0x200 */
empty:  .word   0
        .long   0
        .org    SETUP_SIZE

        .section .head, "ax"
        .code32
        xorl    %eax, %eax
        .byte   0x40, 0x90              /* 32-bit: inc %eax; nop. 64-bit: a nop with a prefix */
        testl   %eax, %eax
        jz      entry64
        SAY_AND_RESET no_table
        .org    ENTRY64
        .code64
        .globl  entry64
entry64:
        SAY_AND_RESET no_table

        .balign 8
no_table:
        .word   0
        .quad   0
        .section .note.GNU-stack, "", @progbits
