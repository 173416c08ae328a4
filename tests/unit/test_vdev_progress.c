/* The place where a guest tells how far it is. */
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_progress_module;

static struct vdev_slot slot;

static void set_up(uint64_t size)
{
    const struct vdev_region region = {VDEV_SPACE_MEMORY, 0xf0000000, size};

    ck_assert_int_eq(fake_slot_create(&slot, vdev_progress_module, NULL, 0, &region, 1), 0);
}

START_TEST(a_number_is_kept_with_its_time_since_power_on)
{
    set_up(1);
    fake_slot_advance(&slot, 1500000);
    fake_slot_out(&slot, 0, 0, 0x42);
    ck_assert_uint_eq(fake_slot_in(&slot, 0, 0), 0x42);
    ck_assert_str_eq(fake_slot_state(&slot), "marks=1\nmark1=0x42 after 1500 us\n");
    fake_slot_reset(&slot);
    ck_assert_uint_eq(fake_slot_in(&slot, 0, 0), 0);
    fake_slot_advance(&slot, 2000);
    fake_slot_out(&slot, 0, 0, 1);
    ck_assert_str_eq(fake_slot_state(&slot), "marks=1\nmark1=0x1 after 2 us\n");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_wide_place_takes_bytes_and_all_at_once)
{
    set_up(8);
    slot.module->ops->write(slot.device, 0, 0, 8, 0x1122334455667788);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 0, 0, 8), 0x1122334455667788);
    slot.module->ops->write(slot.device, 0, 7, 1, 0xff);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 0, 0, 8), 0xff22334455667788);
    slot.module->ops->write(slot.device, 0, 2, 2, 0);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 0, 0, 8), 0xff22334400007788);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_last_sixteen_are_shown)
{
    set_up(1);
    for (unsigned i = 1; i <= 100; i++) {
        fake_slot_out(&slot, 0, 0, (uint8_t)i);
    }
    (void)fake_slot_state(&slot);
    ck_assert_ptr_nonnull(strstr(slot.state, "marks=100\nmark85=0x55 after 0 us\n"));
    ck_assert_ptr_nonnull(strstr(slot.state, "mark100=0x64 after 0 us\n"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(more_than_eight_bytes_are_refused)
{
    const struct vdev_region region = {VDEV_SPACE_MEMORY, 0xf0000000, 9};

    ck_assert_int_ne(fake_slot_create(&slot, vdev_progress_module, NULL, 0, &region, 1), 0);
    ck_assert_str_eq(slot.failure, "progress has 1 to 8 bytes, 'loc' gives 9");
}
END_TEST

UNIT_MAIN("progress", a_number_is_kept_with_its_time_since_power_on,
          a_wide_place_takes_bytes_and_all_at_once, the_last_sixteen_are_shown,
          more_than_eight_bytes_are_refused)
