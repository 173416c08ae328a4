/* guest.rom: firmware of 4 KiB that ends at 4 GiB. Begins in real mode at the reset vector and says on
 * COM1, in this order:
 *   R  it runs, from the ROM itself
 *   L  its copy below 1 MiB has the same bytes
 *   W  a write to the ROM was lost
 *   S  a write to the copy was not
 * or x instead of one of them; then it resets by the machine's reset port, and at its second start
 * powers off by the sleep control port. */
#define COM1         0x3f8
#define SLEEP_PORT   0x600
#define SLEEP_OFF    0x34
#define RESET_PORT   0x602
#define RESET_VALUE  1
#define ROM_START    0xfffff000
#define COPY_START   0xff000
#define STARTS       0x8000     /* in RAM: how often it has started */
#define CODE32       0x08
#define DATA32       0x10

        .section .rom, "ax"
        .code16
        .globl  rom_start
rom_start:
real:   cli
        movl    $ROM_START, %esi
        lgdtl   %cs:gdt_pointer - rom_start + 0xf000
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $CODE32, $ROM_START + (protected - rom_start)

        .code32
protected:
        movw    $DATA32, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $COM1, %dx
        movb    $'R', %al
        outb    %al, %dx

        movl    $ROM_START, %esi
        movl    $COPY_START, %edi
        movl    $1024, %ecx
        movb    $'L', %al
        cld
1:      movl    (%esi), %ebx
        cmpl    %ebx, (%edi)
        je      2f
        movb    $'x', %al
2:      addl    $4, %esi
        addl    $4, %edi
        decl    %ecx
        jnz     1b
        outb    %al, %dx

        movl    $ROM_START + (word - rom_start), %esi
        movl    $0, (%esi)
        movb    $'W', %al
        cmpl    $0x600dc0de, (%esi)
        je      3f
        movb    $'x', %al
3:      outb    %al, %dx

        movl    $COPY_START + (word - rom_start), %esi
        movl    $0, (%esi)
        movb    $'S', %al
        cmpl    $0, (%esi)
        je      4f
        movb    $'x', %al
4:      outb    %al, %dx

        movl    $STARTS, %esi
        incl    (%esi)
        cmpl    $2, (%esi)
        jae     5f
        movw    $RESET_PORT, %dx
        movb    $RESET_VALUE, %al
        outb    %al, %dx
6:      hlt
        jmp     6b
5:      movw    $SLEEP_PORT, %dx
        movb    $SLEEP_OFF, %al
        outb    %al, %dx
        jmp     6b

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff
        .quad   0x00cf93000000ffff
gdt_pointer:
        .word   . - gdt - 1
        .long   ROM_START + (gdt - rom_start)
word:   .long   0x600dc0de

        .org    0xff0
        .code16
        jmp     real
        .org    0x1000, 0xff
        .section .note.GNU-stack, "", @progbits
