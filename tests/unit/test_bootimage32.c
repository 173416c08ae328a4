/* Bootimages that start in 32-bit mode: ELF32, PVH, multiboot 1, and what they are told. */
#include "tests/unit/loader_unit.h"

#include <elf.h>

#define ELF_ADDRESS 0x200000u
#define ELF_DATA    0x400u /* in the file: what is loaded */
#define NOTE_AT     0x200u
#define HEADER_AT   0x300u /* of multiboot */
#define MAGIC       0x1badb002u

static void make_elf32(void)
{
    static const uint8_t ident[] = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT};
    const Elf32_Ehdr header = {.e_type = ET_EXEC,
                               .e_machine = EM_386,
                               .e_entry = 0xc0200010,
                               .e_phoff = sizeof(header),
                               .e_phentsize = sizeof(Elf32_Phdr),
                               .e_phnum = 1};
    const Elf32_Phdr segment = {.p_type = PT_LOAD,
                                .p_offset = ELF_DATA,
                                .p_vaddr = 0xc0200000,
                                .p_paddr = ELF_ADDRESS,
                                .p_filesz = 1024,
                                .p_memsz = 8192};

    memset(image, 0xcc, sizeof(image));
    memset(image, 0, ELF_DATA);
    memcpy(image, &header, sizeof(header));
    memcpy(image, ident, sizeof(ident));
    memcpy(image + sizeof(header), &segment, sizeof(segment));
}

/* A note of `description` bytes at NOTE_AT with the entry. */
static void put_note(uint32_t at, const char *name, uint32_t type, uint64_t entry_address,
                     uint32_t description)
{
    put(at, 4, 4);
    put(at + 4, description, 4);
    put(at + 8, type, 4);
    memcpy(image + at + 12, name, 4);
    put(at + 16, entry_address, description <= 8 ? description : 8);
}

/* ELF64 with one segment to load and one with notes, of `size` bytes. */
static void make_pvh(uint32_t size)
{
    static const uint8_t ident[] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT};
    const Elf64_Ehdr header = {.e_type = ET_EXEC,
                               .e_machine = EM_X86_64,
                               .e_entry = ELF_ADDRESS,
                               .e_phoff = sizeof(header),
                               .e_phentsize = sizeof(Elf64_Phdr),
                               .e_phnum = 2};
    const Elf64_Phdr segments[2] = {
        {.p_type = PT_LOAD,
         .p_offset = ELF_DATA,
         .p_vaddr = 0xffffffff80200000,
         .p_paddr = ELF_ADDRESS,
         .p_filesz = 1024,
         .p_memsz = 8192},
        {.p_type = PT_NOTE, .p_offset = NOTE_AT, .p_filesz = size, .p_memsz = size}};

    memset(image, 0xcc, sizeof(image));
    memset(image, 0, ELF_DATA);
    memcpy(image, &header, sizeof(header));
    memcpy(image, ident, sizeof(ident));
    memcpy(image + sizeof(header), segments, sizeof(segments));
    put_note(NOTE_AT, "Xen", 18, ELF_ADDRESS + 0x20, 4);
}

static void put_multiboot(uint32_t flags)
{
    put(HEADER_AT, MAGIC, 4);
    put(HEADER_AT + 4, flags, 4);
    put(HEADER_AT + 8, 0u - MAGIC - flags, 4);
}

/* No ELF: a header with addresses, the whole file from ELF_ADDRESS on, 64 KiB in memory. */
static void make_multiboot(void)
{
    memset(image, 0xcc, sizeof(image));
    put_multiboot(1u << 16);
    put(HEADER_AT + 12, ELF_ADDRESS + HEADER_AT, 4);
    put(HEADER_AT + 16, ELF_ADDRESS, 4);
    put(HEADER_AT + 20, 0, 4);
    put(HEADER_AT + 24, ELF_ADDRESS + 0x10000, 4);
    put(HEADER_AT + 28, ELF_ADDRESS + 0x40, 4);
}

static void load_image(void)
{
    set_up();
    (void)add_item(LOADER_GUEST, "/images/k", image, sizeof(image));
    check_loads();
}

static void check_image_refused(const char *words)
{
    set_up();
    (void)add_item(LOADER_GUEST, "k", image, sizeof(image));
    check_refused(words);
}

START_TEST(elf32_starts_in_32_bit_mode_with_a_zero_page)
{
    make_elf32();
    load_image();
    ck_assert(entry.is_32bit);
    ck_assert_uint_eq(entry.address, ELF_ADDRESS + 0x10);
    ck_assert_uint_eq(entry.esi, LOADER_ZERO_PAGE);
    ck_assert_uint_eq(*at(ELF_ADDRESS + 1023), 0xcc);
    ck_assert_uint_eq(*at(ELF_ADDRESS + 1024), 0);
    ck_assert_str_eq((const char *)at(field(LOADER_ZERO_PAGE + 0x228, 4)), "console=ttyS0");
}
END_TEST

START_TEST(lying_elf32_headers_are_refused)
{
    make_elf32();
    put(offsetof(Elf32_Ehdr, e_phoff), UINT32_MAX, 4);
    check_image_refused("g:7: 'k' is cut short: 32 bytes at 0xffffffff are asked for, it has 4096");
    make_elf32();
    put(offsetof(Elf32_Ehdr, e_phentsize), sizeof(Elf64_Phdr), 2);
    check_image_refused("g:7: 'k' has 1 program headers of 56 bytes; 1-64 of 32 can be");
    make_elf32();
    put(sizeof(Elf32_Ehdr) + offsetof(Elf32_Phdr, p_paddr), 0xfffff000, 4);
    put(sizeof(Elf32_Ehdr) + offsetof(Elf32_Phdr, p_memsz), 0x2000, 4);
    check_image_refused("g:7: 'k' needs 1 MiB at 0xfffff000, guest RAM ends at 0x2000000: raise "
                        "`ram`");
    make_elf32();
    put(offsetof(Elf32_Ehdr, e_entry), ELF_ADDRESS - 1, 4);
    check_image_refused("g:7: 'k' starts at 0x1fffff, where none of its segments is");
}
END_TEST

START_TEST(pvh_note_wins_over_the_elf_entry)
{
    make_pvh(20);
    load_image();
    ck_assert(entry.is_32bit);
    ck_assert_uint_eq(entry.address, ELF_ADDRESS + 0x20);
    ck_assert_uint_eq(entry.ebx, LOADER_INFO);
    ck_assert_uint_eq(field(LOADER_INFO, 4), 0x336ec578);
    ck_assert_uint_eq(field(LOADER_INFO + 4, 4), 1);
    ck_assert_uint_eq(field(LOADER_INFO + 12, 4), 0); /* no modules */
    ck_assert_uint_eq(field(LOADER_INFO + 16, 8), 0);
    ck_assert_str_eq((const char *)at(field(LOADER_INFO + 24, 8)), "console=ttyS0");
    ck_assert_uint_eq(field(LOADER_INFO + 32, 8), LOADER_ACPI_START);
    ck_assert_uint_ge(field(LOADER_INFO + 48, 4), 4); /* map entries */
    ck_assert_uint_eq(field(field(LOADER_INFO + 40, 8) + 8, 8), 0x9fc00);
    ck_assert_uint_eq(field(field(LOADER_INFO + 40, 8) + 16, 4), 1);
}
END_TEST

START_TEST(pvh_note_is_found_behind_others_and_in_its_wide_form)
{
    make_pvh(64);
    put_note(NOTE_AT, "GNU", 18, 0, 4);
    put_note(NOTE_AT + 20, "Xen", 17, 0, 4);
    put_note(NOTE_AT + 40, "Xen", 18, ELF_ADDRESS + 0x30, 8);
    load_image();
    ck_assert_uint_eq(entry.address, ELF_ADDRESS + 0x30);
}
END_TEST

START_TEST(notes_without_an_entry_leave_the_elf_entry)
{
    make_pvh(20);
    put(NOTE_AT + 8, 19, 4);
    load_image();
    ck_assert(!entry.is_32bit);
    ck_assert_uint_eq(entry.address, ELF_ADDRESS);
    make_pvh(19); /* the entry is cut off by its segment */
    load_image();
    ck_assert(!entry.is_32bit);
    make_pvh(20);
    put(NOTE_AT, UINT32_MAX, 4); /* a name longer than all */
    load_image();
    ck_assert(!entry.is_32bit);
    make_pvh(20);
    put(NOTE_AT + 4, UINT32_MAX - 1, 4); /* its size would wrap when it is rounded up */
    load_image();
    ck_assert(!entry.is_32bit);
}
END_TEST

START_TEST(lying_pvh_notes_are_refused)
{
    make_pvh(64);
    put_note(NOTE_AT, "Xen", 18, 0x1000, 4);
    check_image_refused("g:7: 'k' starts at 0x1000, where none of its segments is");
    make_pvh(64);
    put_note(NOTE_AT, "Xen", 18, ELF_ADDRESS, 16);
    check_image_refused("g:7: 'k' has a PVH note with an entry of 16 bytes");
    make_pvh(64);
    put_note(NOTE_AT, "Xen", 18, 0x100200000, 8);
    check_image_refused("g:7: 'k' has a PVH note whose 32-bit entry is 0x100200000");
    make_pvh(64);
    put_note(NOTE_AT, "Xen", 18, 0xffffffff80200000, 8); /* virtual: nothing maps that there */
    check_image_refused("g:7: 'k' has a PVH note whose 32-bit entry is 0xffffffff80200000");
    make_pvh(64);
    put(sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_offset), UINT64_MAX - 3,
        8);
    check_image_refused("g:7: 'k' is cut short: 12 bytes at 0xfffffffffffffffc are asked for, it "
                        "has 4096");
}
END_TEST

START_TEST(pvh_modules_are_listed_up_to_their_limit)
{
    make_pvh(20);
    set_up();
    (void)add_item(LOADER_GUEST, "k", image, sizeof(image));
    for (uint32_t i = 0; i < 16; i++) {
        (void)add_item(LOADER_INITRD, "m", "module", 1 + i % 6);
    }
    check_loads();
    ck_assert_uint_eq(field(LOADER_INFO + 12, 4), 16);
    for (uint32_t i = 0; i < 16; i++) {
        uint64_t module = field(LOADER_INFO + 16, 8) + 32 * i;

        ck_assert_uint_eq(field(module + 8, 8), 1 + i % 6);
        ck_assert_uint_eq(*at(field(module, 8)), 'm');
        ck_assert_uint_eq(field(module + 16, 8), 0);
    }
    (void)add_item(LOADER_INITRD, "n", "x", 1);
    check_refused("g:7: 'n' is one module more than the 16 that can be");
}
END_TEST

START_TEST(elf_with_a_multiboot_header_is_told_so)
{
    make_elf32();
    put_multiboot(3);
    load_image();
    ck_assert(entry.is_32bit);
    ck_assert_uint_eq(entry.address, ELF_ADDRESS + 0x10);
    ck_assert_uint_eq(entry.eax, 0x2badb002);
    ck_assert_uint_eq(entry.ebx, LOADER_INFO);
    ck_assert_uint_eq(field(LOADER_INFO, 4), 0x24d); /* memory, words, modules, map, loader */
    ck_assert_uint_eq(field(LOADER_INFO + 4, 4), 0x9fc00 / 1024);
    ck_assert_uint_eq(field(LOADER_INFO + 8, 4), (RAM_SIZE - MIB(1)) / 1024);
    ck_assert_str_eq((const char *)at(field(LOADER_INFO + 16, 4)), "k console=ttyS0");
    ck_assert_uint_eq(field(LOADER_INFO + 20, 4), 0);
    ck_assert_uint_eq(field(LOADER_INFO + 44, 4) % 24, 0);
    ck_assert_uint_eq(field(field(LOADER_INFO + 48, 4), 4), 20);
    ck_assert_uint_eq(field(field(LOADER_INFO + 48, 4) + 12, 8), 0x9fc00);
    ck_assert_str_eq((const char *)at(field(LOADER_INFO + 64, 4)), "qvm");
}
END_TEST

START_TEST(multiboot_modules_have_names_and_ends)
{
    static char name[400] = "/long/";

    make_multiboot();
    set_up();
    (void)add_item(LOADER_GUEST, "k", image, sizeof(image));
    (void)add_item(LOADER_INITRD, "/some/where/env", "env=1", 5);
    memset(name + 6, 'n', sizeof(name) - 7);
    (void)add_item(LOADER_INITRD, name, "x", 1);
    check_loads();
    ck_assert_uint_eq(field(LOADER_INFO + 20, 4), 2);
    ck_assert_mem_eq(at(field(field(LOADER_INFO + 24, 4), 4)), "env=1", 5);
    ck_assert_uint_eq(field(field(LOADER_INFO + 24, 4) + 4, 4),
                      field(field(LOADER_INFO + 24, 4), 4) + 5);
    ck_assert_str_eq((const char *)at(field(field(LOADER_INFO + 24, 4) + 8, 4)), "env");
    ck_assert_uint_eq(strlen((const char *)at(field(field(LOADER_INFO + 24, 4) + 24, 4))), 255);
}
END_TEST

START_TEST(multiboot_addresses_say_where_the_file_goes)
{
    make_multiboot();
    set_up();
    memset(memory_span(memory, gpa(ELF_ADDRESS), 0x10000), 0x55, 0x10000);
    (void)add_item(LOADER_DETECT, "k", image, sizeof(image));
    check_loads();
    ck_assert_uint_eq(entry.address, ELF_ADDRESS + 0x40);
    ck_assert_uint_eq(entry.eax, 0x2badb002);
    ck_assert_mem_eq(at(ELF_ADDRESS), image, sizeof(image));
    ck_assert_uint_eq(*at(ELF_ADDRESS + sizeof(image)), 0);
    ck_assert_uint_eq(*at(ELF_ADDRESS + 0xffff), 0);
    make_multiboot(); /* a part of the file, and no .bss */
    put(HEADER_AT + 12, ELF_ADDRESS + 0x100, 4);
    put(HEADER_AT + 20, ELF_ADDRESS + 0x400, 4);
    put(HEADER_AT + 24, 0, 4);
    put(HEADER_AT + 28, ELF_ADDRESS, 4);
    set_up();
    (void)add_item(LOADER_DETECT, "k", image, sizeof(image));
    check_loads();
    ck_assert_mem_eq(at(ELF_ADDRESS), image + 0x200, 0x400);
    ck_assert_uint_eq(*at(ELF_ADDRESS + 0x400), 0);
}
END_TEST

START_TEST(lying_multiboot_headers_are_refused)
{
    static const char backwards[] = "g:7: 'k' has a multiboot header whose addresses go backwards";

    make_multiboot();
    put(HEADER_AT + 8, 1, 4);
    check_image_refused("g:7: 'k' has a multiboot header at 0x300 whose checksum is wrong");
    make_elf32();
    put_multiboot(0);
    put(HEADER_AT + 4, 1, 4);
    check_image_refused("g:7: 'k' has a multiboot header at 0x300 whose checksum is wrong");
    make_multiboot();
    put_multiboot(0);
    check_image_refused("g:7: 'k' has a multiboot header without addresses, and is no ELF image");
    make_multiboot();
    put_multiboot(1u << 16 | 4);
    check_image_refused("g:7: 'k' wants a video mode of its multiboot loader: there is none");
    make_multiboot();
    put_multiboot(1u << 16 | 8);
    check_image_refused("g:7: 'k' wants unknown features of its multiboot loader: 0x8");
    make_multiboot();
    put(HEADER_AT + 12, ELF_ADDRESS + HEADER_AT + 1, 4);
    check_image_refused("g:7: 'k' has a multiboot header for 0x200301 at 0x300 of a file that "
                        "begins at 0x200000");
    make_multiboot();
    put(HEADER_AT + 16, ELF_ADDRESS + HEADER_AT + 1, 4);
    check_image_refused("g:7: 'k' has a multiboot header for 0x200300 at 0x300 of a file that "
                        "begins at 0x200301");
    make_multiboot();
    put(HEADER_AT + 20, ELF_ADDRESS - 1, 4);
    check_image_refused(backwards);
    make_multiboot();
    put(HEADER_AT + 24, ELF_ADDRESS + sizeof(image) - 1, 4);
    check_image_refused(backwards);
    make_multiboot();
    put(HEADER_AT + 20, ELF_ADDRESS + sizeof(image) + 1, 4);
    check_image_refused("g:7: 'k' is cut short: 4097 bytes at 0x0 are asked for, it has 4096");
    make_multiboot();
    put(HEADER_AT + 28, ELF_ADDRESS + 0x10000, 4);
    check_image_refused("g:7: 'k' starts at 0x210000, where it does not lie");
    make_multiboot();
    put(HEADER_AT + 12, 0xfffffff0, 4);
    put(HEADER_AT + 16, 0xfffffff0 - HEADER_AT, 4);
    put(HEADER_AT + 24, 0, 4);
    put(HEADER_AT + 28, 0xfffffff0, 4);
    check_image_refused("g:7: 'k' needs 1 MiB at 0xfffffcf0, guest RAM ends at 0x2000000: raise "
                        "`ram`");
}
END_TEST

START_TEST(multiboot_header_is_looked_for_in_8_kib_at_whole_words)
{
    static uint8_t big[8192 + 64];
    const uint32_t header[] = {MAGIC, 0, 0u - MAGIC};

    memcpy(big + 8192 - 12, header, sizeof(header));
    set_up();
    (void)add_item(LOADER_GUEST, "k", big, sizeof(big));
    check_refused("g:7: 'k' has a multiboot header without addresses, and is no ELF image");
    memset(big, 0, sizeof(big));
    memcpy(big + 8192 - 8, header, sizeof(header));
    set_up();
    (void)add_item(LOADER_GUEST, "k", big, sizeof(big));
    check_refused("g:7: 'k' is no Linux kernel, ELF or multiboot image; with a load address it "
                  "would be started at its first byte");
    memset(big, 0, sizeof(big));
    memcpy(big + 0x102, header, sizeof(header));
    set_up();
    (void)add_item(LOADER_GUEST, "k", big, sizeof(big));
    ck_assert_int_eq(load(), -EINVAL);
    ck_assert_ptr_null(strstr(err.msg, "header"));
}
END_TEST

START_TEST(multiboot_image_takes_no_address_and_cuts_the_command_line)
{
    char cmdline[4100];

    make_multiboot();
    set_up();
    add_item(LOADER_GUEST, "dir/kern", image, sizeof(image))->has_address = true;
    items[0].address = ELF_ADDRESS;
    check_refused("g:7: 'dir/kern' is a multiboot image and says itself where it is loaded");
    items[0].has_address = false;
    memset(cmdline, 'x', sizeof(cmdline));
    cmdline[4090] = '\0'; /* "kern " and the final 0 are the rest of the page */
    loader.cmdline = cmdline;
    check_loads();
    ck_assert_uint_eq(strlen((const char *)at(LOADER_CMDLINE)), 4095);
    cmdline[4090] = 'x';
    cmdline[4091] = '\0';
    check_refused("g:9: the command line has 4091 bytes, this bootimage takes 4090");
}
END_TEST

UNIT_MAIN("bootimage32", elf32_starts_in_32_bit_mode_with_a_zero_page,
          lying_elf32_headers_are_refused, pvh_note_wins_over_the_elf_entry,
          pvh_note_is_found_behind_others_and_in_its_wide_form,
          notes_without_an_entry_leave_the_elf_entry, lying_pvh_notes_are_refused,
          pvh_modules_are_listed_up_to_their_limit, elf_with_a_multiboot_header_is_told_so,
          multiboot_modules_have_names_and_ends, multiboot_addresses_say_where_the_file_goes,
          lying_multiboot_headers_are_refused,
          multiboot_header_is_looked_for_in_8_kib_at_whole_words,
          multiboot_image_takes_no_address_and_cuts_the_command_line)
