/* An 8259A: each rule of the data sheet. */
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_8259_module;

#define BASE 0x40

static struct vdev_slot slot;

static void command(unsigned value)
{
    fake_slot_out(&slot, 0, 0, (uint8_t)value);
}

static void mask(unsigned value)
{
    fake_slot_out(&slot, 0, 1, (uint8_t)value);
}

static void input(uint32_t number, bool is_high)
{
    slot.module->ops->input(slot.device, number, is_high);
}

static void pulse(uint32_t number)
{
    input(number, false);
    input(number, true);
}

static int acknowledge(void)
{
    return slot.module->ops->acknowledge(slot.device);
}

static unsigned get_isr(void)
{
    command(0x0b);
    return fake_slot_in(&slot, 0, 0);
}

static unsigned get_irr(void)
{
    command(0x0a);
    return fake_slot_in(&slot, 0, 0);
}

/* ICW1 to ICW4: cascaded, vectors from BASE on. */
static void init(unsigned icw1, unsigned icw3, unsigned icw4)
{
    command(icw1);
    mask(BASE);
    mask(icw3);
    mask(icw4);
    mask(0);
}

static void set_up(void)
{
    fake_slot_wired_to = QVM_VDEV_NO_INTR;
    ck_assert_int_eq(fake_slot_create(&slot, vdev_8259_module, NULL, 0, NULL, 0), 0);
    init(0x11, 0x04, 0x01);
}

START_TEST(a_rising_edge_requests_and_the_vector_is_base_and_input)
{
    set_up();
    for (unsigned i = 0; i < 8; i++) {
        if (i == 2) {
            continue; /* the slave's */
        }
        pulse(i);
        ck_assert(slot.is_cpu_intr);
        ck_assert_uint_eq(get_irr(), 1u << i);
        ck_assert_int_eq(acknowledge(), BASE + (int)i);
        ck_assert_uint_eq(get_isr(), 1u << i);
        ck_assert_uint_eq(get_irr(), 0);
        ck_assert(!slot.is_cpu_intr);
        command(0x20);
        ck_assert_uint_eq(get_isr(), 0);
        input(i, true); /* it is high still: no edge */
        ck_assert(!slot.is_cpu_intr);
        input(i, false);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_request_waits_until_what_is_in_service_ends_unless_it_ranks_higher)
{
    set_up();
    pulse(3);
    ck_assert_int_eq(acknowledge(), BASE + 3);
    pulse(5);
    ck_assert(!slot.is_cpu_intr);
    pulse(1);
    ck_assert(slot.is_cpu_intr);
    ck_assert_int_eq(acknowledge(), BASE + 1);
    ck_assert_uint_eq(get_isr(), 0x0a);
    command(0x20); /* non-specific: the highest, 1 */
    ck_assert_uint_eq(get_isr(), 0x08);
    ck_assert(!slot.is_cpu_intr);
    command(0x60 | 3); /* specific */
    ck_assert_uint_eq(get_isr(), 0);
    ck_assert(slot.is_cpu_intr);
    ck_assert_int_eq(acknowledge(), BASE + 5);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_masked_input_keeps_its_request)
{
    set_up();
    mask(0x10);
    pulse(4);
    ck_assert(!slot.is_cpu_intr);
    ck_assert_uint_eq(get_irr(), 0x10);
    ck_assert_uint_eq(fake_slot_in(&slot, 0, 1), 0x10);
    mask(0);
    ck_assert(slot.is_cpu_intr);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_level_input_requests_as_long_as_it_is_high)
{
    set_up();
    init(0x19, 0x04, 0x01);
    input(4, true);
    ck_assert_int_eq(acknowledge(), BASE + 4);
    command(0x20);
    ck_assert(slot.is_cpu_intr);
    input(4, false);
    ck_assert(!slot.is_cpu_intr);
    ck_assert_uint_eq(get_irr(), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_edge_level_register_says_so_for_some_inputs)
{
    set_up();
    fake_slot_out(&slot, 1, 0, 0xff);
    ck_assert_uint_eq(fake_slot_in(&slot, 1, 0), 0xf8); /* 0 to 2 are triggered by edges */
    input(5, true);
    ck_assert_int_eq(acknowledge(), BASE + 5);
    command(0x20);
    ck_assert(slot.is_cpu_intr);
    pulse(1);
    ck_assert_int_eq(acknowledge(), BASE + 1);
    command(0x20);
    input(5, false);
    ck_assert(!slot.is_cpu_intr);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(an_acknowledge_without_a_request_is_level_7_and_not_in_service)
{
    set_up();
    ck_assert_int_eq(acknowledge(), BASE + 7);
    ck_assert_uint_eq(get_isr(), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(automatic_end_of_interrupt_leaves_nothing_in_service)
{
    set_up();
    init(0x11, 0x04, 0x03);
    pulse(3);
    ck_assert_int_eq(acknowledge(), BASE + 3);
    ck_assert_uint_eq(get_isr(), 0);
    command(0x80); /* and rotates, if told to */
    pulse(3);
    (void)acknowledge();
    input(3, true);
    pulse(3);
    pulse(4);
    ck_assert_int_eq(acknowledge(), BASE + 4); /* 3 is the lowest now */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(rotation_on_end_of_interrupt_makes_it_the_lowest)
{
    set_up();
    pulse(4);
    (void)acknowledge();
    command(0xa0); /* rotate on non-specific EOI */
    pulse(4);
    pulse(5);
    ck_assert_int_eq(acknowledge(), BASE + 5);
    command(0xe0 | 5); /* rotate on specific EOI: 5 is the lowest */
    pulse(6);
    pulse(5);
    ck_assert_int_eq(acknowledge(), BASE + 6);
    command(0x20);
    command(0xc0 | 3); /* set priority: 3 is the lowest, 4 the highest */
    ck_assert_int_eq(acknowledge(), BASE + 4);
    command(0x20);
    ck_assert_int_eq(acknowledge(), BASE + 5);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(in_special_mask_mode_what_is_masked_inhibits_nothing)
{
    set_up();
    pulse(1);
    (void)acknowledge();
    pulse(6);
    ck_assert(!slot.is_cpu_intr);
    mask(0x02);
    ck_assert(!slot.is_cpu_intr);
    command(0x68);
    ck_assert(slot.is_cpu_intr);
    ck_assert_int_eq(acknowledge(), BASE + 6);
    command(0x20); /* not the masked one */
    ck_assert_uint_eq(get_isr(), 0x02);
    command(0x48);
    pulse(6);
    ck_assert(!slot.is_cpu_intr);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_poll_acknowledges_and_tells_the_input)
{
    set_up();
    command(0x0c);
    ck_assert_uint_eq(fake_slot_in(&slot, 0, 0) & 0x80, 0);
    pulse(6);
    command(0x0c);
    ck_assert_uint_eq(fake_slot_in(&slot, 0, 0), 0x86);
    ck_assert_uint_eq(get_isr(), 0x40);
    ck_assert(!slot.is_cpu_intr);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_slaves_input_is_the_slaves_to_answer)
{
    set_up();
    pulse(2);
    ck_assert_int_eq(acknowledge(), VDEV_CASCADED + 2);
    ck_assert_uint_eq(get_isr(), 0x04);
    command(0x60 | 2);
    init(0x13, 0x01, 0x00); /* single: there is no ICW3 */
    pulse(2);
    ck_assert_int_eq(acknowledge(), BASE + 2);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(in_special_fully_nested_mode_a_slave_may_go_on)
{
    set_up();
    pulse(2);
    (void)acknowledge();
    pulse(2);
    ck_assert(!slot.is_cpu_intr);
    init(0x11, 0x04, 0x11);
    pulse(2);
    (void)acknowledge();
    pulse(2);
    ck_assert(slot.is_cpu_intr);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_slave_gives_its_own_vectors_whatever_its_id)
{
    fake_slot_wired_to = 2;
    ck_assert_int_eq(fake_slot_create(&slot, vdev_8259_module, NULL, 0, NULL, 0), 0);
    init(0x11, 0x02, 0x01);
    pulse(1);
    ck_assert_int_eq(acknowledge(), BASE + 1);
    fake_slot_out(&slot, 1, 0, 0xff);
    ck_assert_uint_eq(fake_slot_in(&slot, 1, 0), 0xde); /* but for clock and coprocessor */
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "role=slave\n"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(icw1_clears_masks_and_requests_and_waits_for_the_words_that_it_names)
{
    set_up();
    mask(0xff);
    pulse(1);
    command(0x12); /* single, without ICW4 */
    mask(0x50);
    ck_assert_uint_eq(fake_slot_in(&slot, 0, 1), 0);
    ck_assert_uint_eq(get_irr(), 0);
    mask(0x5a); /* it is the mask already */
    ck_assert_uint_eq(fake_slot_in(&slot, 0, 1), 0x5a);
    mask(0);
    pulse(3);
    ck_assert_int_eq(acknowledge(), 0x53);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_forgets_all_but_the_levels_of_the_inputs)
{
    set_up();
    input(3, true);
    fake_slot_reset(&slot);
    ck_assert(!slot.is_cpu_intr);
    init(0x19, 0x04, 0x01);
    ck_assert(slot.is_cpu_intr); /* the level was there */
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("8259", a_rising_edge_requests_and_the_vector_is_base_and_input,
          a_request_waits_until_what_is_in_service_ends_unless_it_ranks_higher,
          a_masked_input_keeps_its_request, a_level_input_requests_as_long_as_it_is_high,
          the_edge_level_register_says_so_for_some_inputs,
          an_acknowledge_without_a_request_is_level_7_and_not_in_service,
          automatic_end_of_interrupt_leaves_nothing_in_service,
          rotation_on_end_of_interrupt_makes_it_the_lowest,
          in_special_mask_mode_what_is_masked_inhibits_nothing,
          a_poll_acknowledges_and_tells_the_input, the_slaves_input_is_the_slaves_to_answer,
          in_special_fully_nested_mode_a_slave_may_go_on,
          a_slave_gives_its_own_vectors_whatever_its_id,
          icw1_clears_masks_and_requests_and_waits_for_the_words_that_it_names,
          a_reset_forgets_all_but_the_levels_of_the_inputs)
