/* What a helper has acknowledged and may not have brought to the disk. */
#include <string.h>

#include "qvm-worker/image/helper_private.h"
#include "tests/unit/unit.h"

static struct helper_log book;

static void set_up(void)
{
    memset(&book, 0, sizeof(book));
    ck_assert_int_eq(helper_log_init(&book), 0);
}

static void tear_down(void)
{
    helper_log_fini(&book);
}

static void acknowledge(uint64_t sector, uint32_t size, uint8_t fill)
{
    static uint8_t data[HELPER_SLOT_SIZE];
    const struct helper_issued issued = {
        .slot = {.type = 1, .sector = sector}, .size = size, .has_data = true};

    memset(data, fill, size);
    ck_assert(helper_log_reserve(&book, size));
    helper_log_release(&book, &issued);
    helper_log_add(&book, &issued, data);
}

static void expect(uint64_t sector, uint32_t size, uint8_t fill)
{
    const struct helper_issued *issued = helper_log_next(&book);
    const uint8_t *data = (const uint8_t *)(issued + 1);

    ck_assert_ptr_nonnull(issued);
    ck_assert_uint_eq(issued->slot.sector, sector);
    ck_assert_uint_eq(issued->size, size);
    ck_assert_uint_eq(data[0], fill);
    ck_assert_uint_eq(data[size - 1], fill);
}

START_TEST(what_was_acknowledged_comes_again_in_its_order)
{
    ck_assert(!helper_log_rewind(&book));
    acknowledge(7, 512, 1);
    acknowledge(7, 513, 2);
    for (int i = 0; i < 2; i++) { /* as often as helpers end meanwhile */
        ck_assert(helper_log_rewind(&book));
        expect(7, 512, 1);
        expect(7, 513, 2);
        ck_assert_ptr_null(helper_log_next(&book));
    }
}
END_TEST

START_TEST(a_flush_frees_what_was_acknowledged_before_it_was_asked_for)
{
    acknowledge(1, 512, 1);
    helper_log_cover(&book, 3);
    acknowledge(2, 512, 2);
    helper_log_cover(&book, 4); /* while another is on its way: it counts for nothing */
    helper_log_covered(&book, 4);
    ck_assert(helper_log_rewind(&book));
    expect(1, 512, 1);
    expect(2, 512, 2);
    helper_log_covered(&book, 3);
    ck_assert(helper_log_rewind(&book));
    expect(2, 512, 2);
    ck_assert_ptr_null(helper_log_next(&book));
    helper_log_cover(&book, 5);
    helper_log_covered(&book, 5);
    ck_assert(!helper_log_rewind(&book));
}
END_TEST

START_TEST(a_flush_that_was_on_its_way_to_a_lost_helper_frees_nothing)
{
    acknowledge(1, 512, 1);
    helper_log_cover(&book, 3);
    helper_log_lose(&book);
    acknowledge(2, 512, 2);
    helper_log_covered(&book, 3);
    ck_assert(helper_log_rewind(&book));
    expect(1, 512, 1);
    expect(2, 512, 2);
    helper_log_cover(&book, 3); /* of the next helper: it covers the older half alone */
    helper_log_covered(&book, 3);
    ck_assert(helper_log_rewind(&book));
    expect(2, 512, 2);
}
END_TEST

START_TEST(a_full_one_wants_a_flush_and_has_no_room_before)
{
    uint64_t sector = 0;

    ck_assert(!helper_log_wants_flush(&book));
    while (helper_log_reserve(&book, HELPER_SLOT_SIZE)) {
        const struct helper_issued issued = {.size = HELPER_SLOT_SIZE, .has_data = true};

        helper_log_release(&book, &issued);
        acknowledge(sector++, HELPER_SLOT_SIZE, 1);
        ck_assert_uint_lt(sector, HELPER_LOG_HALF / HELPER_SLOT_SIZE);
    }
    ck_assert_uint_ge(sector, HELPER_LOG_HALF / HELPER_SLOT_SIZE - 1);
    ck_assert(helper_log_wants_flush(&book));
    helper_log_cover(&book, 0);
    ck_assert(!helper_log_wants_flush(&book));
    ck_assert(helper_log_reserve(&book, HELPER_SLOT_SIZE)); /* in the other half */
}
END_TEST

START_TEST(one_that_was_given_up_begins_empty)
{
    acknowledge(1, 512, 1);
    ck_assert(helper_log_reserve(&book, 512));
    helper_log_fini(&book);
    ck_assert(!helper_log_rewind(&book));
    ck_assert_int_eq(helper_log_init(&book), 0);
    ck_assert(!helper_log_rewind(&book));
    ck_assert_ptr_null(helper_log_next(&book));
    acknowledge(2, 512, 1);
    ck_assert(helper_log_rewind(&book));
}
END_TEST

UNIT_MAIN_WITH("helper_log", set_up, tear_down, what_was_acknowledged_comes_again_in_its_order,
               a_flush_frees_what_was_acknowledged_before_it_was_asked_for,
               a_flush_that_was_on_its_way_to_a_lost_helper_frees_nothing,
               a_full_one_wants_a_flush_and_has_no_room_before, one_that_was_given_up_begins_empty)
