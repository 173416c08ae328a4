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

#define CHARACTER_9600_NS   1041666u /* 8 bits without parity, with start and stop: 10 / 9600 s */
#define CHARACTER_115200_NS 86805u

/* A driver with FIFOs and the receiver's interrupt, at 9600 baud. */
static void set_up_fifo(unsigned fcr)
{
    set_up_receiver();
    out(LCR, 0x03);
    out(FCR, fcr);
    out(MCR, 0x08);
    out(IER, 0x01);
}

static void type(const char *text)
{
    ck_assert_uint_eq(fake_slot_type(&slot, text, strlen(text)), strlen(text));
}

START_TEST(received_data_interrupts_at_the_trigger_level_and_below_it_as_a_timeout)
{
    static const struct {
        unsigned fcr;
        int level;
    } cases[] = {{0x01, 1}, {0x41, 4}, {0x81, 8}, {0xc1, 14}};

    set_up_receiver();
    out(MCR, 0x08);
    out(IER, 0x01);
    for (size_t i = 0; i < 4; i++) {
        out(FCR, cases[i].fcr | 2);
        ck_assert(!slot.is_high);
        for (int n = 1; n <= 16; n++) {
            type("x");
            ck_assert(slot.is_high == (n >= cases[i].level));
            ck_assert_uint_eq(in(IIR), n >= cases[i].level ? 0xc4 : 0xc1);
        }
    }
    fake_slot_destroy(&slot);
}
END_TEST

/* 8.11, A */
START_TEST(bytes_below_the_trigger_level_interrupt_after_four_characters_time)
{
    set_up_fifo(0x81); /* trigger at 8 */
    type("abc");
    fake_slot_advance(&slot, 4 * CHARACTER_9600_NS);
    ck_assert(!slot.is_high);
    ck_assert_uint_eq(in(IIR), 0xc1);
    ck_assert_uint_eq(slot.timer_count, 0);
    fake_slot_advance(&slot, 4); /* what a character's time above was rounded down by */
    ck_assert_uint_eq(slot.timer_count, 1);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(in(IIR), 0xcc);
    ck_assert_uint_eq(in(LSR), 0x61); /* reading these ends nothing */
    ck_assert_uint_eq(in(IIR), 0xcc);
    fake_slot_destroy(&slot);
}
END_TEST

/* 8.11, D */
START_TEST(each_byte_that_comes_or_is_read_begins_the_timeout_anew)
{
    set_up_fifo(0x81);
    for (int i = 0; i < 4; i++) {
        type("x");
        fake_slot_advance(&slot, 3 * CHARACTER_9600_NS);
        ck_assert_uint_eq(in(IIR), 0xc1);
    }
    for (int i = 0; i < 3; i++) {
        (void)in(RBR);
        fake_slot_advance(&slot, 3 * CHARACTER_9600_NS);
        ck_assert_uint_eq(in(IIR), 0xc1);
    }
    fake_slot_advance(&slot, 2 * CHARACTER_9600_NS);
    ck_assert_uint_eq(in(IIR), 0xcc);
    fake_slot_destroy(&slot);
}
END_TEST

/* 8.11, C */
START_TEST(reading_a_byte_ends_the_timeout_and_what_is_left_has_another)
{
    set_up_fifo(0x81);
    type("ab");
    fake_slot_advance(&slot, 5 * CHARACTER_9600_NS);
    ck_assert_uint_eq(in(IIR), 0xcc);
    ck_assert_uint_eq(in(RBR), 'a');
    ck_assert(!slot.is_high);
    ck_assert_uint_eq(in(IIR), 0xc1);
    fake_slot_advance(&slot, 5 * CHARACTER_9600_NS);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(slot.rise_count, 2);
    ck_assert_uint_eq(in(RBR), 'b');
    ck_assert(!slot.is_high);
    fake_slot_advance(&slot, 100 * CHARACTER_9600_NS); /* an empty FIFO has none */
    ck_assert_uint_eq(in(IIR), 0xc1);
    ck_assert_uint_eq(slot.deadline_ns, 0);
    fake_slot_destroy(&slot);
}
END_TEST

/* 8.11, B */
START_TEST(a_characters_time_follows_speed_and_word)
{
    static const struct {
        unsigned lcr, divisor;
        uint64_t ns; /* four of them */
    } cases[] = {
        {0x03, 1, 4 * CHARACTER_115200_NS},           /* 10 bits */
        {0x07, 1, 4 * CHARACTER_115200_NS * 11 / 10}, /* a second stop bit */
        {0x0b, 1, 4 * CHARACTER_115200_NS * 11 / 10}, /* parity */
        {0x00, 1, 4 * CHARACTER_115200_NS * 7 / 10},  /* 5 bits of data */
        {0x0f, 384, 159999000},                       /* 300 baud and 12 bits: at most 160 ms */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set_up_fifo(0x81);
        out(LCR, 0x80);
        out(THR, cases[i].divisor & 0xff);
        out(IER, cases[i].divisor >> 8);
        out(LCR, cases[i].lcr);
        type("x");
        fake_slot_advance(&slot, cases[i].ns - 1000);
        ck_assert_uint_eq(in(IIR), 0xc1);
        fake_slot_advance(&slot, 2000);
        ck_assert_uint_eq(in(IIR), 0xcc);
        fake_slot_destroy(&slot);
    }
}
END_TEST

START_TEST(a_timeout_that_nobody_wants_to_hear_of_has_no_timer)
{
    set_up_fifo(0x81);
    out(IER, 0x00);
    type("ab");
    ck_assert_uint_eq(slot.deadline_ns, 0);
    fake_slot_advance(&slot, 5 * CHARACTER_9600_NS);
    out(IER, 0x01); /* it was over before that */
    ck_assert(slot.is_high);
    ck_assert_uint_eq(in(IIR), 0xcc);
    out(FCR, 0x83); /* cleared */
    ck_assert(!slot.is_high);
    type("c");
    ck_assert_uint_ne(slot.deadline_ns, 0);
    out(FCR, 0x00); /* without FIFOs each byte interrupts at once */
    ck_assert_uint_eq(slot.deadline_ns, 0);
    type("d");
    ck_assert_uint_eq(in(IIR), 0x04);
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

START_TEST(what_is_left_below_the_trigger_level_interrupts_with_an_edge_of_its_own)
{
    set_up_receiver();
    out(FCR, 0xc1); /* trigger at 14 */
    out(MCR, 0x08);
    out(IER, 0x01);
    ck_assert_uint_eq(fake_slot_type(&slot, "0123456789abcdef", 16), 16);
    ck_assert_uint_eq(in(IIR), 0xc4);
    ck_assert_uint_eq(slot.rise_count, 1);
    (void)in(RBR);
    (void)in(RBR); /* 14 are left: the level is reached still */
    ck_assert_uint_eq(slot.rise_count, 1);
    for (int i = 2; i < 14; i++) {
        (void)in(RBR); /* as many as the level promised, and no more */
    }
    ck_assert(!slot.is_high);
    fake_slot_advance(&slot, 5 * CHARACTER_9600_NS);
    ck_assert_uint_eq(in(IIR), 0xcc);
    ck_assert_uint_eq(slot.rise_count, 2);
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
    received_data_interrupts_at_the_trigger_level_and_below_it_as_a_timeout,
    bytes_below_the_trigger_level_interrupt_after_four_characters_time,
    each_byte_that_comes_or_is_read_begins_the_timeout_anew,
    reading_a_byte_ends_the_timeout_and_what_is_left_has_another,
    a_characters_time_follows_speed_and_word, a_timeout_that_nobody_wants_to_hear_of_has_no_timer,
    a_driver_that_never_reads_iir_gets_an_edge_for_each_byte_it_sends,
    what_is_left_below_the_trigger_level_interrupts_with_an_edge_of_its_own,
    interrupts_have_the_priority_of_the_data_sheet, loopback_feeds_outputs_to_inputs_and_bytes_back,
    the_peer_waits_while_loopback_cuts_the_wire, an_overrun_keeps_the_fifo_and_loses_the_new_byte,
    a_break_in_loopback_is_a_zero_with_its_flag_at_the_top_of_the_fifo,
    a_break_from_outside_is_one_zero_with_its_flag_and_an_interrupt,
    a_break_into_a_full_fifo_is_an_overrun,
    nobody_hears_a_break_before_the_driver_listens_or_in_loopback,
    a_wide_access_reaches_one_register_after_the_other, a_place_of_another_size_is_refused,
    its_state_tells_registers_speed_and_counts)
