/* bootsector: the first sector of a disk, started by a BIOS. Reads the second sector by INT 13h and
 * says on COM1 what text that has, up to its 0; then switches the PC off (ACPI's PM1a control
 * register at 0x604, sleep type 5). "no disk" if the BIOS cannot read. */
#define COM1        0x3f8
#define PM1_CONTROL 0x604
#define SLEEP_OFF   0x3400
#define BUFFER      0x8000
#define LOADED_AT   0x7c00
#define READ_LBA    0x42 /* Phoenix, Enhanced Disk Drive Specification: DL the drive, SI the packet */

        .section .rom, "ax"
        .code16
start:  cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $LOADED_AT, %sp
        sti
        movw    $LOADED_AT + (packet - start), %si
        movb    $READ_LBA, %ah
        int     $0x13
        cli                             /* the BIOS' own words wait for its timer */
        movw    $BUFFER, %si
        jnc     1f
        movw    $LOADED_AT + (failed - start), %si
1:      movw    $COM1, %dx
2:      lodsb
        testb   %al, %al
        jz      3f
        outb    %al, %dx
        jmp     2b
3:      movw    $PM1_CONTROL, %dx
        movw    $SLEEP_OFF, %ax
        outw    %ax, %dx
4:      hlt
        jmp     4b

packet: .byte   16, 0
        .word   1, BUFFER, 0
        .quad   1
failed: .asciz  "no disk"

        .org    510
        .word   0xaa55
        .section .note.GNU-stack, "", @progbits
