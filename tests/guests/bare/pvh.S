/* The note of guest.pvh: Xen's xen/include/public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY. */
#define PHYS32_ENTRY 18

        .section .note.Xen, "a", @note
        .balign 4
        .long   2f - 1f
        .long   4f - 3f
        .long   PHYS32_ENTRY
1:      .asciz  "Xen"
2:      .balign 4
3:      .long   pvh_entry
4:      .balign 4
        .section .note.GNU-stack, "", @progbits
