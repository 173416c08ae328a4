/* guest.rom: firmware of 4 KiB that ends at 4 GiB. Begins in real mode at the reset vector and says on
 * COM1, in this order:
 *   R  it runs, from the ROM itself
 *   L  its copy below 1 MiB has the same bytes
 *   W  a write to the ROM was lost
 *   S  a write to the copy was not
 * with PCI buses, instead of the last one:
 *   P  until the host bridge's PAM registers say so the copy takes no write, and keeps what the ROM
 *      has; each half of a register opens its own segment to reads and writes, and no other; a
 *      segment that is open to writes alone takes them and shows the ROM; one that is open to reads
 *      alone shows what it took
 * or x instead of one of them; then it resets by the machine's reset port, and at its second start
 * powers off by the sleep control port. */
#define COM1         0x3f8
#define SLEEP_PORT   0x600
#define SLEEP_OFF    0x34
#define RESET_PORT   0x602
#define RESET_VALUE  1
#define ROM_START    0xfffff000
#define COPY_START   0xff000
#define CONFIG_PORT  0xcf8
#define DATA_PORT    0xcfc
#define PAM_DWORD    0x80000090 /* PAM0 to PAM3, PAM4 to PAM6 behind them */
#define SHADOW_START 0xc0000
#define SHADOW_END   0x100000
#define SEGMENT      0x4000
#define HALVES       13         /* 12 segments of their own, and 64 KiB in one */
#define STACK        0x7000
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

        movl    $0x80000000, %eax
        movw    $CONFIG_PORT, %dx
        outl    %eax, %dx
        movw    $DATA_PORT, %dx
        inl     %dx, %eax
        incl    %eax
        jz      7f              /* nobody is there */
        movl    $STACK, %esp
        call    try_pam
        movw    $COM1, %dx
        jmp     4f
7:      movw    $COM1, %dx
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

/* Have half %ecx of the PAM registers say %bl, and all others 0: the halves of PAM1 to PAM6 in the
 * order of their segments, then the high one of PAM0. */
set_half:
        pushal
        xorl    %esi, %esi      /* PAM0 to PAM3 */
        xorl    %edi, %edi      /* PAM4 to PAM6 */
        movzbl  %bl, %ebx
        leal    8(, %ecx, 4), %ecx      /* the bit where it is */
        cmpl    $8 + 12 * 4, %ecx
        jne     1f
        movl    $4, %ecx        /* the last */
1:      cmpl    $32, %ecx
        jae     2f
        shll    %cl, %ebx
        movl    %ebx, %esi
        jmp     3f
2:      subl    $32, %ecx
        shll    %cl, %ebx
        movl    %ebx, %edi
3:      movl    $PAM_DWORD, %eax
        movl    %esi, %ebx
        call    set_config
        movl    $PAM_DWORD + 4, %eax
        movl    %edi, %ebx
        call    set_config
        popal
        ret

/* The register at %eax becomes %ebx. */
set_config:
        movw    $CONFIG_PORT, %dx
        outl    %eax, %dx
        movw    $DATA_PORT, %dx
        movl    %ebx, %eax
        outl    %eax, %dx
        ret

/* Write to each segment its address and %ecx. */
mark_all:
        movl    $SHADOW_START, %esi
1:      leal    (%esi, %ecx), %eax
        movl    %eax, (%esi)
        addl    $SEGMENT, %esi
        cmpl    $SHADOW_END, %esi
        jb      1b
        ret

/* How many segments show that: in %edi; the first of them in %ebp. */
count_marks:
        xorl    %edi, %edi
        movl    $SHADOW_END - SEGMENT, %esi
1:      leal    (%esi, %ecx), %eax
        cmpl    %eax, (%esi)
        jne     2f
        incl    %edi
        movl    %esi, %ebp
2:      subl    $SEGMENT, %esi
        cmpl    $SHADOW_START, %esi
        jae     1b
        ret

/* %al: P or x. */
try_pam:
        movl    $100, %ecx      /* closed, as at power-on */
        call    mark_all
        call    count_marks
        testl   %edi, %edi
        jnz     bad
        movl    $COPY_START + (word - rom_start), %esi
        cmpl    $0x600dc0de, (%esi)
        jne     bad

        xorl    %ecx, %ecx      /* open to both: one of them */
1:      movb    $3, %bl
        call    set_half
        call    mark_all
        call    count_marks
        movl    $1, %eax
        cmpl    $HALVES - 1, %ecx
        jne     2f
        movl    $4, %eax
2:      cmpl    %eax, %edi
        jne     bad
        movl    %ecx, %eax
        shll    $14, %eax
        addl    $SHADOW_START, %eax
        cmpl    %eax, %ebp
        jne     bad
        incl    %ecx
        cmpl    $HALVES, %ecx
        jb      1b

        movl    $COPY_START + (word - rom_start), %esi
        movl    $HALVES - 1, %ecx
        movb    $2, %bl         /* writes alone */
        call    set_half
        movl    $0x12345678, (%esi)
        cmpl    $0x600dc0de, (%esi)
        jne     bad
        movb    $1, %bl         /* reads alone */
        call    set_half
        movl    $0, (%esi)
        cmpl    $0x12345678, (%esi)
        jne     bad
        movb    $0, %bl
        call    set_half
        cmpl    $0x600dc0de, (%esi)
        jne     bad
        movb    $1, %bl         /* left open: a reset closes it */
        call    set_half
        movb    $'P', %al
        ret
bad:    movb    $'x', %al
        ret

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
