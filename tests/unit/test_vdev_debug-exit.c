/* The port whose value becomes the exit status. */
#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_debug_exit_module;

static struct vdev_slot slot;

static void set_up(bool is_qemu)
{
    struct vdev_value value = {.boolean = is_qemu};

    ck_assert_int_eq(fake_slot_create(&slot, vdev_debug_exit_module, &value, 1, NULL, 0), 0);
}

START_TEST(every_value_gives_a_status_of_32_to_63)
{
    set_up(false);
    for (unsigned value = 0; value < 256; value++) {
        fake_slot_out(&slot, 0, 0, (uint8_t)value);
        ck_assert_int_eq(slot.request, VDEV_REQUEST_EXIT);
        ck_assert_uint_eq(slot.request_value, 32 + value % 32);
    }
    ck_assert_uint_eq(fake_slot_in(&slot, 0, 0), 0);
    ck_assert_uint_eq(slot.request_count, 256);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(as_qemus_the_status_is_twice_the_value_and_one)
{
    set_up(true);
    for (unsigned value = 0; value < 256; value++) {
        slot.module->ops->write(slot.device, 0, 0, 4, value);
        ck_assert_int_eq(slot.request, VDEV_REQUEST_STATUS);
        ck_assert_uint_eq(slot.request_value, (value << 1 | 1) & 0xff);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(it_has_at_most_four_ports)
{
    const struct vdev_region region = {VDEV_SPACE_IO, 0xf4, 5};

    ck_assert_int_ne(fake_slot_create(&slot, vdev_debug_exit_module, NULL, 0, &region, 1), 0);
    ck_assert_str_eq(slot.failure, "debug-exit has 1 to 4 bytes, 'loc' gives 5");
}
END_TEST

UNIT_MAIN("debug-exit", every_value_gives_a_status_of_32_to_63,
          as_qemus_the_status_is_twice_the_value_and_one, it_has_at_most_four_ports)
