/* Guest RAM: where `ram` options put it, and the gate. */
#include "qvm-worker/memory.h"

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

START_TEST(ram_without_a_start_follows_the_highest_so_far)
{
    const struct memory_range ranges[] = {{.size = KIB(640), .where = "a:1"},
                                          {true, MIB(1), MIB(7), "a:2"},
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
    const struct memory_range ranges[] = {{true, GIB(4), MIB(2), "a:1"}};
    auto_memory struct memory *memory = make(ranges, 1);

    check_region(memory, 0, 0xe0000, MIB(1), false);
    check_region(memory, 1, GIB(4), GIB(4) + MIB(2), true);
    ck_assert_ptr_nonnull(memory_span(memory, gpa(0xffff0), 16));
}
END_TEST

START_TEST(ranges_may_come_in_any_order)
{
    const struct memory_range ranges[] = {{true, MIB(32), MIB(1), "a:1"},
                                          {true, 0, MIB(16), "a:2"}};
    auto_memory struct memory *memory = make(ranges, 2);

    check_region(memory, 3, MIB(1), MIB(16), true);
    check_region(memory, 4, MIB(32), MIB(33), true);
}
END_TEST

START_TEST(ranges_that_cannot_be_are_refused_with_their_line)
{
    const struct memory_range odd = {.size = KIB(4) + 1, .where = "a:1"};
    const struct memory_range odd_start = {true, 512, KIB(4), "a:1"};
    const struct memory_range none = {.size = 0, .where = "a:1"};
    const struct memory_range twice[] = {{true, 0, MIB(2), "a:1"}, {true, MIB(1), MIB(2), "b:7"}};
    const struct memory_range device = {true, 0xbffff000, KIB(8), "a:1"};
    const struct memory_range high = {true, (1ull << 40) - KIB(4), KIB(8), "a:1"};
    const struct memory_range wraps = {true, UINT64_MAX - KIB(4) + 1, KIB(8), "a:1"};
    const struct memory_range huge = {.size = UINT64_MAX - KIB(4) + 1, .where = "a:1"};
    const char odd_words[] = "a:1: RAM comes in multiples of 4 KiB, and not none";

    check_refused(&odd, 1, odd_words);
    check_refused(&odd_start, 1, odd_words);
    check_refused(&none, 1, odd_words);
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
    const struct memory_range ranges[] = {{true, 0, KIB(640), "a:1"},
                                          {true, MIB(1), MIB(7), "a:2"},
                                          {true, MIB(100) + KIB(4), MIB(8), "a:3"},
                                          {true, GIB(4), MIB(8), "a:4"}};
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

UNIT_MAIN("memory", ram_from_zero_leaves_the_hole_of_a_pc_out,
          ram_that_reaches_the_device_area_goes_on_above_4_gib,
          ram_without_a_start_follows_the_highest_so_far,
          firmware_area_is_there_without_any_low_ram, ranges_may_come_in_any_order,
          ranges_that_cannot_be_are_refused_with_their_line,
          one_range_more_than_the_limit_is_refused, gate_opens_for_ram_and_for_nothing_else,
          copies_cross_regions_that_touch_and_are_all_or_nothing,
          ram_is_sealed_and_starts_as_zeroes, huge_pages_fit_address_and_file,
          populating_touches_every_page_and_tells_how_far_it_is)
