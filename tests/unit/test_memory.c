/* Guest RAM: where `ram` options put it, and the gate. */
#include "qvm-worker/memory/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

static struct err err;

static void cleanup_memory(struct memory **memory)
{
    memory_destroy(*memory);
}
#define auto_memory __attribute__((cleanup(cleanup_memory)))

static struct memory *make(const struct memory_range *ranges, uint32_t count)
{
    struct memory *memory = NULL;

    ck_assert_msg(memory_create(ranges, count, &memory, &err) == 0, "%s", err.msg);
    return memory;
}

static void check_refused(const struct memory_range *ranges, uint32_t count, const char *words)
{
    struct memory *memory = NULL;

    ck_assert_int_eq(memory_create(ranges, count, &memory, &err), -EINVAL);
    ck_assert_ptr_null(memory);
    ck_assert_str_eq(err.msg, words);
}

static void check_region(const struct memory *memory, uint32_t index, uint64_t start, uint64_t end,
                         bool is_ram)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(memory, &count);

    ck_assert_uint_lt(index, count);
    ck_assert_uint_eq(regions[index].start, start);
    ck_assert_uint_eq(regions[index].start + regions[index].size, end);
    ck_assert_int_eq(regions[index].is_ram, is_ram);
}

START_TEST(ram_from_zero_leaves_the_hole_of_a_pc_out)
{
    const struct memory_range range = {.size = MIB(64), .where = "a:1"};
    auto_memory struct memory *memory = make(&range, 1);
    uint32_t count = 0;

    (void)memory_regions(memory, &count);
    ck_assert_uint_eq(count, 4);
    check_region(memory, 0, 0, 0xa0000, true);
    check_region(memory, 1, 0xc0000, 0xe0000, true);
    check_region(memory, 2, 0xe0000, 0x100000, false);
    check_region(memory, 3, 0x100000, MIB(64), true);
    ck_assert_uint_eq(memory_size(memory), MIB(64));
    ck_assert_uint_eq(memory_size_below_4g(memory), MIB(64));
    ck_assert_uint_eq(memory_size_above_4g(memory), 0);
}
END_TEST

START_TEST(ram_that_reaches_the_device_area_goes_on_above_4_gib)
{
    const struct memory_range range = {.size = GIB(4), .where = "a:1"};
    auto_memory struct memory *memory = make(&range, 1);

    check_region(memory, 3, 0x100000, 0xc0000000, true);
    check_region(memory, 4, GIB(4), GIB(5), true);
    ck_assert_uint_eq(memory_size_below_4g(memory), GIB(3));
    ck_assert_uint_eq(memory_size_above_4g(memory), GIB(1));
}
END_TEST

START_TEST(ram_leaves_the_place_to_which_firmware_moves_configuration_space)
{
    const struct memory_range ranges[] = {
        {.size = MIB(3072), .where = "a:1"},
        {.has_start = true, .start = 0xfffc0000, .size = 0x40000, .where = "a:2", .is_rom = true}};
    auto_memory struct memory *memory = make(ranges, 2);

    ck_assert_uint_eq(memory_size_below_4g(memory), 0xb0000000);
    ck_assert_uint_eq(memory_size_above_4g(memory), 0x10000000);
}
END_TEST

START_TEST(ram_without_a_start_follows_the_highest_so_far)
{
    const struct memory_range ranges[] = {{.size = KIB(640), .where = "a:1"},
                                          {true, MIB(1), MIB(7), "a:2", false},
                                          {.size = MIB(8), .where = "a:3"}};
    auto_memory struct memory *memory = make(ranges, 3);

    check_region(memory, 0, 0, KIB(640), true);
    check_region(memory, 1, 0xe0000, MIB(1), false);
    check_region(memory, 2, MIB(1), MIB(8), true);
    check_region(memory, 3, MIB(8), MIB(16), true);
}
END_TEST

START_TEST(firmware_area_is_there_without_any_low_ram)
{
    const struct memory_range ranges[] = {{true, GIB(4), MIB(2), "a:1", false}};
    auto_memory struct memory *memory = make(ranges, 1);

    check_region(memory, 0, 0xe0000, MIB(1), false);
    check_region(memory, 1, GIB(4), GIB(4) + MIB(2), true);
    ck_assert_ptr_nonnull(memory_span(memory, gpa(0xffff0), 16));
}
END_TEST

START_TEST(firmware_area_lies_in_the_ram_around_it)
{
    const struct memory_range range = {.size = MIB(4), .where = "a:1"};
    auto_memory struct memory *memory = make(&range, 1);
    const uint8_t *below = memory_span(memory, gpa(0xc0000), KIB(128));
    const uint8_t *firmware = memory_span(memory, gpa(0xe0000), KIB(128));
    const uint8_t *above = memory_span(memory, gpa(MIB(1)), 1);

    check_region(memory, 2, 0xe0000, MIB(1), false);
    ck_assert_ptr_eq(below + KIB(128), firmware);
    ck_assert_ptr_eq(firmware + KIB(128), above);
}
END_TEST

START_TEST(firmware_area_is_whole_where_ram_covers_a_part_of_it)
{
    const struct memory_range ranges[] = {{true, 0, 0xf0000, "a:1", false},
                                          {true, MIB(1), MIB(1), "a:2", false}};
    auto_memory struct memory *memory = make(ranges, 2);

    check_region(memory, 2, 0xe0000, MIB(1), false);
    ck_assert_ptr_nonnull(memory_span(memory, gpa(0xe0000), KIB(128)));
}
END_TEST

START_TEST(ranges_may_come_in_any_order)
{
    const struct memory_range ranges[] = {{true, MIB(32), MIB(1), "a:1", false},
                                          {true, 0, MIB(16), "a:2", false}};
    auto_memory struct memory *memory = make(ranges, 2);

    check_region(memory, 3, MIB(1), MIB(16), true);
    check_region(memory, 4, MIB(32), MIB(33), true);
}
END_TEST

START_TEST(ranges_that_cannot_be_are_refused_with_their_line)
{
    const struct memory_range odd = {.size = KIB(4) + 1, .where = "a:1"};
    const struct memory_range odd_start = {true, 512, KIB(4), "a:1", false};
    const struct memory_range none = {.size = 0, .where = "a:1"};
    const struct memory_range twice[] = {{true, 0, MIB(2), "a:1", false},
                                         {true, MIB(1), MIB(2), "b:7", false}};
    const struct memory_range device = {true, 0xbffff000, KIB(8), "a:1", false};
    const struct memory_range high = {true, (1ull << 40) - KIB(4), KIB(8), "a:1", false};
    const struct memory_range wraps = {true, UINT64_MAX - KIB(4) + 1, KIB(8), "a:1", false};
    const struct memory_range huge = {.size = UINT64_MAX - KIB(4) + 1, .where = "a:1"};

    check_refused(&odd, 1, "a:1: RAM comes in multiples of 4 KiB, and not none: not 4097");
    check_refused(&odd_start, 1,
                  "a:1: RAM starts at a multiple of 4 KiB (0x1000): not at 0x200, but at 0x0 for "
                  "example");
    check_refused(&none, 1, "a:1: RAM comes in multiples of 4 KiB, and not none: not 0");
    check_refused(twice, 2, "b:7: RAM 0x100000-0x2fffff overlaps the RAM of a:1");
    check_refused(&device, 1,
                  "a:1: RAM 0xbffff000-0xc0000fff overlaps the device area "
                  "0xc0000000-0xffffffff");
    check_refused(&high, 1, "a:1: RAM at 0xfffffff000 ends above 0x10000000000");
    check_refused(&wraps, 1, "a:1: RAM at 0xfffffffffffff000 ends above 0x10000000000");
    check_refused(&huge, 1, "a:1: RAM at 0x100000000 ends above 0x10000000000");
}
END_TEST

START_TEST(one_range_more_than_the_limit_is_refused)
{
    struct memory_range ranges[MEMORY_RANGES_MAX + 1];

    for (uint32_t i = 0; i <= MEMORY_RANGES_MAX; i++) {
        ranges[i] = (struct memory_range){.size = KIB(4), .where = "a:1"};
    }
    check_refused(ranges, MEMORY_RANGES_MAX + 1, "a:1: a guest has 1 to 32 `ram` options, not 33");
    check_refused(ranges, 0, "configuration: a guest has 1 to 32 `ram` options, not 0");
    memory_destroy(make(ranges, MEMORY_RANGES_MAX));
}
END_TEST

START_TEST(gate_opens_for_ram_and_for_nothing_else)
{
    const struct memory_range range = {.size = MIB(4), .where = "a:1"};
    auto_memory struct memory *memory = make(&range, 1);

    ck_assert_ptr_nonnull(memory_span(memory, gpa(0), KIB(640)));
    ck_assert_ptr_null(memory_span(memory, gpa(0), KIB(640) + 1));
    ck_assert_ptr_nonnull(memory_span(memory, gpa(0x9ffff), 1));
    ck_assert_ptr_null(memory_span(memory, gpa(0x9ffff), 2));
    ck_assert_ptr_null(memory_span(memory, gpa(0xa0000), 1));
    ck_assert_ptr_null(memory_span(memory, gpa(0xbffff), 1));
    ck_assert_ptr_nonnull(memory_span(memory, gpa(MIB(4) - 1), 1));
    ck_assert_ptr_null(memory_span(memory, gpa(MIB(4)), 0));
    ck_assert_ptr_null(memory_span(memory, gpa(MIB(4) - 1), 2));
    ck_assert_ptr_null(memory_span(memory, gpa(MIB(4) - 1), UINT64_MAX));
    ck_assert_ptr_null(memory_span(memory, gpa(UINT64_MAX), 1));
    ck_assert_ptr_null(memory_span(memory, gpa(0xfee00000), 4));
    ck_assert_uint_eq(memory_run(memory, gpa(MIB(4) - 10)), 10);
    ck_assert_uint_eq(memory_run(memory, gpa(0xa0000)), 0);
}
END_TEST

START_TEST(copies_cross_regions_that_touch_and_are_all_or_nothing)
{
    const struct memory_range range = {.size = MIB(4), .where = "a:1"};
    auto_memory struct memory *memory = make(&range, 1);
    uint8_t out[8] = {0}, *before;

    ck_assert_int_eq(memory_copy_in(memory, gpa(MIB(1) - 3), "abcdef", 6), 0);
    ck_assert_int_eq(memory_copy_out(memory, gpa(MIB(1) - 3), out, 6), 0);
    ck_assert_mem_eq(out, "abcdef", 6);
    ck_assert_mem_eq(memory_span(memory, gpa(MIB(1)), 3), "def", 3);
    ck_assert_int_eq(memory_copy_in(memory, gpa(0x9fffe), "xyz", 3), -EFAULT);
    before = memory_span(memory, gpa(0x9fffe), 2);
    ck_assert_uint_eq(before[0], 0);
    ck_assert_int_eq(memory_copy_out(memory, gpa(MIB(4) - 1), out, 2), -EFAULT);
    ck_assert_mem_eq(out, "abcdef", 6);
    ck_assert_int_eq(memory_copy_in(memory, gpa(UINT64_MAX), "xyz", 3), -EFAULT);
}
END_TEST

START_TEST(ram_is_sealed_and_starts_as_zeroes)
{
    const struct memory_range range = {.size = MIB(4), .where = "a:1"};
    auto_memory struct memory *memory = make(&range, 1);
    const uint64_t *words = memory_span(memory, gpa(MIB(1)), KIB(4));

    ck_assert_uint_eq(words[0] | words[511], 0);
    ck_assert_int_eq(ftruncate(memory_fd(memory), 0), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(fcntl(memory_fd(memory), F_GET_SEALS),
                     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}
END_TEST

START_TEST(huge_pages_fit_address_and_file)
{
    const struct memory_range ranges[] = {{true, 0, KIB(640), "a:1", false},
                                          {true, MIB(1), MIB(7), "a:2", false},
                                          {true, MIB(100) + KIB(4), MIB(8), "a:3", false},
                                          {true, GIB(4), MIB(8), "a:4", false}};
    auto_memory struct memory *memory = make(ranges, 4);
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(memory, &count);

    for (uint32_t i = 0; i < count; i++) {
        ck_assert_uint_eq(regions[i].start % MIB(2), regions[i].offset % MIB(2));
        ck_assert_uint_eq(regions[i].start % MIB(2), (uintptr_t)regions[i].host % MIB(2));
    }
}
END_TEST

static void on_progress(void *context, uint64_t done, uint64_t all)
{
    uint64_t *last = context;

    ck_assert_uint_gt(done, *last);
    ck_assert_uint_le(done, all);
    *last = done;
}

START_TEST(populating_touches_every_page_and_tells_how_far_it_is)
{
    const struct memory_range range = {.size = MIB(2), .where = "a:1"};
    auto_memory struct memory *memory = make(&range, 1);
    uint64_t last = 0;

    ck_assert_int_eq(memory_populate(memory, on_progress, &last, &err), 0);
    ck_assert_uint_eq(last, MIB(2) - KIB(128)); /* without the hole */
    ck_assert_int_eq(lseek(memory_fd(memory), 0, SEEK_DATA) >= 0, 1);
}
END_TEST

START_TEST(huge_pages_are_whole_and_come_when_it_is_populated_or_not_at_all)
{
    const struct memory_range ranges[] = {
        {.size = MIB(3), .where = "a:1"},
        {.has_start = true, .start = 0xfffc0000, .size = KIB(256), .where = "a:2", .is_rom = true},
    };
    struct memory *memory = NULL;
    int r;

    ck_assert_uint_eq(memory_taken(MIB(2), ranges, 1), MIB(4));
    ck_assert_uint_eq(memory_taken(MIB(2), ranges, 2), MIB(6));
    ck_assert_uint_eq(memory_taken(MEMORY_PAGE_SIZE, ranges, 1), MIB(3));
    if (memory_create_in(MIB(2), ranges, 2, &memory, &err) != 0) {
        return; /* this kernel has no huge pages of that size */
    }
    r = memory_populate(memory, NULL, NULL, &err);
    if (r == 0) {
        memset(memory_span(memory, gpa(MIB(1)), MIB(2)), 1, MIB(2));
        memset(memory_rom_span(memory, gpa(0xfffc0000), KIB(256)), 1, KIB(256));
    } else { /* as on most machines: none were put aside */
        ck_assert_int_eq(r, -ENOSPC);
        ck_assert_str_eq(err.msg, "the host has no 3 pages of 2048 KiB left for guest RAM: stop "
                                  "guests that have some, or reserve more "
                                  "(/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages)");
    }
    memory_destroy(memory);
}
END_TEST

START_TEST(rom_is_no_ram_for_anybody_but_its_loader)
{
    const struct memory_range ranges[] = {
        {.size = MIB(64), .where = "a:1"},
        {.has_start = true, .start = 0xfffc0000, .size = KIB(256), .where = "a:2", .is_rom = true},
    };
    auto_memory struct memory *memory = make(ranges, 2);
    uint32_t count = 0;
    const struct memory_region *roms = memory_roms(memory, &count);
    uint8_t byte = 0;

    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(roms[0].start, 0xfffc0000);
    ck_assert_uint_eq(roms[0].size, KIB(256));
    ck_assert(!roms[0].is_ram);
    ck_assert_uint_eq(memory_size(memory), MIB(64));
    ck_assert_ptr_null(memory_span(memory, gpa(0xfffc0000), 1));
    ck_assert_uint_eq(memory_run(memory, gpa(0xfffc0000)), 0);
    ck_assert_int_eq(memory_copy_in(memory, gpa(0xfffc0000), &byte, 1), -EFAULT);
    ck_assert_int_eq(memory_copy_out(memory, gpa(0xfffc0000), &byte, 1), -EFAULT);
    ck_assert_ptr_eq(memory_rom_span(memory, gpa(0xfffc0000), KIB(256)), roms[0].host);
    ck_assert_ptr_eq(memory_rom_span(memory, gpa(0xffffffff), 1), roms[0].host + KIB(256) - 1);
    ck_assert_ptr_null(memory_rom_span(memory, gpa(0xffffffff), 2));
    ck_assert_ptr_null(memory_rom_span(memory, gpa(0xfffbffff), 2));
    ck_assert_ptr_null(memory_rom_span(memory, gpa(0x100000), 1));
    (void)memory_regions(memory, &count);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_uint_lt(memory_regions(memory, &count)[i].start, 0xc0000000);
    }
}
END_TEST

START_TEST(rom_keeps_off_controllers_firmware_area_and_ram)
{
    struct memory_range ranges[] = {
        {.size = MIB(64), .where = "a:1"},
        {.has_start = true, .size = KIB(4), .where = "a:2", .is_rom = true},
    };

    ranges[1].start = 0xfebff000;
    ck_assert_int_eq(memory_check(ranges, 2, &err), 0);
    ranges[1].start = 0xfec00000;
    check_refused(ranges, 2, "a:2: ROM 0xfec00000-0xfec00fff overlaps the interrupt controllers");
    ranges[1].start = 0xfefff000;
    check_refused(ranges, 2, "a:2: ROM 0xfefff000-0xfeffffff overlaps the interrupt controllers");
    ranges[1].start = 0xff000000;
    ck_assert_int_eq(memory_check(ranges, 2, &err), 0);
    ranges[0].has_start = true;
    ranges[0].start = MIB(1);
    ranges[1].start = 0xe0000;
    check_refused(ranges, 2,
                  "a:2: ROM 0xe0000-0xe0fff covers a part of the firmware area 0xe0000-0xfffff, "
                  "which the VM fills itself: give all of it, or nothing");
    ranges[1].start = MIB(64);
    check_refused(ranges, 2, "a:2: ROM 0x4000000-0x4000fff overlaps the RAM of a:1");
    ranges[1].start = 0x100;
    check_refused(ranges, 2,
                  "a:2: ROM starts at a multiple of 4 KiB (0x1000): not at 0x100, but at 0x0 for "
                  "example");
    ranges[1].start = MEMORY_ADDRESS_MAX;
    check_refused(ranges, 2, "a:2: ROM at 0x10000000000 ends above 0x10000000000");
}
END_TEST

static void check_rom_over_firmware(uint64_t start, uint64_t size)
{
    const struct memory_range ranges[] = {
        {.has_start = true, .size = KIB(640), .where = "a:1"},
        {.has_start = true, .start = MIB(2), .size = MIB(8), .where = "a:2"},
        {.has_start = true, .start = start, .size = size, .where = "a:3", .is_rom = true},
    };
    auto_memory struct memory *memory = make(ranges, 3);
    uint32_t count = 0, at = 0;
    const struct memory_region *regions = memory_regions(memory, &count);
    const struct memory_region *roms;

    ck_assert_uint_eq(count, 3);
    check_region(memory, 1, 0xe0000, 0x100000, false);
    ck_assert(!regions[0].is_read_only && regions[1].is_read_only && !regions[2].is_read_only);
    ck_assert_ptr_eq(memory_span(memory, gpa(0xe0000), KIB(128)), regions[1].host);
    ck_assert_ptr_null(memory_rom_span(memory, gpa(0xe0000), 1));
    roms = memory_roms(memory, &count);
    if (start < 0xe0000) {
        ck_assert_uint_eq(roms[at].start, start);
        ck_assert(roms[at].is_read_only);
        ck_assert_uint_eq(roms[at++].size, 0xe0000 - start);
    }
    if (start + size > MIB(1)) {
        ck_assert_uint_eq(roms[at].start, MIB(1));
        ck_assert_uint_eq(roms[at++].size, start + size - MIB(1));
    }
    ck_assert_uint_eq(count, at);
}

START_TEST(rom_over_the_firmware_area_makes_that_read_only)
{
    check_rom_over_firmware(0xc0000, KIB(256));
    check_rom_over_firmware(0xe0000, KIB(128));
    check_rom_over_firmware(0xe0000, KIB(132));
    check_rom_over_firmware(0xc0000, KIB(512));
}
END_TEST

START_TEST(rom_over_the_firmware_area_is_all_of_it_and_without_firmware)
{
    struct memory_range ranges[] = {
        {.has_start = true, .start = MIB(1), .size = MIB(8), .where = "a:1"},
        {.has_start = true, .start = 0xc0000, .size = KIB(252), .where = "a:2", .is_rom = true},
        {.has_start = true, .start = 0xffff0000, .size = KIB(64), .where = "a:3", .is_rom = true},
    };

    check_refused(ranges, 2,
                  "a:2: ROM 0xc0000-0xfefff covers a part of the firmware area 0xe0000-0xfffff, "
                  "which the VM fills itself: give all of it, or nothing");
    ranges[1].size = KIB(256);
    check_refused(ranges, 3,
                  "a:2: ROM 0xc0000-0xfffff is where the end of the firmware's ROM is seen: leave "
                  "this 'rom' out");
}
END_TEST

START_TEST(ram_without_a_start_does_not_follow_rom_among_devices)
{
    const struct memory_range ranges[] = {
        {.size = MIB(16), .where = "a:1"},
        {.has_start = true, .start = 0xffff0000, .size = KIB(64), .where = "a:2", .is_rom = true},
        {.size = MIB(16), .where = "a:3"},
        {.size = KIB(64), .where = "a:4", .is_rom = true},
    };
    auto_memory struct memory *memory = make(ranges, 4);

    ck_assert_ptr_nonnull(memory_span(memory, gpa(MIB(32) - 1), 1));
    ck_assert_ptr_null(memory_span(memory, gpa(0x100000000), 1));
    ck_assert_ptr_nonnull(memory_rom_span(memory, gpa(MIB(32)), KIB(64)));
}
END_TEST

UNIT_MAIN("memory", ram_from_zero_leaves_the_hole_of_a_pc_out,
          ram_leaves_the_place_to_which_firmware_moves_configuration_space,
          ram_that_reaches_the_device_area_goes_on_above_4_gib,
          ram_without_a_start_follows_the_highest_so_far,
          firmware_area_is_there_without_any_low_ram, firmware_area_lies_in_the_ram_around_it,
          firmware_area_is_whole_where_ram_covers_a_part_of_it, ranges_may_come_in_any_order,
          ranges_that_cannot_be_are_refused_with_their_line,
          one_range_more_than_the_limit_is_refused, gate_opens_for_ram_and_for_nothing_else,
          copies_cross_regions_that_touch_and_are_all_or_nothing,
          ram_is_sealed_and_starts_as_zeroes, huge_pages_fit_address_and_file,
          populating_touches_every_page_and_tells_how_far_it_is,
          huge_pages_are_whole_and_come_when_it_is_populated_or_not_at_all,
          rom_is_no_ram_for_anybody_but_its_loader, rom_keeps_off_controllers_firmware_area_and_ram,
          rom_over_the_firmware_area_makes_that_read_only,
          rom_over_the_firmware_area_is_all_of_it_and_without_firmware,
          ram_without_a_start_does_not_follow_rom_among_devices)
