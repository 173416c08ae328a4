/* Bootimages: true ones start where they should, lying ones are refused in a sentence. */
#include "tests/unit/loader_unit.h"

#include <elf.h>

static Elf64_Ehdr *elf_header(void)
{
    return (Elf64_Ehdr *)(void *)image;
}

static Elf64_Phdr *elf_segment(void)
{
    return (Elf64_Phdr *)(void *)(image + sizeof(Elf64_Ehdr));
}

static void make_elf(void)
{
    static const uint8_t ident[] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT};

    memset(image, 0xcc, sizeof(image));
    memset(image, 0, 512);
    *elf_header() = (Elf64_Ehdr){.e_type = ET_EXEC,
                                 .e_machine = EM_X86_64,
                                 .e_entry = 0x200010,
                                 .e_phoff = sizeof(Elf64_Ehdr),
                                 .e_phentsize = sizeof(Elf64_Phdr),
                                 .e_phnum = 1};
    memcpy(image, ident, sizeof(ident));
    *elf_segment() = (Elf64_Phdr){.p_type = PT_LOAD,
                                  .p_offset = 512,
                                  .p_vaddr = 0xffff800000200000,
                                  .p_paddr = 0x200000,
                                  .p_filesz = 1024,
                                  .p_memsz = 8192};
}

/* Load `image` alone, as it is. */
static void check_image_refused(const char *words)
{
    set_up();
    (void)add_item(LOADER_GUEST, "k", image, sizeof(image));
    check_refused(words);
}

START_TEST(linux_starts_at_its_64_bit_entry_with_a_zero_page)
{
    set_up();
    make_linux();
    (void)add_item(LOADER_DETECT, "vmlinuz", image, sizeof(image));
    check_loads();
    ck_assert(!entry.is_32bit);
    ck_assert_uint_eq(entry.address, PREFERRED + 0x200);
    ck_assert_uint_eq(entry.esi, LOADER_ZERO_PAGE);
    ck_assert_uint_eq(field(LOADER_GDT + 0x10, 8), 0x00af9b000000ffff); /* 64-bit code */
    ck_assert_uint_eq(*at(PREFERRED), 0xcc);
    ck_assert_uint_eq(*at(PREFERRED + KERNEL_SIZE - 1), 0xcc);
    ck_assert_uint_eq(*at(PREFERRED + KERNEL_SIZE), 0);
    ck_assert_uint_eq(field(LOADER_ZERO_PAGE + 0x202, 4), 0x53726448); /* HdrS */
    ck_assert_uint_eq(field(LOADER_ZERO_PAGE + 0x1ef, 1), 0);          /* the sentinel */
    ck_assert_uint_eq(field(LOADER_ZERO_PAGE + 0x210, 1), 0xff);
    ck_assert_uint_eq(field(LOADER_ZERO_PAGE + 0x070, 8), 0xe0000); /* RSDP */
    ck_assert_str_eq((const char *)at(field(LOADER_ZERO_PAGE + 0x228, 4)), "console=ttyS0");
    ck_assert_uint_eq(field(LOADER_ZERO_PAGE + 0x21c, 4), 0); /* no initrd */
}
END_TEST

START_TEST(relocatable_kernel_goes_lower_when_ram_is_small)
{
    set_up_with(MIB(4));
    make_linux();
    (void)add_item(LOADER_DETECT, "vmlinuz", image, sizeof(image));
    check_loads();
    ck_assert_uint_eq(entry.address, MIB(2) + 0x200);
}
END_TEST

START_TEST(kernel_that_does_not_fit_says_how_much_it_needs)
{
    set_up_with(MIB(16));
    make_linux();
    put(0x234, 0, 1);
    (void)add_item(LOADER_DETECT, "vmlinuz", image, sizeof(image));
    check_refused("g:7: 'vmlinuz' needs 1 MiB at 0x1000000, guest RAM ends at 0x1000000: raise "
                  "`ram`");
    set_up();
    put(0x234, 1, 1);
    put(0x260, MIB(40), 4);
    (void)add_item(LOADER_DETECT, "vmlinuz", image, sizeof(image));
    check_refused("g:7: 'vmlinuz' needs 40 MiB at 0x1000000, guest RAM ends at 0x2000000: raise "
                  "`ram`");
}
END_TEST

START_TEST(kernel_goes_where_the_configuration_says_if_it_can)
{
    set_up();
    make_linux();
    items[0] = (struct loader_item){0};
    add_item(LOADER_GUEST, "k", image, sizeof(image))->has_address = true;
    items[0].address = MIB(4);
    check_loads();
    ck_assert_uint_eq(entry.address, MIB(4) + 0x200);
    items[0].address = MIB(4) + 4096;
    check_refused("g:7: 'k' cannot start at 0x401000: it asks for 0x1000000 or a multiple of "
                  "0x200000");
    items[0].address = 0;
    check_refused("g:7: 'k' cannot start at 0x0");
    items[0].address = 0x1000000000000000;
    check_refused("g:7: 'k' cannot start at 0x1000000000000000");
}
END_TEST

START_TEST(linux_without_a_64_bit_entry_starts_by_its_32_bit_one)
{
    set_up();
    make_linux();
    put(0x236, 0, 2);
    (void)add_item(LOADER_GUEST, "k", image, sizeof(image));
    check_loads();
    ck_assert(entry.is_32bit);
    ck_assert_uint_eq(entry.address, PREFERRED);
    ck_assert_uint_eq(entry.esi, LOADER_ZERO_PAGE);
    ck_assert_uint_eq(entry.ebx, 0);
    ck_assert_uint_eq(field(LOADER_GDT + 0x10, 8), 0x00cf9b000000ffff); /* 32-bit code */
    set_up();
    put(0x206, 0x205, 2); /* knows of no place, no command line's size: 1 MiB and 255 bytes */
    put(0x258, UINT64_MAX, 8);
    put(0x260, UINT32_MAX, 4);
    put(0x238, UINT32_MAX, 4);
    (void)add_item(LOADER_GUEST, "k", image, sizeof(image));
    check_loads();
    ck_assert(entry.is_32bit);
    ck_assert_uint_eq(entry.address, MIB(1));
    loader.cmdline = "0123456789012345678901234567890123456789012345678901234567890123456789"
                     "0123456789012345678901234567890123456789012345678901234567890123456789"
                     "0123456789012345678901234567890123456789012345678901234567890123456789"
                     "0123456789012345678901234567890123456789012345";
    check_refused("g:9: the command line has 256 bytes, this bootimage takes 255");
}
END_TEST

START_TEST(lying_linux_headers_are_refused)
{
    static const char none[] = "g:7: 'k' is not a bzImage of boot protocol 2.05 or later";

    make_linux();
    put(0x206, 0x204, 2);
    check_image_refused(none);
    make_linux();
    put(0x211, 0, 1);
    check_image_refused(none);
    make_linux();
    put(0x1fe, 0, 2);
    check_image_refused(none);
    make_linux();
    put(0x1f1, 7, 1); /* the kernel would begin at the end of the file */
    check_image_refused("g:7: 'k' is cut short: its kernel begins at 0x1000, it has 4096 bytes");
    make_linux();
    put(0x230, 3, 4);
    check_image_refused("g:7: 'k' asks for an alignment of 0x3");
    make_linux();
    put(0x230, 0, 4);
    check_image_refused("g:7: 'k' asks for an alignment of 0x0");
    make_linux();
    put(0x258, UINT64_MAX, 8);
    put(0x234, 0, 1);
    check_image_refused("g:7: 'k' cannot start at 0xffffffffffffffff");
    make_linux();
    put(0x258, 0xfffff000, 8);
    put(0x234, 0, 1);
    check_image_refused("g:7: 'k' cannot start at 0xfffff000");
}
END_TEST

START_TEST(header_longer_than_its_room_is_cut)
{
    set_up();
    make_linux();
    put(0x201, 0xff, 1);
    (void)add_item(LOADER_GUEST, "k", image, sizeof(image));
    check_loads();
    ck_assert_uint_eq(field(LOADER_ZERO_PAGE + 0x2d0, 8), 0); /* the map begins: RAM from 0 */
    ck_assert_uint_eq(field(LOADER_ZERO_PAGE + 0x2d8, 8), 0x9fc00);
}
END_TEST

START_TEST(kernel_of_every_length_is_loaded_or_refused)
{
    make_linux();
    for (size_t size = 1; size <= sizeof(image); size += size < 1100 ? 7 : 211) {
        set_up_with(MIB(20));
        (void)add_item(LOADER_GUEST, "k", image, size);
        if (load() != 0) {
            ck_assert_int_eq(strncmp(err.msg, "g:7: 'k' is ", 12), 0);
            ck_assert_uint_le(size, 1024 + 512);
        }
        (void)close(items[0].fd);
    }
}
END_TEST

START_TEST(elf_segments_lie_at_their_physical_addresses)
{
    set_up();
    make_elf();
    memset(memory_span(memory, gpa(0x200000), 8192), 0x55, 8192);
    (void)add_item(LOADER_DETECT, "e", image, sizeof(image));
    check_loads();
    ck_assert_uint_eq(entry.address, 0x200010);
    ck_assert_uint_eq(*at(0x200000), 0xcc);
    ck_assert_uint_eq(*at(0x200000 + 1023), 0xcc);
    ck_assert_uint_eq(*at(0x200000 + 1024), 0); /* .bss, whatever was there */
    ck_assert_uint_eq(*at(0x200000 + 8191), 0);
    elf_header()->e_entry = 0xffff800000200020;
    set_up();
    (void)add_item(LOADER_DETECT, "e", image, sizeof(image));
    check_loads();
    ck_assert_uint_eq(entry.address, 0x200020);
}
END_TEST

START_TEST(lying_elf_headers_are_refused)
{
    make_elf();
    image[4] = ELFCLASS32; /* x86-64 in narrow headers */
    check_image_refused("g:7: 'k' is an ELF file, but not for x86");
    make_elf();
    image[4] = ELFCLASSNONE;
    check_image_refused("g:7: 'k' is an ELF file, but not for x86");
    make_elf();
    elf_header()->e_machine = EM_AARCH64;
    check_image_refused("g:7: 'k' is an ELF file, but not for x86");
    make_elf();
    elf_header()->e_type = ET_DYN;
    check_image_refused("g:7: 'k' is an ELF file, but not an executable at fixed addresses");
    make_elf();
    elf_header()->e_phnum = 65;
    check_image_refused("g:7: 'k' has 65 program headers of 56 bytes; 1-64 of 56 can be");
    make_elf();
    elf_header()->e_phentsize = 32;
    check_image_refused("g:7: 'k' has 1 program headers of 32 bytes; 1-64 of 56 can be");
    make_elf();
    elf_header()->e_phoff = UINT64_MAX - 8;
    check_image_refused("g:7: 'k' is cut short: 56 bytes at 0xfffffffffffffff7 are asked for, it "
                        "has 4096");
    make_elf();
    elf_header()->e_entry = 0x202000;
    check_image_refused("g:7: 'k' starts at 0x202000, where none of its segments is");
    make_elf();
    elf_segment()->p_type = PT_NOTE;
    check_image_refused("g:7: 'k' has nothing to load");
}
END_TEST

START_TEST(lying_elf_segments_are_refused)
{
    make_elf();
    elf_segment()->p_filesz = 8193;
    check_image_refused("g:7: 'k' has a segment with 8193 bytes for 8192 of memory");
    make_elf();
    elf_segment()->p_offset = UINT64_MAX;
    check_image_refused("g:7: 'k' is cut short: 1024 bytes at 0xffffffffffffffff are asked for, "
                        "it has 4096");
    make_elf();
    elf_segment()->p_paddr = 0xa0000;
    check_image_refused("g:7: 'k' needs 1 MiB at 0xa0000, guest RAM ends at 0x2000000: raise "
                        "`ram`");
    make_elf();
    elf_segment()->p_memsz = UINT64_MAX;
    check_image_refused("g:7: 'k' needs 17592186044416 MiB at 0x200000, guest RAM ends at "
                        "0x2000000: raise `ram`");
    make_elf();
    elf_segment()->p_paddr = 0xe0000;
    check_image_refused("g:7: 'k' at 0xe0000-0xe1fff would overwrite the firmware tables "
                        "(0xe0000-0xfffff)");
    make_elf();
    elf_header()->e_phnum = 2;
    elf_segment()[1] = elf_segment()[0];
    check_image_refused("g:7: 'k' at 0x200000-0x201fff would overwrite k (0x200000-0x201fff)");
}
END_TEST

START_TEST(flat_image_starts_at_its_first_byte)
{
    set_up();
    (void)add_item(LOADER_DETECT, "f", "\xf4\xeb\xfd", 3);
    check_loads();
    ck_assert_uint_eq(entry.address, MIB(1));
    ck_assert_mem_eq(at(MIB(1)), "\xf4\xeb\xfd", 3);
    items[0].has_address = true;
    items[0].address = MIB(3);
    check_loads();
    ck_assert_uint_eq(entry.address, MIB(3));
}
END_TEST

START_TEST(what_is_no_image_is_refused)
{
    set_up();
    (void)add_item(LOADER_GUEST, "f", "\xf4\xeb\xfd", 3);
    check_refused("g:7: 'f' is no Linux kernel, ELF or multiboot image; with a load address it "
                  "would be started at its first byte");
    set_up();
    (void)add_item(LOADER_DETECT, "f", "system web\nram 64M\n", 19);
    check_refused("g:7: 'f' is text, not a bootimage");
    set_up();
    (void)add_item(LOADER_DETECT, "f", "", 0);
    check_refused("g:7: 'f' is empty");
    set_up();
    (void)add_item(LOADER_DETECT, "f", "x", 1);
    items[0].fd = STDIN_FILENO + 1000;
    ck_assert_int_eq(load(), -EBADF);
    set_up();
    check_refused("g:1: nothing to boot: `load` a bootimage first");
    set_up();
    (void)add_item(LOADER_GUEST, "f", "\xf4", 1);
    (void)add_item(LOADER_GUEST, "g", "\xf4", 1);
    items[1].where = "g:8";
    check_refused("g:8: 'g' is a second bootimage; the first is at g:7");
}
END_TEST

START_TEST(a_pipe_is_no_image)
{
    int ends[2];

    set_up();
    (void)add_item(LOADER_DETECT, "p", "x", 1);
    ck_assert_int_eq(pipe(ends), 0);
    items[0].fd = ends[0];
    check_refused("g:7: 'p' is not a regular file");
}
END_TEST

UNIT_MAIN("bootimage", linux_starts_at_its_64_bit_entry_with_a_zero_page,
          relocatable_kernel_goes_lower_when_ram_is_small,
          kernel_that_does_not_fit_says_how_much_it_needs,
          kernel_goes_where_the_configuration_says_if_it_can,
          linux_without_a_64_bit_entry_starts_by_its_32_bit_one, lying_linux_headers_are_refused,
          header_longer_than_its_room_is_cut, kernel_of_every_length_is_loaded_or_refused,
          elf_segments_lie_at_their_physical_addresses, lying_elf_headers_are_refused,
          lying_elf_segments_are_refused, flat_image_starts_at_its_first_byte,
          what_is_no_image_is_refused, a_pipe_is_no_image)
