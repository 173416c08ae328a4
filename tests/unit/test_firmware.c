/* Firmware in ROM: starts at the reset vector, lies below 1 MiB as well; data in ROM. */
#include "tests/unit/loader_unit.h"

#include "qvm-worker/loader/boot.h"

#define KIB(n)   ((uint64_t)(n) << 10)
#define FOUR_GIB 0x100000000ull

static uint8_t rom[512 << 10];

static void set_up_rom(uint64_t ram_start, uint64_t rom_size)
{
    const struct memory_range ranges[] = {
        {.has_start = true, .start = ram_start, .size = RAM_SIZE, .where = "g:2"},
        {.has_start = true,
         .start = FOUR_GIB - rom_size,
         .size = rom_size,
         .where = "g:3",
         .is_rom = true},
    };

    set_up();
    memory_destroy(memory);
    ck_assert_int_eq(memory_create(ranges, 2, &memory, &err), 0);
    loader.cmdline = NULL;
    for (uint32_t i = 0; i < sizeof(rom); i++) {
        rom[i] = (uint8_t)(i * 7 + i / 4096);
    }
}

static void add_firmware(uint64_t address, size_t size)
{
    struct loader_item *item = add_item(LOADER_DETECT, "bios", rom, size);

    item->has_address = true;
    item->address = address;
}

START_TEST(firmware_starts_at_the_reset_vector)
{
    set_up_rom(0, KIB(256));
    add_firmware(FOUR_GIB - KIB(256), KIB(256));
    check_loads();
    ck_assert(entry.is_firmware);
    ck_assert_uint_eq(entry.address, 0xfffffff0);
    ck_assert_mem_eq(memory_rom_span(memory, gpa(0xfffc0000), KIB(256)), rom, KIB(256));
    ck_assert_mem_eq(at(0xe0000), rom + KIB(128), KIB(128));
    ck_assert_mem_eq(at(0xc0000), rom, KIB(128)); /* where SeaBIOS' larger part runs */
}
END_TEST

START_TEST(copy_is_the_end_of_a_larger_or_smaller_rom)
{
    set_up_rom(0, KIB(512));
    add_firmware(FOUR_GIB - KIB(512), KIB(512));
    check_loads();
    ck_assert_mem_eq(at(0xc0000), rom + KIB(256), KIB(128));
    ck_assert_mem_eq(at(0xe0000), rom + KIB(384), KIB(128));
    set_up_rom(0, KIB(64));
    memset(memory_span(memory, gpa(0xc0000), KIB(128)), 0x55, KIB(128));
    add_firmware(FOUR_GIB - KIB(64), KIB(64));
    check_loads();
    ck_assert_mem_eq(at(0xf0000), rom, KIB(64));
    ck_assert_uint_eq(*at(0xe0000), 0xff);
    ck_assert_uint_eq(*at(0xeffff), 0xff);
    ck_assert_uint_eq(*at(0xdffff), 0x55);
}
END_TEST

START_TEST(copy_needs_no_ram_below_the_firmware_area)
{
    set_up_rom(MIB(1), KIB(256));
    add_firmware(FOUR_GIB - KIB(256), KIB(256));
    check_loads();
    ck_assert_mem_eq(at(0xe0000), rom + KIB(128), KIB(128));
}
END_TEST

START_TEST(firmware_must_end_at_4_gib_in_its_rom)
{
    set_up_rom(0, KIB(256));
    add_firmware(FOUR_GIB - KIB(256), KIB(128));
    check_refused("g:7: 'bios' is firmware and must end at 4 GiB, where a processor starts: load "
                  "it to 0xfffe0000");
    items[0].address = FOUR_GIB - KIB(64);
    check_refused("g:7: 'bios' has 131072 bytes for 0xffff0000, where the `rom` is smaller");
    items[0].address = FOUR_GIB - KIB(128);
    check_loads();
    set_up_rom(0, KIB(256));
    add_firmware(FOUR_GIB - 15, 15);
    check_refused("g:7: 'bios' is firmware and must end at 4 GiB, where a processor starts: load "
                  "it to 0xfffffff1");
}
END_TEST

START_TEST(firmware_gets_no_command_line_and_no_initrd)
{
    set_up_rom(0, KIB(64));
    add_firmware(FOUR_GIB - KIB(64), KIB(64));
    loader.cmdline = "x";
    check_refused("g:9: firmware takes no command line");
    loader.cmdline = "";
    check_loads();
    (void)add_item(LOADER_INITRD, "i", "x", 1);
    check_refused("g:7: 'i' is an initrd, for which firmware does not look");
}
END_TEST

START_TEST(rom_takes_data_beside_firmware_and_not_on_it)
{
    set_up_rom(0, KIB(128));
    add_firmware(FOUR_GIB - KIB(64), KIB(64));
    (void)add_item(LOADER_DATA, "d", "data", 4);
    items[1].has_address = true;
    items[1].address = FOUR_GIB - KIB(128);
    check_loads();
    ck_assert_mem_eq(memory_rom_span(memory, gpa(FOUR_GIB - KIB(128)), 4), "data", 4);
    items[1].address = FOUR_GIB - KIB(64) - 3;
    check_refused("g:7: 'd' at 0xfffefffd-0xffff0000 would overwrite bios (0xffff0000-0xffffffff)");
    items[1].address = FOUR_GIB - KIB(128) - 1;
    check_refused("g:7: 'd' needs 1 MiB at 0xfffdffff, guest RAM ends at 0x2000000: raise `ram`");
}
END_TEST

START_TEST(memory_map_does_not_tell_rom)
{
    struct boot_map map;

    set_up_rom(0, KIB(64));
    boot_make_map(memory, &(struct boot_range){0xfeffc000, 0x4000}, 1, &map);
    for (uint32_t i = 0; i < map.count; i++) {
        ck_assert_uint_lt(map.list[i].start, 0xff000000);
    }
}
END_TEST

UNIT_MAIN("firmware", firmware_starts_at_the_reset_vector,
          copy_is_the_end_of_a_larger_or_smaller_rom, copy_needs_no_ram_below_the_firmware_area,
          firmware_must_end_at_4_gib_in_its_rom, firmware_gets_no_command_line_and_no_initrd,
          rom_takes_data_beside_firmware_and_not_on_it, memory_map_does_not_tell_rom)
