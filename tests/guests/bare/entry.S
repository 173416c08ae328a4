/* Where CPUs enter guest code: the payload's first byte (64-bit or 32-bit mode), its 64-bit entry,
 * the trampoline of started CPUs; besides exceptions and the way to ring 3 and back. */
#include "tests/guests/bare/layout.h"

#define PAGE_SIZE   0x1000
#define STACK_SIZE  0x2000
#define CR4_BITS    0x20       /* PAE */
#define EFER        0xc0000080
#define EFER_BITS   0x100      /* LME */
#define CR0_BITS    0x80000011 /* PG, ET, PE */
#define PDE_2M      0x87       /* present, writable, user, large */
#define TABLE_FLAGS 0x07       /* present, writable, user */
#define LAPIC_ID    0x20

#define MULTIBOOT_MAGIC 0x2badb002 /* EAX of a multiboot loader */

        .section .head, "ax"
        .code32
        .globl  payload_start
payload_start:
        xorl    %eax, %eax
        .byte   0x40, 0x90              /* 32-bit: inc %eax; nop. 64-bit: a nop with a prefix */
        testl   %eax, %eax
        jz      entry64

/* 32-bit mode, paging off, flat segments, ESI = zero page. Maps the first GiB; memory.c goes on. */
entry32:
        movl    $ENTERED_32, %ebp
to_64:
        movl    $gdt_pointer, %eax
        lgdtl   (%eax)
        movl    $early_directory, %edi
        movl    $PDE_2M, %eax
        movl    $512, %ecx
1:      movl    %eax, (%edi)
        movl    $0, 4(%edi)
        addl    $8, %edi
        addl    $0x200000, %eax
        decl    %ecx
        jnz     1b
        movl    $early_directory + TABLE_FLAGS, early_pointers
        movl    $0, early_pointers + 4
        movl    $early_pointers + TABLE_FLAGS, early_root
        movl    $0, early_root + 4
        movl    $early_root, %edi
        movl    $enter_main, %ebx
        ljmpl   $SEL_CODE32, $to_long_mode

/* The same with EBX = the information: hvm_start_info; multiboot's, if EAX says so. */
        .globl  pvh_entry, multiboot_entry
pvh_entry:
        movl    %ebx, %esi
        movl    $ENTERED_PVH, %ebp
        jmp     to_64
multiboot_entry:
        cmpl    $MULTIBOOT_MAGIC, %eax
        jne     entry32
        movl    %ebx, %esi
        movl    $ENTERED_MULTIBOOT, %ebp
        jmp     to_64

/* 32-bit mode with our GDT, EDI = page tables, EBX = where to go on in 64-bit mode; keeps ESI and EBP. */
to_long_mode:
        movl    $SEL_KERNEL_DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $CR4_BITS, %eax
        movl    %eax, %cr4
        movl    %edi, %cr3
        movl    $EFER, %ecx
        movl    $EFER_BITS, %eax
        xorl    %edx, %edx
        wrmsr
        movl    $CR0_BITS, %eax
        movl    %eax, %cr0
        ljmpl   $SEL_KERNEL_CODE, $1f
        .code64
1:      movl    %ebx, %eax
        jmp     *%rax

        .org    ENTRY64
        .globl  entry64
entry64:
        movl    $ENTERED_64, %ebp
/* 64-bit mode, ESI = the information, EBP = how it was entered. */
enter_main:
        cli
        cld
        movl    $boot_stack_end, %esp
        movl    $bss_start, %edi
        movl    $bss_qwords, %ecx
        xorl    %eax, %eax
        rep     stosq
        movq    %rsi, %rdi
        movl    %ebp, %esi
        call    guest_main
        ud2

        .text
        .code64
/* Load our GDT and TSS; back with CS and SS from it. */
        .globl  segments_load
segments_load:
        lgdt    gdt_pointer
        movl    $SEL_KERNEL_DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $SEL_TSS, %eax
        ltr     %ax
        popq    %rax
        pushq   $SEL_KERNEL_CODE
        pushq   %rax
        lretq

/* void user_run(void (*function)(void), uint64_t rflags): run `function` in ring 3; it comes back
 * through user_return() or never. */
        .globl  user_run
user_run:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        cli
        movq    %rsp, user_caller_stack
        pushq   $SEL_USER_DATA
        pushq   $user_stack_end - 8     /* as if a call had pushed its return address */
        pushq   %rsi
        pushq   $SEL_USER_CODE
        pushq   %rdi
        iretq

        .globl  user_return
user_return:
        ud2                             /* the handler knows the address and goes on below */

/* Where user_run()'s caller goes on. */
        .globl  user_leave
user_leave:
        movq    user_caller_stack, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        sti
        ret

/* Give up what ran and go back to the prompt, with a fresh stack. */
        .globl  prompt_again
prompt_again:
        movl    $boot_stack_end, %esp
        sti
        call    prompt_loop
        ud2

/* Exceptions 0 to 31, 8 bytes each: exception(vector, stack as the CPU left it). */
        .globl  exception_stubs
        .balign 8
exception_stubs:
        .set    vector, 0
        .rept   32
        .balign 8
        pushq   $vector
        jmp     1f
        .set    vector, vector + 1
        .endr
1:      popq    %rdi
        movq    %rsp, %rsi
        andq    $-16, %rsp
        call    on_exception
        ud2

/* Copied to AP_PAGE; a started CPU begins here in real mode. */
        .code16
        .globl  ap_trampoline, ap_trampoline_end
ap_trampoline:
        cli
        lgdtl   %cs:ap_gdt_pointer - ap_trampoline
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        movl    $page_root, %edi
        movl    $ap_entry64, %ebx
        ljmpl   $SEL_CODE32, $to_long_mode
ap_gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt
ap_trampoline_end:

/* Says who it is and sleeps; needs no stack. */
        .code64
ap_entry64:
        cmpl    $0, lapic_is_long
        jne     2f
        movq    lapic_address, %rax
        movl    LAPIC_ID(%rax), %ecx
        shrl    $24, %ecx
        jmp     3f
2:      movl    $0xb, %eax              /* EDX: the x2APIC id, whatever the LAPIC's mode */
        xorl    %ecx, %ecx
        cpuid
        movl    %edx, %ecx
3:      incl    %ecx
        movl    %ecx, ap_arrived
1:      cli
        hlt
        jmp     1b

        .data
        .balign 16
        .globl  gdt, gdt_tss
gdt:    .quad   0
        .quad   0x00af9b000000ffff      /* SEL_KERNEL_CODE */
        .quad   0x00cf93000000ffff      /* SEL_KERNEL_DATA */
        .quad   0x00cff3000000ffff      /* SEL_USER_DATA */
        .quad   0x00affb000000ffff      /* SEL_USER_CODE */
gdt_tss: .quad  0, 0                    /* SEL_TSS, filled in at run time */
        .quad   0x00cf9b000000ffff      /* SEL_CODE32 */
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .quad   gdt

        .bss
        .balign 8
user_caller_stack: .quad 0

        .section .noinit, "aw", @nobits
        .balign PAGE_SIZE
        .globl  page_root, page_pointers, page_directories, trap_stack_end
page_root:
        .skip   PAGE_SIZE
page_pointers:
        .skip   PAGE_SIZE
page_directories:
        .skip   5 * PAGE_SIZE
early_root:
        .skip   PAGE_SIZE
early_pointers:
        .skip   PAGE_SIZE
early_directory:
        .skip   PAGE_SIZE
        .skip   STACK_SIZE
boot_stack_end:
        .skip   STACK_SIZE
trap_stack_end:                         /* interrupts and exceptions that come in ring 3 */
        .skip   STACK_SIZE
user_stack_end:

        .section .note.GNU-stack, "", @progbits
