/* The extended configuration space of a function of the host, as a guest may see it. */
#include "qvm-worker/vfio/extended.h"

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/fake/fake_vfio.h"
#include "tests/unit/unit.h"

static const struct vfio_device device = {&fake_vfio_ops, &(struct fake_vfio){.reset_count = 0}};
static struct vfio_extended extended;
static struct err err;

static struct fake_vfio *card(void)
{
    return device.context;
}

static void read_card(void)
{
    ck_assert_msg(vfio_extended_init(&extended, &device, &err) == 0, "%s", err.msg);
}

static uint32_t get(uint32_t at)
{
    return vfio_extended_read(&extended, &device, at, 4);
}

static void start(void)
{
    fake_vfio_card(card());
    fake_vfio_extend(card());
}

START_TEST(what_has_no_such_space_has_zeroes)
{
    fake_vfio_card(card());
    read_card();
    ck_assert_uint_eq(card()->read_count, 0);
    for (uint32_t at = VFIO_EXTENDED_START; at < VFIO_EXTENDED_END; at += 4) {
        ck_assert_uint_eq(get(at), 0);
    }
}
END_TEST

START_TEST(the_list_begins_at_its_place_and_leads_to_what_is_shown)
{
    start();
    read_card();
    ck_assert_uint_eq(get(0x100), 0x14000000); /* none, and then 0x140 */
    ck_assert_uint_eq(get(0x140), 0x1c010003); /* the serial number, then 0x1C0 */
    ck_assert_uint_eq(get(0x1c0), 0x0001000b); /* the last one */
}
END_TEST

START_TEST(what_is_hidden_is_zeroes_and_cannot_be_written)
{
    static const uint32_t hidden[] = {0x104, 0x14c, 0x160, 0x168, 0x1d0, 0x300, 0x304, 0xffc};

    start();
    read_card();
    for (uint32_t i = 0; i < ARRAY_LEN(hidden); i++) {
        ck_assert_uint_eq(get(hidden[i]), 0);
        ck_assert_int_eq(vfio_extended_write(&extended, &device, hidden[i], 4, 0xffffffff), 0);
    }
    ck_assert_uint_eq(card()->write_count, 0);
}
END_TEST

START_TEST(the_vendors_own_is_the_devices_but_for_its_headers)
{
    start();
    read_card();
    card()->config[0x1c8] = 0x42; /* as it is now */
    ck_assert_uint_eq(get(0x1c8), 0xcafe0042);
    ck_assert_uint_eq(vfio_extended_read(&extended, &device, 0x1ce, 2), 0xcafe);
    ck_assert_int_eq(vfio_extended_write(&extended, &device, 0x1cd, 1, 0x99), 0);
    ck_assert_uint_eq(fake_vfio_get(card(), 0x1cc, 4), 0xcafe9902);
    ck_assert_int_eq(vfio_extended_write(&extended, &device, 0x1c0, 4, 0), 0);
    ck_assert_int_eq(vfio_extended_write(&extended, &device, 0x1c4, 4, 0), 0);
    ck_assert_int_eq(vfio_extended_write(&extended, &device, 0x144, 4, 0), 0);
    ck_assert_uint_eq(card()->write_count, 1);
    card()->is_gone = true;
    ck_assert_uint_eq(get(0x1c8), 0xffffffff);
    ck_assert_int_eq(vfio_extended_write(&extended, &device, 0x1c8, 4, 0), -EIO);
}
END_TEST

START_TEST(one_that_says_that_it_is_longer_than_its_room_is_not_shown)
{
    start();
    fake_vfio_put(card(), 0x1c4, 0xf0010042, 4); /* up to 0x10C0 */
    read_card();
    ck_assert_uint_eq(get(0x140), 0x00010003);
    ck_assert_uint_eq(get(0x1c0), 0);
    fake_vfio_put(card(), 0x1c4, 0x00710042, 4); /* shorter than its headers */
    read_card();
    ck_assert_uint_eq(get(0x1c0), 0);
    fake_vfio_put(card(), 0x1c0, 0x1c81000b, 4); /* the next one begins in it */
    fake_vfio_put(card(), 0x1c4, 0x01010042, 4);
    fake_vfio_put(card(), 0x1c8, 0x00010001, 4);
    read_card();
    ck_assert_uint_eq(get(0x1c0), 0);
}
END_TEST

START_TEST(a_list_that_leads_back_or_nowhere_ends)
{
    start();
    fake_vfio_put(card(), 0x1c0, 0x1401000b, 4);
    read_card();
    ck_assert_uint_eq(get(0x1c0), 0x0001000b);
    fake_vfio_put(card(), 0x1c0, 0x0401000b, 4); /* into the first 256 bytes */
    read_card();
    ck_assert_uint_eq(get(0x1c0), 0x0001000b);
    fake_vfio_put(card(), 0x1c0, 0xffc1000b, 4); /* the last word, all ones */
    fake_vfio_put(card(), 0xffc, 0xffffffff, 4);
    read_card();
    ck_assert_uint_eq(get(0x1c0), 0x0001000b);
    ck_assert_uint_eq(get(0xffc), 0);
    fake_vfio_put(card(), 0x100, 0, 4);
    read_card();
    ck_assert_uint_eq(get(0x140), 0);
}
END_TEST

START_TEST(a_device_that_does_not_answer_is_an_error_in_words)
{
    start();
    card()->is_gone = true;
    ck_assert_int_eq(vfio_extended_init(&extended, &device, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.msg, "its extended configuration space cannot be read"));
}
END_TEST

UNIT_MAIN("vfio_extended", what_has_no_such_space_has_zeroes,
          the_list_begins_at_its_place_and_leads_to_what_is_shown,
          what_is_hidden_is_zeroes_and_cannot_be_written,
          the_vendors_own_is_the_devices_but_for_its_headers,
          one_that_says_that_it_is_longer_than_its_room_is_not_shown,
          a_list_that_leads_back_or_nowhere_ends,
          a_device_that_does_not_answer_is_an_error_in_words)
