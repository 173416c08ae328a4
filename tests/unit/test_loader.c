/* The image loaders: what is accepted lies where it should; what lies about itself is refused in a
 * sentence. Images are made here, byte by byte. */
#include "qvm-worker/loader/loader.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/loader/boot.h"
#include "qvm-worker/loader/guest.h"
#include "qvm-worker/loader/place.h"
#include "tests/unit/unit.h"

#define MIB(n)      ((uint64_t)(n) << 20)
#define IMAGE_SIZE  4096u
#define RAM_SIZE    MIB(32)
#define PREFERRED   0x1000000ull
#define KERNEL_SIZE (IMAGE_SIZE - 1024) /* one setup sector besides the boot sector */

static struct err err;
static struct memory *memory;
static struct loader_item items[LOADER_ITEMS_MAX];
static struct loader loader;
static uint8_t image[IMAGE_SIZE];
static uint64_t entry;

static int make_file(const void *bytes, size_t size)
{
    int fd = memfd_create("image", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    return fd;
}

static struct loader_item *add_item(enum loader_kind kind, const char *path, const void *bytes,
                                    size_t size)
{
    struct loader_item *item = &items[loader.item_count++];

    *item = (struct loader_item){
        .kind = kind, .path = path, .where = "g:7", .fd = make_file(bytes, size)};
    return item;
}

static void put(uint32_t at, uint64_t value, uint32_t size)
{
    memcpy(image + at, &value, size);
}

/* A bzImage of protocol 2.12 with nothing in it but 0xcc. */
static void make_linux(void)
{
    memset(image, 0xcc, sizeof(image));
    memset(image, 0, 1024);
    put(0x1f1, 1, 1);      /* setup sectors */
    put(0x1fe, 0xaa55, 2); /* boot flag */
    put(0x200, 0x6aeb, 2); /* jump over the header: it ends at 0x26c */
    memcpy(image + 0x202, "HdrS", 4);
    put(0x206, 0x20f, 2);      /* protocol */
    put(0x22c, 0x7fffffff, 4); /* the initrd's highest address */
    put(0x230, 0x200000, 4);   /* alignment */
    put(0x234, 1, 1);          /* relocatable */
    put(0x236, 1, 2);          /* 64-bit entry */
    put(0x238, 2047, 4);       /* command line */
    put(0x258, PREFERRED, 8);
    put(0x260, MIB(1), 4); /* init size */
}

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
    memset(image, 0xcc, sizeof(image));
    memset(image, 0, 512);
    *elf_header() = (Elf64_Ehdr){.e_type = ET_EXEC,
                                 .e_machine = EM_X86_64,
                                 .e_entry = 0x200010,
                                 .e_phoff = sizeof(Elf64_Ehdr),
                                 .e_phentsize = sizeof(Elf64_Phdr),
                                 .e_phnum = 1};
    memcpy(image, "\177ELF\2\1\1", 7);
    *elf_segment() = (Elf64_Phdr){.p_type = PT_LOAD,
                                  .p_offset = 512,
                                  .p_vaddr = 0xffff800000200000,
                                  .p_paddr = 0x200000,
                                  .p_filesz = 1024,
                                  .p_memsz = 8192};
}

static void set_up_with(uint64_t ram_size)
{
    const struct memory_range range = {.size = ram_size, .where = "g:2"};

    memory_destroy(memory);
    ck_assert_int_eq(memory_create(&range, 1, &memory, &err), 0);
    loader = (struct loader){.items = items,
                             .cmdline = "console=ttyS0",
                             .cmdline_where = "g:9",
                             .where = "g:1",
                             .reserved_start = 0xfeffc000,
                             .reserved_size = 0x4000};
}

static void set_up(void)
{
    set_up_with(RAM_SIZE);
}

static int load(void)
{
    return loader_load(&loader, memory, &entry, &err);
}

static void check_loads(void)
{
    ck_assert_msg(load() == 0, "%s", err.msg);
}

static void check_refused(const char *words)
{
    ck_assert_int_eq(load(), -EINVAL);
    ck_assert_str_eq(err.msg, words);
}

/* Load `image` alone, as it is. */
static void check_image_refused(const char *words)
{
    set_up();
    (void)add_item(LOADER_GUEST, "k", image, sizeof(image));
    check_refused(words);
}

static const uint8_t *at(uint64_t address)
{
    const uint8_t *p = memory_span(memory, gpa(address), 1);

    ck_assert_ptr_nonnull(p);
    return p;
}

static uint64_t field(uint64_t address, uint32_t size)
{
    uint64_t value = 0;

    ck_assert_int_eq(memory_copy_out(memory, gpa(address), &value, size), 0);
    return value;
}

START_TEST(linux_starts_at_its_64_bit_entry_with_a_zero_page)
{
    set_up();
    make_linux();
    (void)add_item(LOADER_DETECT, "vmlinuz", image, sizeof(image));
    check_loads();
    ck_assert_uint_eq(entry, PREFERRED + 0x200);
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

START_TEST(memory_map_tells_ram_and_what_is_reserved)
{
    static const struct boot_map_entry expected[] = {
        {0, 0x9fc00, BOOT_MAP_RAM},
        {0x9fc00, 0x400, BOOT_MAP_RESERVED},
        {0xe0000, 0x20000, BOOT_MAP_RESERVED},
        {0x100000, 0xc0000000 - 0x100000, BOOT_MAP_RAM},
        {0xfeffc000, 0x4000, BOOT_MAP_RESERVED},
        {0x100000000, MIB(1024), BOOT_MAP_RAM},
    };
    struct boot_map_entry map[BOOT_MAP_MAX];

    set_up_with(MIB(4096));
    ck_assert_uint_eq(boot_make_map(memory, 0xfeffc000, 0x4000, map), ARRAY_LEN(expected));
    ck_assert_mem_eq(map, expected, sizeof(expected));
}
END_TEST

START_TEST(relocatable_kernel_goes_lower_when_ram_is_small)
{
    set_up_with(MIB(4));
    make_linux();
    (void)add_item(LOADER_DETECT, "vmlinuz", image, sizeof(image));
    check_loads();
    ck_assert_uint_eq(entry, MIB(2) + 0x200);
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
    ck_assert_uint_eq(entry, MIB(4) + 0x200);
    items[0].address = MIB(4) + 4096;
    check_refused("g:7: 'k' cannot start at 0x401000: it asks for 0x1000000 or a multiple of "
                  "0x200000");
    items[0].address = 0;
    check_refused("g:7: 'k' cannot start at 0x0");
    items[0].address = 0x1000000000000000;
    check_refused("g:7: 'k' cannot start at 0x1000000000000000");
}
END_TEST

START_TEST(lying_linux_headers_are_refused)
{
    static const char none[] = "g:7: 'k' is not a Linux kernel with a 64-bit entry";

    make_linux();
    put(0x236, 0, 2);
    check_image_refused(none);
    make_linux();
    put(0x206, 0x20b, 2);
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

START_TEST(command_line_has_the_kernels_limit)
{
    char cmdline[4100];

    memset(cmdline, 'x', sizeof(cmdline));
    make_linux();
    set_up();
    (void)add_item(LOADER_GUEST, "k", image, sizeof(image));
    loader.cmdline = cmdline;
    cmdline[2047] = '\0';
    check_loads();
    cmdline[2047] = 'x';
    cmdline[2048] = '\0';
    check_refused("g:9: the command line has 2048 bytes, this bootimage takes 2047");
    put(0x238, 0xffffffff, 4);
    set_up();
    (void)add_item(LOADER_GUEST, "k", image, sizeof(image));
    loader.cmdline = cmdline;
    cmdline[2048] = 'x';
    cmdline[4095] = '\0';
    check_loads();
    ck_assert_uint_eq(strlen((const char *)at(LOADER_CMDLINE)), 4095);
    cmdline[4095] = 'x';
    cmdline[4096] = '\0';
    check_refused("g:9: the command line has 4096 bytes, this bootimage takes 4095");
}
END_TEST

START_TEST(initrd_lies_as_high_as_it_may)
{
    set_up();
    make_linux();
    (void)add_item(LOADER_DETECT, "k", image, sizeof(image));
    (void)add_item(LOADER_INITRD, "i", "initrd!", 7);
    check_loads();
    ck_assert_uint_eq(field(LOADER_ZERO_PAGE + 0x218, 4), RAM_SIZE - 4096);
    ck_assert_uint_eq(field(LOADER_ZERO_PAGE + 0x21c, 4), 7);
    ck_assert_mem_eq(at(RAM_SIZE - 4096), "initrd!", 7);
}
END_TEST

START_TEST(initrd_keeps_below_what_the_kernel_says_and_off_the_kernel)
{
    make_linux();
    put(0x22c, PREFERRED + MIB(1) - 1, 4); /* the kernel lies right below that */
    set_up();
    (void)add_item(LOADER_DETECT, "k", image, sizeof(image));
    (void)add_item(LOADER_INITRD, "i", "initrd!", 7);
    check_loads();
    ck_assert_uint_eq(field(LOADER_ZERO_PAGE + 0x218, 4), PREFERRED - 4096);
    items[1].has_address = true;
    items[1].address = PREFERRED + MIB(1) - 4096;
    check_refused("g:7: 'i' at 0x10ff000-0x10ff006 would overwrite k (0x1000000-0x10fffff)");
    items[1].address = PREFERRED + MIB(1) - 6;
    check_refused("g:7: 'i' ends above 0x1100000, where this kernel does not look");
    items[1].address = UINT64_MAX;
    check_refused("g:7: 'i' ends above 0x1100000, where this kernel does not look");
    items[1].address = MIB(2);
    check_loads();
}
END_TEST

START_TEST(initrd_larger_than_ram_and_second_initrd_are_refused)
{
    make_linux();
    set_up();
    (void)add_item(LOADER_DETECT, "k", image, sizeof(image));
    (void)add_item(LOADER_INITRD, "i", "x", 1);
    ck_assert_int_eq(ftruncate(items[1].fd, (off_t)MIB(33)), 0);
    check_refused("g:7: 'i' needs 34 MiB below 0x80000000, guest RAM ends at 0x2000000: raise "
                  "`ram`");
    set_up();
    (void)add_item(LOADER_DETECT, "k", image, sizeof(image));
    (void)add_item(LOADER_INITRD, "i", "x", 1);
    (void)add_item(LOADER_INITRD, "j", "x", 1);
    check_refused("g:7: 'j' is a second initrd");
}
END_TEST

START_TEST(elf_segments_lie_at_their_physical_addresses)
{
    set_up();
    make_elf();
    memset(memory_span(memory, gpa(0x200000), 8192), 0x55, 8192);
    (void)add_item(LOADER_DETECT, "e", image, sizeof(image));
    check_loads();
    ck_assert_uint_eq(entry, 0x200010);
    ck_assert_uint_eq(*at(0x200000), 0xcc);
    ck_assert_uint_eq(*at(0x200000 + 1023), 0xcc);
    ck_assert_uint_eq(*at(0x200000 + 1024), 0); /* .bss, whatever was there */
    ck_assert_uint_eq(*at(0x200000 + 8191), 0);
    elf_header()->e_entry = 0xffff800000200020;
    set_up();
    (void)add_item(LOADER_DETECT, "e", image, sizeof(image));
    check_loads();
    ck_assert_uint_eq(entry, 0x200020);
}
END_TEST

START_TEST(lying_elf_headers_are_refused)
{
    make_elf();
    image[4] = 1;
    check_image_refused("g:7: 'k' is an ELF file, but not for 64-bit x86");
    make_elf();
    elf_header()->e_machine = EM_AARCH64;
    check_image_refused("g:7: 'k' is an ELF file, but not for 64-bit x86");
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
    ck_assert_uint_eq(entry, MIB(1));
    ck_assert_mem_eq(at(MIB(1)), "\xf4\xeb\xfd", 3);
    items[0].has_address = true;
    items[0].address = MIB(3);
    check_loads();
    ck_assert_uint_eq(entry, MIB(3));
}
END_TEST

START_TEST(what_is_no_image_is_refused)
{
    set_up();
    (void)add_item(LOADER_GUEST, "f", "\xf4\xeb\xfd", 3);
    check_refused("g:7: 'f' is neither a Linux kernel nor an ELF64 image; with a load address it "
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

START_TEST(data_lies_at_its_address_and_on_nothing_else)
{
    make_linux();
    set_up();
    (void)add_item(LOADER_DETECT, "k", image, sizeof(image));
    (void)add_item(LOADER_DATA, "d", "data", 4);
    check_refused("g:7: 'd' needs an address: `load ADDRESS,PATH`");
    items[1].has_address = true;
    items[1].address = MIB(2);
    check_loads();
    ck_assert_mem_eq(at(MIB(2)), "data", 4);
    items[1].address = PREFERRED - 3;
    check_refused("g:7: 'd' at 0xfffffd-0x1000000 would overwrite k (0x1000000-0x10fffff)");
    items[1].address = RAM_SIZE - 3;
    check_refused("g:7: 'd' needs 1 MiB at 0x1fffffd, guest RAM ends at 0x2000000: raise `ram`");
    items[1].address = 0xfffff;
    check_refused("g:7: 'd' needs 1 MiB at 0xfffff, guest RAM ends at 0x2000000: raise `ram`");
    items[1].kind = LOADER_DETECT;
    items[1].address = MIB(3);
    check_loads(); /* a later file without a KIND is data */
    ck_assert_mem_eq(at(MIB(3)), "data", 4);
}
END_TEST

START_TEST(second_load_keeps_ram_and_refuses_a_file_that_changed)
{
    uint8_t *scribble;

    make_linux();
    set_up();
    (void)add_item(LOADER_DETECT, "k", image, sizeof(image));
    check_loads();
    scribble = memory_span(memory, gpa(MIB(8)), 1);
    *scribble = 0x77;
    memset(memory_span(memory, gpa(PREFERRED), 4096), 0, 4096);
    check_loads();
    ck_assert_uint_eq(*scribble, 0x77);
    ck_assert_uint_eq(*at(PREFERRED), 0xcc);
    (void)usleep(10000); /* a clock tick of the file system's times */
    ck_assert_int_eq(pwrite(items[0].fd, "x", 1, 2000), 1);
    ck_assert_int_eq(load(), -ESTALE);
    ck_assert_int_eq(err.code, -ESTALE);
    ck_assert_str_eq(err.msg, "g:7: 'k' was changed in place since this guest started; stop it and "
                              "start it anew");
}
END_TEST

START_TEST(acpi_file_has_a_limit)
{
    static uint8_t table[LOADER_ACPI_FILE_MAX + 1];
    auto_free uint8_t *bytes = NULL;
    uint32_t size = 0;

    set_up();
    (void)add_item(LOADER_ACPI, "t", table, LOADER_ACPI_FILE_MAX);
    ck_assert_int_eq(loader_read_acpi(&items[0], &bytes, &size, &err), 0);
    ck_assert_uint_eq(size, LOADER_ACPI_FILE_MAX);
    (void)add_item(LOADER_ACPI, "u", table, sizeof(table));
    ck_assert_int_eq(loader_read_acpi(&items[1], &bytes, &size, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "g:7: 'u' is larger than an ACPI table may be here: 65536 bytes");
}
END_TEST

START_TEST(places_have_a_limit)
{
    const struct image image_of = {.path = "p", .where = "g:7", .size = 1};
    struct places places;

    set_up();
    places_init(&places, memory);
    for (uint32_t i = 1; i < PLACES_MAX; i++) {
        ck_assert_int_eq(places_take(&places, &image_of, MIB(1) + i, 1, &err), 0);
    }
    ck_assert_int_eq(places_take(&places, &image_of, MIB(2), 1, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "g:7: 'p' is one piece too many to load: 256");
    ck_assert_uint_eq(places_find_low(&places, 4096, 4096, MIB(1)), MIB(1) + 4096);
    ck_assert_uint_eq(places_find_high(&places, 4096, 4096, MIB(1) + 8192), MIB(1) + 4096);
    ck_assert_uint_eq(places_find_low(&places, RAM_SIZE, 4096, MIB(1)), 0);
    ck_assert_uint_eq(places_find_high(&places, RAM_SIZE, 4096, UINT64_MAX), 0);
}
END_TEST

UNIT_MAIN("loader", linux_starts_at_its_64_bit_entry_with_a_zero_page,
          memory_map_tells_ram_and_what_is_reserved,
          relocatable_kernel_goes_lower_when_ram_is_small,
          kernel_that_does_not_fit_says_how_much_it_needs,
          kernel_goes_where_the_configuration_says_if_it_can, lying_linux_headers_are_refused,
          header_longer_than_its_room_is_cut, kernel_of_every_length_is_loaded_or_refused,
          command_line_has_the_kernels_limit, initrd_lies_as_high_as_it_may,
          initrd_keeps_below_what_the_kernel_says_and_off_the_kernel,
          initrd_larger_than_ram_and_second_initrd_are_refused,
          elf_segments_lie_at_their_physical_addresses, lying_elf_headers_are_refused,
          lying_elf_segments_are_refused, flat_image_starts_at_its_first_byte,
          what_is_no_image_is_refused, a_pipe_is_no_image,
          data_lies_at_its_address_and_on_nothing_else,
          second_load_keeps_ram_and_refuses_a_file_that_changed, acpi_file_has_a_limit,
          places_have_a_limit)
