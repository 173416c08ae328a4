/* What goes to guest memory beside the bootimage, and loading again at a reset. */
#include "tests/unit/loader_unit.h"

#include "proto/base/cleanup.h"
#include "qvm-worker/loader/boot.h"
#include "qvm-worker/loader/place.h"

START_TEST(memory_map_tells_ram_and_what_is_reserved)
{
    static const struct boot_map_entry expected[] = {
        {0, 0x9fc00, BOOT_MAP_RAM},
        {0x9fc00, 0x400, BOOT_MAP_RESERVED},
        {0xe0000, 0x20000, BOOT_MAP_RESERVED},
        {0x100000, 0xc0000000 - 0x100000, BOOT_MAP_RAM},
        {0xe0000000, 0x10000000, BOOT_MAP_RESERVED},
        {0xfeffc000, 0x4000, BOOT_MAP_RESERVED},
        {0x100000000, MIB(1024), BOOT_MAP_RAM},
    };
    static const struct boot_range reserved[] = {{0xe0000000, 0x10000000}, {0xfeffc000, 0x4000}};
    struct boot_map map;

    set_up_with(MIB(4096));
    boot_make_map(memory, reserved, ARRAY_LEN(reserved), &map);
    ck_assert_uint_eq(map.count, ARRAY_LEN(expected));
    ck_assert_mem_eq(map.list, expected, sizeof(expected));
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

UNIT_MAIN("loader", memory_map_tells_ram_and_what_is_reserved, command_line_has_the_kernels_limit,
          initrd_lies_as_high_as_it_may, initrd_keeps_below_what_the_kernel_says_and_off_the_kernel,
          initrd_larger_than_ram_and_second_initrd_are_refused,
          data_lies_at_its_address_and_on_nothing_else,
          second_load_keeps_ram_and_refuses_a_file_that_changed, acpi_file_has_a_limit,
          places_have_a_limit)
