/* The factory page and the control pages of memory that guests share. */
#include <string.h>

#include "tests/fake/vdev_shmem.h"
#include "tests/unit/unit.h"

enum { FACTORY, WINDOW };
enum { SIGNATURE = 0, SHMEM = 8, VECTOR = 16, STATUS = 20, SIZE = 24, NAME = 28, FIND = 60 };
enum { IDX = 4, NOTIFY = 8, DETACH = 12, PAGE = 4096 };

static struct vdev_slot slot;

static uint64_t read_at(uint32_t region, uint64_t offset, uint32_t size)
{
    return slot.module->ops->read(slot.device, region, offset, size);
}

static void write_at(uint32_t region, uint64_t offset, uint32_t size, uint64_t value)
{
    slot.module->ops->write(slot.device, region, offset, size, value);
}

static void write_name(const char *name)
{
    size_t size = strlen(name);

    for (uint32_t i = 0; i < VDEV_SHMEM_NAME_MAX; i++) {
        write_at(FACTORY, NAME + i, 1, i < size ? (uint8_t)name[i] : 0);
    }
}

/* A region by that name; what became of it. */
static uint64_t attach(const char *name, uint32_t pages)
{
    write_name(name);
    write_at(FACTORY, pages > 0 ? SIZE : FIND, 4, pages);
    return read_at(FACTORY, STATUS, 4);
}

START_TEST(the_factory_page_is_at_its_places)
{
    ck_assert_int_eq(fake_shmem_create(&slot, false), 0);
    ck_assert_uint_eq(read_at(FACTORY, SIGNATURE, 8), UINT64_C(0x4d534732474d5651));
    ck_assert_uint_eq(read_at(FACTORY, SIGNATURE, 4), 0x474d5651);
    ck_assert_uint_eq(read_at(FACTORY, SIGNATURE + 4, 4), 0x4d534732);
    ck_assert_uint_eq(read_at(FACTORY, VECTOR, 4), FAKE_SHMEM_LINE);
    ck_assert_uint_eq(read_at(FACTORY, SHMEM, 8), 0);
    ck_assert_uint_eq(read_at(FACTORY, 64, 4), 0);
    ck_assert_uint_eq(read_at(FACTORY, 60, 8), 0);
    ck_assert_uint_eq(read_at(WINDOW, 0, 4), 0);
    write_at(FACTORY, SIGNATURE, 8, 0);
    write_at(FACTORY, VECTOR, 4, 0);
    ck_assert_uint_eq(read_at(FACTORY, SIGNATURE, 8), UINT64_C(0x4d534732474d5651));
    ck_assert_uint_eq(read_at(FACTORY, VECTOR, 4), FAKE_SHMEM_LINE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_region_is_asked_for_by_name_and_size)
{
    ck_assert_int_eq(fake_shmem_create(&slot, false), 0);
    fake_shmem.there = UINT64_C(2) * PAGE;
    ck_assert_uint_eq(attach("ring", 5), 0);
    ck_assert_str_eq(fake_shmem.name, "ring");
    ck_assert_uint_eq(fake_shmem.bytes, UINT64_C(5) * PAGE);
    ck_assert_uint_eq(fake_shmem.most, FAKE_SHMEM_WINDOW - PAGE);
    ck_assert_uint_eq(read_at(FACTORY, SHMEM, 8), FAKE_SHMEM_START);
    ck_assert_uint_eq(read_at(FACTORY, SIZE, 4), 2);
    ck_assert_uint_eq(read_at(WINDOW, IDX, 4), 3);
    ck_assert_uint_eq(attach("second", 0), 0);
    ck_assert_uint_eq(fake_shmem.bytes, 0);
    ck_assert_uint_eq(fake_shmem.most, FAKE_SHMEM_WINDOW - 4 * PAGE);
    ck_assert_uint_eq(read_at(FACTORY, SHMEM, 8), FAKE_SHMEM_START + UINT64_C(3) * PAGE);
    ck_assert_uint_eq(read_at(WINDOW, UINT64_C(3) * PAGE + IDX, 4), 4);
    ck_assert_uint_eq(attach("ring", 0), 0); /* once more: it is there */
    ck_assert_uint_eq(read_at(FACTORY, SHMEM, 8), FAKE_SHMEM_START);
    ck_assert_uint_eq(fake_shmem.wish_count, 2);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(why_there_is_none_stands_in_the_status)
{
    ck_assert_int_eq(fake_shmem_create(&slot, false), 0);
    for (uint32_t status = 1; status <= VDEV_SHMEM_DOES_NOT_EXIST; status++) {
        fake_shmem.status = (enum vdev_shmem_status)status;
        ck_assert_uint_eq(attach("ring", 1), status);
        ck_assert_uint_eq(read_at(FACTORY, SHMEM, 8), 0);
    }
    fake_shmem.status = VDEV_SHMEM_OK;
    fake_shmem.show = -1;
    ck_assert_uint_eq(attach("ring", 1), VDEV_SHMEM_NO_MEMORY);
    ck_assert_uint_eq(fake_shmem.left_count, 1);
    fake_shmem.show = 0;
    fake_shmem.is_nowhere = true;
    ck_assert_uint_eq(attach("ring", 1), VDEV_SHMEM_FAILED);
    fake_shmem.is_nowhere = false;
    ck_assert_uint_eq(attach("ring", UINT32_MAX), VDEV_SHMEM_NO_MEMORY);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_name_of_32_bytes_needs_no_end)
{
    ck_assert_int_eq(fake_shmem_create(&slot, false), 0);
    ck_assert_uint_eq(attach("a2345678901234567890123456789012", 1), 0);
    ck_assert_str_eq(fake_shmem.name, "a2345678901234567890123456789012");
    write_at(FACTORY, NAME + 30, 4, 0x7a7a7a7a); /* over its end: it is no access of the name */
    ck_assert_uint_eq(read_at(FACTORY, FIND, 4), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(eight_regions_and_what_fits_into_the_window)
{
    char name[] = "a";

    ck_assert_int_eq(fake_shmem_create(&slot, false), 0);
    for (; *name < 'a' + (char)VDEV_SHMEM_MAX; ++*name) {
        ck_assert_uint_eq(attach(name, 1), 0);
    }
    ck_assert_uint_eq(attach("z", 1), VDEV_SHMEM_TOO_MANY);
    ck_assert_uint_eq(read_at(FACTORY, SHMEM, 8), 0);
    write_at(WINDOW, UINT64_C(2) * PAGE + DETACH, 4, 1); /* the second */
    ck_assert_uint_eq(attach("z", 2), 0);                /* too big for its place */
    ck_assert_uint_eq(read_at(FACTORY, SHMEM, 8), FAKE_SHMEM_START + UINT64_C(16) * PAGE);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(news_raise_the_line_until_the_status_was_read)
{
    ck_assert_int_eq(fake_shmem_create(&slot, false), 0);
    ck_assert_uint_eq(attach("ring", 1), 0);
    ck_assert(slot.is_high); /* somebody is attached: the guest itself */
    fake_shmem.news = 0x00080000;
    ck_assert_uint_eq(read_at(WINDOW, 0, 4), 0x00080000);
    ck_assert(!slot.is_high);
    fake_shmem.news = 0x000a0002;
    slot.module->ops->shmem_changed(slot.device, 0);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(read_at(WINDOW, 0, 4), 0x000a0002);
    ck_assert_uint_eq(read_at(WINDOW, 0, 4), 0x000a0000);
    ck_assert(!slot.is_high);
    slot.module->ops->shmem_changed(slot.device, 5); /* none of its own */
    ck_assert(!slot.is_high);
    write_at(WINDOW, NOTIFY, 4, 0xffff0002);
    ck_assert_uint_eq(fake_shmem.notified, 2);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(with_msix_a_message_is_sent_and_the_line_stays_low)
{
    ck_assert_int_eq(fake_shmem_create(&slot, true), 0);
    ck_assert_uint_eq(slot.function.vendor, 0x1c05);
    ck_assert_uint_eq(slot.function.device, 0x0001);
    slot.has_messages = true;
    ck_assert_uint_eq(attach("ring", 1), 0);
    ck_assert_uint_eq(slot.messages[0], 1);
    ck_assert(!slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_detached_region_is_gone_and_a_reset_detaches_all)
{
    ck_assert_int_eq(fake_shmem_create(&slot, false), 0);
    ck_assert_uint_eq(attach("a", 1), 0);
    ck_assert_uint_eq(attach("b", 1), 0);
    write_at(WINDOW, DETACH, 4, 0);
    ck_assert_uint_eq(fake_shmem.left_count, 1);
    ck_assert_uint_eq(read_at(WINDOW, IDX, 4), 0);
    ck_assert(slot.is_high); /* b has news */
    fake_slot_reset(&slot);
    ck_assert_uint_eq(fake_shmem.left_count, 2);
    ck_assert_uint_eq(read_at(FACTORY, SHMEM, 8), 0);
    ck_assert_uint_eq(read_at(FACTORY, NAME, 1), 0);
    ck_assert_uint_eq(read_at(FACTORY, VECTOR, 4), FAKE_SHMEM_LINE);
    ck_assert(!slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

static void another_wish(void)
{
    fake_shmem.meanwhile = NULL;
    write_at(FACTORY, SIZE, 4, 1);
    write_name("other");
}

static void reset(void)
{
    fake_shmem.meanwhile = NULL;
    fake_slot_reset(&slot);
}

START_TEST(what_comes_while_it_waits_does_no_harm)
{
    ck_assert_int_eq(fake_shmem_create(&slot, false), 0);
    fake_shmem.meanwhile = another_wish;
    ck_assert_uint_eq(attach("ring", 1), 0);
    ck_assert_uint_eq(fake_shmem.wish_count, 1);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "region0=ring client 3 4 KiB at 0x0\n"));
    fake_shmem.meanwhile = reset;
    ck_assert_uint_eq(attach("late", 1), VDEV_SHMEM_FAILED);
    ck_assert_uint_eq(fake_shmem.left_count, 2);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("vdev shmem", the_factory_page_is_at_its_places, a_region_is_asked_for_by_name_and_size,
          why_there_is_none_stands_in_the_status, a_name_of_32_bytes_needs_no_end,
          eight_regions_and_what_fits_into_the_window,
          news_raise_the_line_until_the_status_was_read,
          with_msix_a_message_is_sent_and_the_line_stays_low,
          a_detached_region_is_gone_and_a_reset_detaches_all,
          what_comes_while_it_waits_does_no_harm)
