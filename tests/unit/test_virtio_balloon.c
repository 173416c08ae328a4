/* The balloon: virtio 1.2, 5.5. */
#include <errno.h>

#include "tests/unit/virtio_driver_unit.h"

extern const struct vdev_module *const vdev_virtio_balloon_module;

enum { INFLATE, DEFLATE, STATS, REPORTS };
enum { F_MUST_TELL_HOST, F_STATS, F_DEFLATE_ON_OOM, F_FREE_PAGE_HINT, F_PAGE_POISON, F_REPORTING };
enum { OPTION_DEFLATE_ON_OOM, OPTION_REPORTING };
enum { PAGES_AT = 0x100, ACTUAL_AT = 0x104, PAGE = 4096, LAST_PAGE = RING_MEMORY_END / PAGE };

#define NUMBERS   DATA /* arrays of page numbers */
#define PAGE_DATA (DATA + 0x2000)
#define ALL_OF_IT (VERSION_1 | FEATURE(F_STATS) | FEATURE(F_DEFLATE_ON_OOM) | FEATURE(F_REPORTING))
#define RAM       (UINT64_C(1) << 30)

static struct vdev_value values[] = {
    {.option = OPTION_DEFLATE_ON_OOM, .boolean = true},
    {.option = OPTION_REPORTING, .boolean = true},
};

static void make(void)
{
    static struct vdev_region region = {VDEV_SPACE_MEMORY, 0xfeb00000, 512};
    struct vdev_config config = {.regions = &region,
                                 .region_count = 1,
                                 .values = values,
                                 .value_count = 2,
                                 .intr_count = 1,
                                 .intrs = {16},
                                 .ram_below_4g = RAM};

    ring_memory(&slot);
    ck_assert_int_eq(fake_slot_build(&slot, vdev_virtio_balloon_module, &config), 0);
}

static void set_up(uint64_t features)
{
    make();
    drive(features);
}

static int want(uint64_t bytes)
{
    return slot.module->ops->balloon(slot.device, bytes);
}

/* Offer `count` page numbers of `numbers` as one buffer, and have it worked off. */
static void name_pages(uint32_t queue, const uint32_t *numbers, uint32_t count)
{
    memcpy(memory(NUMBERS), numbers, count * sizeof(*numbers));
    ring_describe(&rings[queue], 0, NUMBERS, count * (uint32_t)sizeof(*numbers), 0, 0);
    ring_offer(&rings[queue], 0);
    kick(queue);
    fake_slot_run(&slot);
}

static void fill(uint64_t address, uint64_t size)
{
    ck_assert_ptr_nonnull(fake_slot_memory(&slot, address, size));
    memset(memory(address), 0xaa, size);
}

static bool is_empty(uint64_t address, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++) {
        if (*memory(address + i) != 0) {
            return false;
        }
    }
    return true;
}

START_TEST(features_are_what_is_there_5_5_3)
{
    make();
    ck_assert_uint_eq(offered() & 0xffffff, ALL_OF_IT & 0xffffff);
    fake_slot_destroy(&slot);
    values[OPTION_DEFLATE_ON_OOM].boolean = values[OPTION_REPORTING].boolean = false;
    make();
    ck_assert_uint_eq(offered() & 0xffffff, FEATURE(F_STATS));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_is_wanted_is_told_in_pages_with_a_change_of_the_configuration_5_5_4)
{
    set_up(ALL_OF_IT);
    ck_assert_uint_eq(get(PAGES_AT), 0);
    ck_assert_int_eq(want(3 * PAGE + 1), 0);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(get(0x60), 2); /* 4.2.2: the configuration has changed */
    ck_assert_uint_eq(get(PAGES_AT), 3);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "wanted=12288\n"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(no_more_than_the_guest_has_can_be_wanted)
{
    set_up(ALL_OF_IT);
    ck_assert_int_eq(want(RAM), 0);
    ck_assert_int_eq(want(RAM + 1), -ERANGE);
    ck_assert_uint_eq(get(PAGES_AT), RAM / PAGE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_wish_before_there_is_a_driver_waits_for_it)
{
    make();
    ck_assert_int_eq(want(2 * PAGE), -EAGAIN);
    drive(ALL_OF_IT);
    ck_assert_uint_eq(get(PAGES_AT), 2);
    set(0x70, 0);
    ck_assert_uint_eq(get(PAGES_AT), 2); /* and for the next one */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_driver_says_how_large_the_balloon_is_and_nothing_else_5_5_4)
{
    set_up(ALL_OF_IT);
    ck_assert_int_eq(want(5 * PAGE), 0);
    set(ACTUAL_AT, 4);
    set(PAGES_AT, 77);
    ck_assert_uint_eq(get(ACTUAL_AT), 4);
    ck_assert_uint_eq(get(PAGES_AT), 5);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\nsize=16384\n"));
    set(0x70, 0);
    ck_assert_uint_eq(get(ACTUAL_AT), 0); /* it took back what it had given */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(named_pages_are_given_back_and_the_buffer_is_used_5_5_6_1)
{
    uint32_t id, size, page = PAGE_DATA / PAGE;

    set_up(ALL_OF_IT);
    fill(PAGE_DATA, PAGE);
    fill(PAGE_DATA + PAGE, 1);
    name_pages(INFLATE, &page, 1);
    ck_assert(ring_take(&rings[INFLATE], &id, &size));
    ck_assert_uint_eq(size, 0);
    ck_assert(is_empty(PAGE_DATA, PAGE));
    ck_assert_uint_eq(*memory(PAGE_DATA + PAGE), 0xaa);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\ngiven-back=4096\n"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(pages_side_by_side_are_given_back_in_one_piece_in_either_order)
{
    const uint32_t first = PAGE_DATA / PAGE;
    const uint32_t up[] = {first, first + 1, first + 2}, down[] = {first + 5, first + 4, first + 3};

    set_up(ALL_OF_IT);
    name_pages(INFLATE, up, 3);
    ck_assert_uint_eq(slot.discard_count, 1);
    ck_assert_uint_eq(slot.discarded_at, PAGE_DATA);
    ck_assert_uint_eq(slot.discarded_size, 3 * PAGE);
    name_pages(INFLATE, down, 3);
    ck_assert_uint_eq(slot.discard_count, 2);
    ck_assert_uint_eq(slot.discarded_at, PAGE_DATA + 3 * PAGE);
    ck_assert_uint_eq(slot.discarded_size, 3 * PAGE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(pages_over_a_border_of_memory_are_given_back_on_both_sides)
{
    const uint32_t border = RING_MEMORY_BORDER / PAGE, pages[] = {border - 1, border};

    set_up(ALL_OF_IT);
    fill(RING_MEMORY_BORDER - PAGE, PAGE);
    fill(RING_MEMORY_BORDER, PAGE);
    name_pages(INFLATE, pages, 2);
    ck_assert(is_empty(RING_MEMORY_BORDER - PAGE, PAGE) && is_empty(RING_MEMORY_BORDER, PAGE));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(pages_that_are_no_memory_are_passed_over)
{
    const uint32_t pages[] = {LAST_PAGE, UINT32_MAX, 0, PAGE_DATA / PAGE, LAST_PAGE + 1};
    uint32_t id, size;

    set_up(ALL_OF_IT);
    name_pages(INFLATE, pages, 5);
    ck_assert(ring_take(&rings[INFLATE], &id, &size));
    ck_assert_uint_eq(slot.discard_count, 1);
    ck_assert_uint_eq(slot.discarded_at, PAGE_DATA);
    ck_assert(!needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(half_a_number_at_the_end_of_a_buffer_is_none)
{
    uint32_t page = PAGE_DATA / PAGE;

    set_up(ALL_OF_IT);
    memcpy(memory(NUMBERS), &page, sizeof(page));
    memcpy(memory(NUMBERS + 4), &page, sizeof(page));
    ring_describe(&rings[INFLATE], 0, NUMBERS, 7, 0, 0);
    ring_offer(&rings[INFLATE], 0);
    kick(INFLATE);
    ck_assert_uint_eq(slot.discard_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_buffer_names_1024_pages_at_most)
{
    static uint32_t pages[1025];

    set_up(ALL_OF_IT);
    for (uint32_t i = 0; i < 1025; i++) { /* no two side by side */
        pages[i] = PAGE_DATA / PAGE + (i & 1) * 2;
    }
    name_pages(INFLATE, pages, 1024);
    ck_assert_uint_eq(slot.discard_count, 1024);
    name_pages(INFLATE, pages, 1025);
    ck_assert_uint_eq(slot.discard_count, 2048);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(one_round_is_bounded_and_the_next_comes_by_itself)
{
    uint32_t page = PAGE_DATA / PAGE;

    set_up(ALL_OF_IT);
    memcpy(memory(NUMBERS), &page, sizeof(page));
    for (uint16_t i = 0; i < 6; i++) {
        ring_describe(&rings[INFLATE], i, NUMBERS, sizeof(page), 0, 0);
        ring_offer(&rings[INFLATE], i);
    }
    kick(INFLATE);
    ck_assert_uint_eq(ring_used_index(&rings[INFLATE]), 4);
    fake_slot_run(&slot);
    ck_assert_uint_eq(ring_used_index(&rings[INFLATE]), 6);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(deflated_pages_are_used_and_stay_as_they_are_5_5_6_1)
{
    uint32_t id, size, page = PAGE_DATA / PAGE;

    set_up(ALL_OF_IT);
    fill(PAGE_DATA, PAGE);
    name_pages(DEFLATE, &page, 1);
    ck_assert(ring_take(&rings[DEFLATE], &id, &size));
    ck_assert_uint_eq(slot.discard_count, 0);
    ck_assert_uint_eq(*memory(PAGE_DATA), 0xaa);
    fake_slot_destroy(&slot);
}
END_TEST

/* One more tag and value at `NUMBERS`. */
static uint32_t put_stat(uint32_t offset, uint16_t tag, uint64_t value)
{
    memcpy(memory(NUMBERS + offset), &tag, sizeof(tag));
    memcpy(memory(NUMBERS + offset + sizeof(tag)), &value, sizeof(value));
    return offset + 10;
}

static void offer_stats(uint32_t size)
{
    ring_describe(&rings[STATS], 0, NUMBERS, size, 0, 0);
    ring_offer(&rings[STATS], 0);
    kick(STATS);
    fake_slot_run(&slot);
}

START_TEST(statistics_keep_the_buffer_until_somebody_looks_again_5_5_6_3)
{
    uint32_t id, size;

    set_up(ALL_OF_IT);
    offer_stats(put_stat(put_stat(0, 4, 1000), 5, 2000));
    ck_assert(!ring_take(&rings[STATS], &id, &size));
    fake_slot_advance(&slot, 7000000);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\nfree=1000\nguest-total=2000\n"));
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\nfigures-age-ms=7\n"));
    fake_slot_run(&slot);
    ck_assert(ring_take(&rings[STATS], &id, &size));
    offer_stats(put_stat(0, 4, 1001));
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\nfree=1001\nfigures-age-ms=0\n"));
    ck_assert_ptr_null(strstr(fake_slot_state(&slot), "guest-total"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(unknown_and_cut_statistics_are_passed_over_5_5_6_4)
{
    set_up(ALL_OF_IT);
    offer_stats(put_stat(put_stat(put_stat(0, 10, 5), 0xffff, 6), 6, 7) - 1);
    ck_assert_ptr_null(strstr(fake_slot_state(&slot), "figures-age-ms"));
    ck_assert(!needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(who_looks_before_there_are_statistics_gets_the_first_ones_soon)
{
    set_up(ALL_OF_IT);
    (void)fake_slot_state(&slot);
    fake_slot_run(&slot);
    offer_stats(put_stat(0, 4, 1000)); /* given back at once: they were of before */
    ck_assert_uint_eq(ring_used_index(&rings[STATS]), 1);
    offer_stats(put_stat(0, 4, 1001));
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\nfree=1001\n"));
    fake_slot_destroy(&slot);
}
END_TEST

static void report(uint32_t queue, uint64_t address, uint32_t size)
{
    ring_describe(&rings[queue], 0, address, size, RING_WRITE, 0);
    ring_offer(&rings[queue], 0);
    kick(queue);
    fake_slot_run(&slot);
}

START_TEST(free_pages_are_given_back_before_the_buffer_is_used_5_5_6_7)
{
    uint32_t id, size;

    set_up(ALL_OF_IT);
    fill(PAGE_DATA, 2 * PAGE);
    report(REPORTS, PAGE_DATA, 2 * PAGE);
    ck_assert(ring_take(&rings[REPORTS], &id, &size));
    ck_assert_uint_eq(size, 0);
    ck_assert(is_empty(PAGE_DATA, 2 * PAGE));
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\nreported=8192\n"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(of_a_report_whole_pages_alone_are_given_back)
{
    set_up(ALL_OF_IT);
    fill(PAGE_DATA, 4 * PAGE);
    report(REPORTS, PAGE_DATA + 1, 2 * PAGE + 4000);
    ck_assert_uint_eq(slot.discarded_at, PAGE_DATA + PAGE);
    ck_assert_uint_eq(slot.discarded_size, PAGE);
    ck_assert_uint_eq(*memory(PAGE_DATA), 0xaa);
    ck_assert_uint_eq(*memory(PAGE_DATA + 2 * PAGE), 0xaa);
    report(REPORTS, PAGE_DATA + 1, PAGE);
    ck_assert_uint_eq(slot.discard_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(reports_that_were_not_agreed_on_change_nothing)
{
    uint32_t id, size;

    set_up(ALL_OF_IT & ~FEATURE(F_REPORTING));
    fill(PAGE_DATA, PAGE);
    report(REPORTS, PAGE_DATA, PAGE);
    ck_assert(ring_take(&rings[REPORTS], &id, &size));
    ck_assert_uint_eq(*memory(PAGE_DATA), 0xaa);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(without_statistics_reports_may_be_in_their_place)
{
    set_up(ALL_OF_IT & ~FEATURE(F_STATS));
    fill(PAGE_DATA, PAGE);
    report(STATS, PAGE_DATA, PAGE);
    ck_assert(is_empty(PAGE_DATA, PAGE));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_restored_balloon_is_as_it_was_saved)
{
    struct fields_writer saved = {0};

    set_up(ALL_OF_IT);
    ck_assert_int_eq(want(9 * PAGE), 0);
    set(ACTUAL_AT, 8);
    offer_stats(put_stat(0, 4, 1000));
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    ck_assert_int_eq(want(PAGE), 0);
    set(ACTUAL_AT, 1);
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    ck_assert_uint_eq(get(PAGES_AT), 9);
    ck_assert_uint_eq(get(ACTUAL_AT), 8);
    fake_slot_run(&slot);
    ck_assert_ptr_nonnull(
        strstr(fake_slot_state(&slot), "\nfree=1000\n")); /* it lies there still */
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_balloon", features_are_what_is_there_5_5_3,
          what_is_wanted_is_told_in_pages_with_a_change_of_the_configuration_5_5_4,
          no_more_than_the_guest_has_can_be_wanted, a_wish_before_there_is_a_driver_waits_for_it,
          the_driver_says_how_large_the_balloon_is_and_nothing_else_5_5_4,
          named_pages_are_given_back_and_the_buffer_is_used_5_5_6_1,
          pages_side_by_side_are_given_back_in_one_piece_in_either_order,
          pages_over_a_border_of_memory_are_given_back_on_both_sides,
          pages_that_are_no_memory_are_passed_over, half_a_number_at_the_end_of_a_buffer_is_none,
          a_buffer_names_1024_pages_at_most, one_round_is_bounded_and_the_next_comes_by_itself,
          deflated_pages_are_used_and_stay_as_they_are_5_5_6_1,
          statistics_keep_the_buffer_until_somebody_looks_again_5_5_6_3,
          unknown_and_cut_statistics_are_passed_over_5_5_6_4,
          who_looks_before_there_are_statistics_gets_the_first_ones_soon,
          free_pages_are_given_back_before_the_buffer_is_used_5_5_6_7,
          of_a_report_whole_pages_alone_are_given_back,
          reports_that_were_not_agreed_on_change_nothing,
          without_statistics_reports_may_be_in_their_place, a_restored_balloon_is_as_it_was_saved)
