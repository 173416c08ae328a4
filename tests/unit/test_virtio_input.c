/* A keyboard and a pointer: virtio 1.2, 5.8. */
#include "tests/unit/virtio_driver_unit.h"

extern const struct vdev_module *const vdev_virtio_input_module;

enum { EVENTS, STATUS };
enum { SELECT_AT = 0x100, SUBSELECT_AT, SIZE_AT, DATA_AT = 0x108 };
enum { NAME = 1, SERIAL, DEVIDS, PROPERTIES = 0x10, EVENT_BITS, ABSOLUTE };
enum { EV_SYN, EV_KEY, EV_REL, EV_ABS, EV_LED = 0x11, KEY_A = 30, BUTTON_LEFT = 0x110 };

struct event {
    uint16_t type, code;
    uint32_t value;
};

static void set_up(void)
{
    ck_assert_int_eq(create(vdev_virtio_input_module, NULL, 0), 0);
    drive(VERSION_1);
}

static uint8_t get_byte(uint64_t at)
{
    return (uint8_t)slot.module->ops->read(slot.device, 0, at, 1);
}

/* What the driver selects (5.8.5.1); returns its size. */
static uint8_t choose(uint8_t select, uint8_t subselect)
{
    slot.module->ops->write(slot.device, 0, SELECT_AT, 1, select);
    slot.module->ops->write(slot.device, 0, SUBSELECT_AT, 1, subselect);
    return get_byte(SIZE_AT);
}

static bool has_bit(uint32_t bit)
{
    return bit / 8 < get_byte(SIZE_AT) && (get_byte(DATA_AT + bit / 8) >> bit % 8 & 1) != 0;
}

/* `count` buffers for events, from descriptor `first` on. */
static void give_buffers(uint16_t first, uint16_t count, uint32_t size)
{
    for (uint16_t i = first; i < first + count; i++) {
        ring_describe(&rings[EVENTS], i, DATA + 8u * i, size, RING_WRITE, 0);
        ring_offer(&rings[EVENTS], i);
    }
    kick(EVENTS);
    fake_slot_run(&slot);
}

/* The next event that arrived; all ones: there is none. */
static struct event take_event(void)
{
    struct event event = {UINT16_MAX, UINT16_MAX, UINT32_MAX};
    uint32_t id, size;

    if (ring_take(&rings[EVENTS], &id, &size)) {
        ck_assert_uint_eq(size, sizeof(event));
        memcpy(&event, memory(DATA + 8u * id), sizeof(event));
    }
    return event;
}

static void check_event(uint16_t type, uint16_t code, uint32_t value)
{
    struct event event = take_event();

    ck_assert_uint_eq(event.type, type);
    ck_assert_uint_eq(event.code, code);
    ck_assert_uint_eq(event.value, value);
}

START_TEST(the_name_is_the_vdevs_and_ids_say_that_it_is_virtual_5_8_5)
{
    set_up();
    ck_assert_uint_eq(choose(NAME, 0), 4);
    ck_assert_uint_eq(get(DATA_AT), 'f' | 'a' << 8 | 'k' << 16 | 'e' << 24);
    ck_assert_uint_eq(choose(DEVIDS, 0), 8);
    ck_assert_uint_eq(get(DATA_AT), 0x1af40006);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_there_is_not_has_no_size_5_8_5_2)
{
    const uint8_t pairs[][2] = {{0, 0},          {NAME, 1},       {SERIAL, 0},     {DEVIDS, 1},
                                {PROPERTIES, 0}, {EVENT_BITS, 0}, {EVENT_BITS, 2}, {ABSOLUTE, 2},
                                {0x13, 0},       {255, 255}};

    set_up();
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        (void)choose(EVENT_BITS, EV_KEY); /* so that something could be left */
        ck_assert_uint_eq(choose(pairs[i][0], pairs[i][1]), 0);
        ck_assert_uint_eq(get(DATA_AT), 0);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(keys_buttons_axes_and_leds_are_told_5_8_5)
{
    set_up();
    ck_assert_uint_eq(choose(EVENT_BITS, EV_KEY), BUTTON_LEFT / 8 + 1);
    ck_assert(!has_bit(0) && has_bit(1) && has_bit(KEY_A) && has_bit(248) && !has_bit(249));
    ck_assert(has_bit(BUTTON_LEFT) && has_bit(BUTTON_LEFT + 2) && !has_bit(BUTTON_LEFT + 3));
    ck_assert_uint_eq(choose(EVENT_BITS, EV_ABS), 1);
    ck_assert_uint_eq(get_byte(DATA_AT), 3);
    ck_assert_uint_eq(choose(EVENT_BITS, EV_LED), 1);
    ck_assert_uint_eq(get_byte(DATA_AT), 7);
    for (uint8_t axis = 0; axis < 2; axis++) {
        ck_assert_uint_eq(choose(ABSOLUTE, axis), 20);
        ck_assert_uint_eq(get(DATA_AT), 0);
        ck_assert_uint_eq(get(DATA_AT + 4), 32767);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_driver_writes_nothing_but_what_it_selects_5_8_5_1)
{
    set_up();
    (void)choose(NAME, 0);
    slot.module->ops->write(slot.device, 0, SIZE_AT, 1, 99);
    slot.module->ops->write(slot.device, 0, DATA_AT, 4, 0);
    ck_assert_uint_eq(get_byte(SIZE_AT), 4);
    ck_assert_uint_eq(get_byte(DATA_AT), 'f');
    slot.module->ops->write(slot.device, 0, SELECT_AT, 2, EVENT_BITS | EV_ABS << 8);
    ck_assert_uint_eq(get_byte(SIZE_AT), 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_key_is_an_event_and_its_end_with_one_interrupt_5_8_6)
{
    set_up();
    give_buffers(0, 4, 8);
    ck_assert(slot.module->ops->key(slot.device, KEY_A, true));
    check_event(EV_KEY, KEY_A, 1);
    check_event(EV_SYN, 0, 0);
    ck_assert_uint_eq(slot.rise_count, 1);
    ck_assert(slot.module->ops->key(slot.device, KEY_A, false));
    check_event(EV_KEY, KEY_A, 0);
    check_event(EV_SYN, 0, 0);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\nevents=4\ndropped=0\n"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_move_is_both_axes_and_its_end)
{
    set_up();
    give_buffers(0, 4, 8);
    ck_assert(slot.module->ops->point(slot.device, 100, 32767));
    check_event(EV_ABS, 0, 100);
    check_event(EV_ABS, 1, 32767);
    check_event(EV_SYN, 0, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_does_not_fit_is_dropped_as_a_whole_and_its_buffers_stay_5_8_6_2)
{
    set_up();
    ck_assert(!slot.module->ops->key(slot.device, KEY_A, true));
    give_buffers(0, 2, 8);
    ck_assert(!slot.module->ops->point(slot.device, 1, 2));
    ck_assert_uint_eq(take_event().type, UINT16_MAX);
    ck_assert(slot.module->ops->key(slot.device, KEY_A, true));
    check_event(EV_KEY, KEY_A, 1);
    check_event(EV_SYN, 0, 0);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\nevents=2\ndropped=5\n"));
    ck_assert(!needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(without_a_driver_nobody_hears_a_key)
{
    ck_assert_int_eq(create(vdev_virtio_input_module, NULL, 0), 0);
    ck_assert(!slot.module->ops->key(slot.device, KEY_A, true));
    ck_assert(!slot.module->ops->point(slot.device, 1, 1));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_buffer_without_room_for_an_event_is_nonsense_5_8_6_1)
{
    set_up();
    give_buffers(0, 1, 7);
    give_buffers(1, 3, 8);
    ck_assert(!slot.module->ops->key(slot.device, KEY_A, true));
    ck_assert(needs_reset());
    ck_assert_uint_eq(take_event().type, UINT16_MAX);
    fake_slot_destroy(&slot);
}
END_TEST

static void say(const struct event *events, uint32_t size)
{
    memcpy(memory(DATA), events, size);
    ring_describe(&rings[STATUS], 0, DATA, size, 0, 0);
    ring_offer(&rings[STATUS], 0);
    kick(STATUS);
    fake_slot_run(&slot);
}

START_TEST(leds_are_what_the_driver_says_5_8_6_1)
{
    const struct event on[] = {{EV_LED, 1, 1}, {EV_SYN, 0, 0}}, off[] = {{EV_LED, 1, 0}};
    uint32_t id, size;

    set_up();
    say(on, sizeof(on));
    ck_assert(ring_take(&rings[STATUS], &id, &size));
    ck_assert_uint_eq(size, 0);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\nnum-lock=off\ncaps-lock=on\n"));
    say(off, sizeof(off));
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\ncaps-lock=off\n"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(nonsense_in_the_status_queue_is_passed_over)
{
    const struct event events[] = {
        {EV_LED, 3, 1}, {EV_LED, UINT16_MAX, 1}, {77, 0, 1}, {EV_LED, 0, 1}};

    set_up();
    say(events, sizeof(events) - 1);
    ck_assert_ptr_null(strstr(fake_slot_state(&slot), "=on"));
    ck_assert(!needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_forgets_leds_and_selection_and_a_restore_brings_them_back)
{
    const struct event on[] = {{EV_LED, 0, 1}};
    struct fields_writer saved = {0};

    set_up();
    say(on, sizeof(on));
    (void)choose(NAME, 0);
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    fake_slot_reset(&slot);
    ck_assert_uint_eq(get_byte(SIZE_AT), 0);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\nnum-lock=off\n"));
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    ck_assert_uint_eq(get_byte(SIZE_AT), 4);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "\nnum-lock=on\n"));
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_input", the_name_is_the_vdevs_and_ids_say_that_it_is_virtual_5_8_5,
          what_there_is_not_has_no_size_5_8_5_2, keys_buttons_axes_and_leds_are_told_5_8_5,
          the_driver_writes_nothing_but_what_it_selects_5_8_5_1,
          a_key_is_an_event_and_its_end_with_one_interrupt_5_8_6, a_move_is_both_axes_and_its_end,
          what_does_not_fit_is_dropped_as_a_whole_and_its_buffers_stay_5_8_6_2,
          without_a_driver_nobody_hears_a_key,
          a_buffer_without_room_for_an_event_is_nonsense_5_8_6_1,
          leds_are_what_the_driver_says_5_8_6_1, nonsense_in_the_status_queue_is_passed_over,
          a_reset_forgets_leds_and_selection_and_a_restore_brings_them_back)
