/* The serial port, register by register. Numbers as in the PC16550D's data sheet. */
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_ser8250_module;

static struct vdev_slot slot;

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = RBR, FCR = IIR };

static void set_up(void)
{
    ck_assert_int_eq(fake_slot_create(&slot, vdev_ser8250_module, NULL, 0, NULL, 0), 0);
}

/* A driver that is ready to receive, and says so before anything else. */
static void set_up_receiver(void)
{
    set_up();
    fake_slot_out(&slot, 0, 4, 0x02); /* RTS */
    fake_slot_out(&slot, 0, 4, 0x00);
}

static uint8_t in(int at)
{
    return fake_slot_in(&slot, 0, (uint64_t)at);
}

static void out(int at, unsigned value)
{
    fake_slot_out(&slot, 0, (uint64_t)at, (uint8_t)value);
}

START_TEST(after_a_reset_every_register_reads_as_the_data_sheet_says)
{
    static const uint8_t expected[] = {0, 0x00, 0x01, 0x00, 0x00, 0x60, 0xb0, 0x00};

    set_up();
    for (int round = 0; round < 2; round++) {
        for (int at = IER; at <= SCR; at++) {
            ck_assert_uint_eq(in(at), expected[at]);
        }
        for (int at = 0; at < 8; at++) {
            out(at, 0x1f);
        }
        out(MCR, 0x02);
        out(MCR, 0x00);
        ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 3);
        fake_slot_reset(&slot);
    }
    fake_slot_destroy(&slot);
}
END_TEST

/* What was typed before a driver set its port up waits, and nothing of the setting up loses it. */
START_TEST(bytes_wait_until_the_driver_receives)
{
    set_up();
    ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 0);
    out(MCR, 0x1a); /* a probe in loopback: RTS does not reach the wire */
    out(MCR, 0x00);
    out(IER, 0x0f); /* and of the interrupts, which OUT2 does not let through */
    out(IER, 0x00);
    out(FCR, 0x07);
    (void)in(LSR);
    (void)in(RBR);
    ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 0);
    ck_assert_int_eq(slot.resume_count, 0);
    out(MCR, 0x03);
    ck_assert_int_eq(slot.resume_count, 1);
    ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 3);
    out(MCR, 0x00); /* once is enough */
    ck_assert_uint_eq(fake_slot_type(&slot, "d", 1), 1);
    fake_slot_reset(&slot);
    ck_assert_uint_eq(fake_slot_type(&slot, "e", 1), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_driver_without_rts_receives_by_interrupt_or_by_asking)
{
    set_up();
    ck_assert_uint_eq(fake_slot_type(&slot, "a", 1), 0);
    out(MCR, 0x08);
    out(IER, 0x01);
    ck_assert_uint_eq(fake_slot_type(&slot, "a", 1), 1);
    fake_slot_reset(&slot);
    for (int i = 0; i < 15; i++) {
        (void)in(LSR);
    }
    out(THR, 'x'); /* it only waited for the transmitter */
    for (int i = 0; i < 15; i++) {
        (void)in(LSR);
        (void)in(MSR); /* no write */
    }
    ck_assert_uint_eq(fake_slot_type(&slot, "b", 1), 0);
    (void)in(LSR);
    ck_assert_uint_eq(fake_slot_type(&slot, "b", 1), 1);
    ck_assert_uint_eq(in(RBR), 'b');
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(registers_keep_what_is_written_in_the_bits_they_have)
{
    set_up_receiver();
    out(IER, 0xff);
    ck_assert_uint_eq(in(IER), 0x0f);
    out(LCR, 0x5b);
    ck_assert_uint_eq(in(LCR), 0x5b);
    out(MCR, 0xef);
    ck_assert_uint_eq(in(MCR), 0x0f);
    out(SCR, 0xa5);
    ck_assert_uint_eq(in(SCR), 0xa5);
    out(LSR, 0xff);
    ck_assert_uint_eq(in(LSR), 0x60);
    out(MSR, 0xff);
    ck_assert_uint_eq(in(MSR), 0xb0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(dlab_shows_the_divisor_and_hides_data_and_interrupt_enable)
{
    set_up_receiver();
    ck_assert_uint_eq(fake_slot_type(&slot, "x", 1), 1);
    out(IER, 0x04);
    out(LCR, 0x83);
    ck_assert_uint_eq(in(RBR), 12);
    out(RBR, 0x34);
    out(IER, 0x12);
    ck_assert_uint_eq(in(RBR), 0x34);
    ck_assert_uint_eq(in(IER), 0x12);
    out(LCR, 0x03);
    ck_assert_uint_eq(in(IER), 0x04);
    ck_assert_uint_eq(in(RBR), 'x');
    ck_assert_uint_eq(slot.sent_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(bytes_written_go_to_the_stream_at_once)
{
    set_up_receiver();
    out(THR, 'h');
    out(THR, 'i');
    ck_assert_uint_eq(slot.sent_count, 2);
    ck_assert_mem_eq(slot.sent, "hi", 2);
    ck_assert_uint_eq(in(LSR), 0x60);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(without_fifos_one_byte_is_taken_and_the_peer_waits_for_it_to_be_read)
{
    set_up_receiver();
    ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 1);
    ck_assert_uint_eq(in(LSR), 0x61);
    ck_assert_uint_eq(slot.resume_count, 0);
    ck_assert_uint_eq(in(RBR), 'a');
    ck_assert_uint_eq(slot.resume_count, 1);
    ck_assert_uint_eq(in(LSR), 0x60);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_fifo_takes_sixteen_bytes_and_not_one_more)
{
    set_up_receiver();
    out(FCR, 0x01);
    ck_assert_uint_eq(in(IIR), 0xc1);
    ck_assert_uint_eq(fake_slot_type(&slot, "0123456789abcdefXYZ", 19), 16);
    for (int i = 0; i < 16; i++) {
        ck_assert_uint_eq(in(LSR), 0x61);
        ck_assert_uint_eq(in(RBR), (uint8_t) "0123456789abcdef"[i]);
        ck_assert_uint_eq(slot.resume_count, 1); /* told once, not for each byte */
    }
    ck_assert_uint_eq(in(LSR), 0x60);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(clearing_the_fifo_or_switching_it_drops_what_is_in_it)
{
    set_up_receiver();
    out(FCR, 0x01);
    ck_assert_uint_eq(fake_slot_type(&slot, "0123456789abcdefXYZ", 19), 16);
    out(FCR, 0x03);
    ck_assert_uint_eq(in(LSR), 0x60);
    ck_assert_uint_eq(slot.resume_count, 1);
    ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 3);
    out(FCR, 0x00);
    ck_assert_uint_eq(in(LSR), 0x60);
    ck_assert_uint_eq(in(IIR), 0x01);
    out(FCR, 0xc2); /* without bit 0 the others do not count */
    ck_assert_uint_eq(in(IIR), 0x01);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(no_interrupt_passes_while_out2_is_low)
{
    set_up_receiver();
    out(IER, 0x0f);
    ck_assert(!slot.is_high);
    ck_assert_uint_eq(in(IIR), 0x02); /* it is there, but not on the line */
    out(IER, 0x00);
    out(IER, 0x02);
    out(MCR, 0x08);
    ck_assert(slot.is_high);
    out(MCR, 0x18); /* in loopback the pin is cut off */
    ck_assert(!slot.is_high);
    out(MCR, 0x00);
    ck_assert(!slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_transmitter_interrupt_comes_with_its_enabling_and_after_each_byte)
{
    set_up_receiver();
    out(MCR, 0x08);
    out(IER, 0x02);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(in(IIR), 0x02);
    ck_assert(!slot.is_high); /* reading IIR took it away */
    ck_assert_uint_eq(in(IIR), 0x01);
    out(THR, 'x');
    ck_assert(slot.is_high);
    ck_assert_uint_eq(slot.rise_count, 2);
    out(IER, 0x00);
    ck_assert(!slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_driver_that_never_reads_iir_gets_an_edge_for_each_byte_it_sends)
{
    set_up_receiver();
    out(MCR, 0x08);
    out(IER, 0x02);
    ck_assert_uint_eq(slot.rise_count, 1);
    for (unsigned i = 0; i < 3; i++) {
        out(THR, 'x');
        ck_assert(slot.is_high);
        ck_assert_uint_eq(slot.rise_count, 2 + i);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(interrupts_have_the_priority_of_the_data_sheet)
{
    set_up_receiver();
    out(MCR, 0x18); /* loopback */
    out(IER, 0x0f);
    out(THR, 'a');
    out(THR, 'b');  /* overrun: one byte is kept without FIFOs */
    out(MCR, 0x1b); /* changes CTS and DSR */
    ck_assert_uint_eq(in(IIR), 0x06);
    ck_assert_uint_eq(in(LSR), 0x63);
    ck_assert_uint_eq(in(LSR), 0x61); /* reading took the overrun away */
    ck_assert_uint_eq(in(IIR), 0x04);
    ck_assert_uint_eq(in(RBR), 'b');
    ck_assert_uint_eq(in(IIR), 0x02);
    ck_assert_uint_eq(in(IIR), 0x00);
    ck_assert_uint_ne(in(MSR)&0x0f, 0);
    ck_assert_uint_eq(in(IIR), 0x01);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(loopback_feeds_outputs_to_inputs_and_bytes_back)
{
    static const struct {
        unsigned mcr;
        uint8_t msr;
    } cases[] = {{0x10, 0x00}, {0x11, 0x20}, {0x12, 0x10}, {0x14, 0x40}, {0x18, 0x80}};

    set_up_receiver();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        out(MCR, cases[i].mcr);
        ck_assert_uint_eq(in(MSR)&0xf0, cases[i].msr);
    }
    (void)in(MSR);
    out(MCR, 0x14);
    ck_assert_uint_eq(in(MSR), 0x48); /* DCD fell; a rise of RI is no change that counts */
    out(MCR, 0x10);
    ck_assert_uint_eq(in(MSR), 0x04); /* its end does */
    out(THR, 'q');
    ck_assert_uint_eq(slot.sent_count, 0);
    ck_assert_uint_eq(in(RBR), 'q');
    ck_assert(!slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_peer_waits_while_loopback_cuts_the_wire)
{
    set_up_receiver();
    out(FCR, 0x01);
    out(MCR, 0x10);
    ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 0);
    (void)in(RBR);
    out(FCR, 0x03);
    ck_assert_uint_eq(slot.resume_count, 0);
    out(MCR, 0x00);
    ck_assert_uint_eq(slot.resume_count, 1);
    ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 3);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(an_overrun_keeps_the_fifo_and_loses_the_new_byte)
{
    set_up_receiver();
    out(FCR, 0x01);
    out(MCR, 0x10);
    for (int i = 0; i < 17; i++) {
        out(THR, (unsigned)('a' + i));
    }
    ck_assert_uint_eq(in(LSR), 0x63);
    for (int i = 0; i < 16; i++) {
        ck_assert_uint_eq(in(RBR), (uint8_t)('a' + i));
    }
    ck_assert_uint_eq(in(LSR), 0x60);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_break_in_loopback_is_a_zero_with_its_flag_at_the_top_of_the_fifo)
{
    set_up_receiver();
    out(FCR, 0x01);
    out(MCR, 0x10);
    out(THR, 'a');
    out(LCR, 0x43);
    ck_assert_uint_eq(in(LSR), 0xe1); /* somewhere in the FIFO */
    ck_assert_uint_eq(in(RBR), 'a');
    ck_assert_uint_eq(in(LSR), 0xf1); /* at its top */
    ck_assert_uint_eq(in(LSR), 0x61);
    ck_assert_uint_eq(in(RBR), 0);
    fake_slot_destroy(&slot);
}
END_TEST

/* 8.3, bit 4 */
START_TEST(a_break_from_outside_is_one_zero_with_its_flag_and_an_interrupt)
{
    set_up_receiver();
    out(MCR, 0x08);
    out(FCR, 0x01);
    out(IER, 0x04);
    ck_assert(slot.module->ops->line_break(slot.device));
    ck_assert(slot.is_high);
    ck_assert_uint_eq(in(IIR), 0xc6);
    ck_assert_uint_eq(in(LSR), 0xf1); /* data, break, and an error somewhere in the FIFO */
    ck_assert(!slot.is_high);
    ck_assert_uint_eq(in(LSR), 0x61);
    ck_assert_uint_eq(in(RBR), 0);
    ck_assert_uint_eq(in(LSR), 0x60);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_break_into_a_full_fifo_is_an_overrun)
{
    set_up_receiver();
    out(FCR, 0x01);
    ck_assert_uint_eq(fake_slot_type(&slot, "0123456789abcdefg", 17), 16);
    ck_assert(slot.module->ops->line_break(slot.device));
    ck_assert_uint_eq(in(LSR), 0x63);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(nobody_hears_a_break_before_the_driver_listens_or_in_loopback)
{
    set_up();
    ck_assert(!slot.module->ops->line_break(slot.device));
    out(MCR, 0x0b);
    ck_assert(slot.module->ops->line_break(slot.device));
    (void)in(LSR);
    out(MCR, 0x10);
    ck_assert(!slot.module->ops->line_break(slot.device));
    ck_assert_uint_eq(in(LSR)&0x10, 0);
    ck_assert_str_ne(fake_slot_state(&slot), "");
    ck_assert_ptr_nonnull(strstr(slot.state, "breaks=1\n"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_wide_access_reaches_one_register_after_the_other)
{
    set_up_receiver();
    slot.module->ops->write(slot.device, 0, LCR, 2, 0x0803);
    ck_assert_uint_eq(in(LCR), 0x03);
    ck_assert_uint_eq(in(MCR), 0x08);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 0, LCR, 2), 0x0803);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_place_of_another_size_is_refused)
{
    static const struct vdev_region small = {VDEV_SPACE_IO, 0x2f8, 7};

    ck_assert_int_ne(fake_slot_create(&slot, vdev_ser8250_module, NULL, 0, &small, 1), 0);
    ck_assert_str_eq(slot.failure, "a serial port has 8 registers, 'loc' gives 7");
    ck_assert_ptr_null(slot.device);
}
END_TEST

START_TEST(its_state_tells_registers_speed_and_counts)
{
    set_up_receiver();
    out(LCR, 0x80);
    out(THR, 1);
    out(LCR, 0x03);
    out(THR, 'x');
    ck_assert_uint_eq(fake_slot_type(&slot, "ab", 2), 1);
    ck_assert_str_eq(fake_slot_state(&slot),
                     "registers=ier=00 fcr=00 lcr=03 mcr=00 lsr=61 msr=b0\nbaud=115200\n"
                     "fifo=1 of 1, more is waiting\nsent=1\nreceived=1\noverruns=0\nbreaks=0\n");
    out(LCR, 0x80);
    out(THR, 0); /* a divisor of 0 divides nothing */
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "baud="));
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN(
    "ser8250", after_a_reset_every_register_reads_as_the_data_sheet_says,
    bytes_wait_until_the_driver_receives, a_driver_without_rts_receives_by_interrupt_or_by_asking,
    registers_keep_what_is_written_in_the_bits_they_have,
    dlab_shows_the_divisor_and_hides_data_and_interrupt_enable,
    bytes_written_go_to_the_stream_at_once,
    without_fifos_one_byte_is_taken_and_the_peer_waits_for_it_to_be_read,
    the_fifo_takes_sixteen_bytes_and_not_one_more,
    clearing_the_fifo_or_switching_it_drops_what_is_in_it, no_interrupt_passes_while_out2_is_low,
    the_transmitter_interrupt_comes_with_its_enabling_and_after_each_byte,
    a_driver_that_never_reads_iir_gets_an_edge_for_each_byte_it_sends,
    interrupts_have_the_priority_of_the_data_sheet, loopback_feeds_outputs_to_inputs_and_bytes_back,
    the_peer_waits_while_loopback_cuts_the_wire, an_overrun_keeps_the_fifo_and_loses_the_new_byte,
    a_break_in_loopback_is_a_zero_with_its_flag_at_the_top_of_the_fifo,
    a_break_from_outside_is_one_zero_with_its_flag_and_an_interrupt,
    a_break_into_a_full_fifo_is_an_overrun,
    nobody_hears_a_break_before_the_driver_listens_or_in_loopback,
    a_wide_access_reaches_one_register_after_the_other, a_place_of_another_size_is_refused,
    its_state_tells_registers_speed_and_counts)
