/* The watchdog: rules of its manual, and what a bite does. */
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_wdt_ib700_module;

#define STOP  0u
#define START 1u
#define MS    1000000ull
#define S     1000000000ull

static struct vdev_slot slot;

static int set_up(const char *action)
{
    struct vdev_value value = {.text = action, .where = "g:1"};

    return fake_slot_create(&slot, vdev_wdt_ib700_module, &value, 1, NULL, 0);
}

START_TEST(it_is_off_at_power_on)
{
    ck_assert_int_eq(set_up("terminate"), 0);
    fake_slot_advance(&slot, 3600 * S);
    ck_assert_uint_eq(slot.request_count, 0);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "timer=off\n"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(each_step_of_the_value_is_two_seconds_less_than_thirty)
{
    for (unsigned value = 0; value < 16; value++) {
        uint64_t time = (30 - 2 * value) * S;

        ck_assert_int_eq(set_up("terminate"), 0);
        fake_slot_out(&slot, START, 0, (uint8_t)(0xf0 | value)); /* the high bits mean nothing */
        if (time > 0) {
            fake_slot_advance(&slot, time - MS);
            ck_assert_uint_eq(slot.request_count, 0);
        }
        fake_slot_advance(&slot, MS);
        ck_assert_uint_eq(slot.request_count, 1);
        ck_assert_int_eq(slot.request, VDEV_REQUEST_WATCHDOG);
        fake_slot_advance(&slot, 100 * S);
        ck_assert_uint_eq(slot.request_count, 1); /* once */
        fake_slot_destroy(&slot);
    }
}
END_TEST

START_TEST(starting_again_begins_anew)
{
    ck_assert_int_eq(set_up("terminate"), 0);
    for (int i = 0; i < 10; i++) {
        fake_slot_out(&slot, START, 0, 0x0e); /* 2 s */
        fake_slot_advance(&slot, 2 * S - MS);
    }
    ck_assert_uint_eq(slot.request_count, 0);
    fake_slot_advance(&slot, MS);
    ck_assert_uint_eq(slot.request_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(any_write_to_the_stop_port_stops_it)
{
    ck_assert_int_eq(set_up("terminate"), 0);
    fake_slot_out(&slot, START, 0, 0x0e);
    fake_slot_out(&slot, STOP, 0, 0x55);
    fake_slot_advance(&slot, 100 * S);
    ck_assert_uint_eq(slot.request_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(reading_its_ports_says_nothing_and_changes_nothing)
{
    ck_assert_int_eq(set_up("terminate"), 0);
    fake_slot_out(&slot, START, 0, 0x0e);
    ck_assert_uint_eq(fake_slot_in(&slot, STOP, 0), 0xff);
    ck_assert_uint_eq(fake_slot_in(&slot, START, 0), 0xff);
    fake_slot_advance(&slot, 2 * S);
    ck_assert_uint_eq(slot.request_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_stops_it)
{
    ck_assert_int_eq(set_up("terminate"), 0);
    fake_slot_out(&slot, START, 0, 0x0e);
    fake_slot_reset(&slot);
    fake_slot_advance(&slot, 100 * S);
    ck_assert_uint_eq(slot.request_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_bite_does_what_action_says)
{
    static const struct {
        const char *action;
        unsigned count;
        enum vdev_request last;
    } cases[] = {
        {"terminate", 1, VDEV_REQUEST_WATCHDOG}, {"dump,terminate", 2, VDEV_REQUEST_WATCHDOG},
        {"reset", 1, VDEV_REQUEST_RESET},        {"dump,reset", 2, VDEV_REQUEST_RESET},
        {"poweroff", 1, VDEV_REQUEST_POWEROFF},  {"dump,none", 1, VDEV_REQUEST_DUMP},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(set_up(cases[i].action), 0);
        fake_slot_out(&slot, START, 0, 0x0f); /* at once */
        fake_slot_advance(&slot, 1);
        ck_assert_uint_eq(slot.request_count, cases[i].count);
        ck_assert_int_eq(slot.request, cases[i].last);
        ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "bites=1\n"));
        fake_slot_destroy(&slot);
    }
    ck_assert_int_eq(set_up("none"), 0);
    fake_slot_out(&slot, START, 0, 0x0f);
    fake_slot_advance(&slot, S);
    ck_assert_uint_eq(slot.request_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(other_actions_and_places_are_refused)
{
    static const char *const wrong[] = {"", "dump", "dump,", "terminate,dump", "Reset", "reset "};
    static const struct vdev_region regions[] = {{VDEV_SPACE_IO, 0x441, 2},
                                                 {VDEV_SPACE_IO, 0x443, 1}};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_int_ne(set_up(wrong[i]), 0);
        ck_assert_ptr_nonnull(strstr(slot.failure, "is not [dump,]terminate"));
    }
    ck_assert_int_ne(fake_slot_create(&slot, vdev_wdt_ib700_module, NULL, 0, regions, 2), 0);
    ck_assert_str_eq(slot.failure, "the watchdog has two places of 1 byte each");
}
END_TEST

UNIT_MAIN("wdt-ib700", it_is_off_at_power_on,
          each_step_of_the_value_is_two_seconds_less_than_thirty, starting_again_begins_anew,
          any_write_to_the_stop_port_stops_it, reading_its_ports_says_nothing_and_changes_nothing,
          a_reset_stops_it, a_bite_does_what_action_says, other_actions_and_places_are_refused)
