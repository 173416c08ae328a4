/* The serial port's receive FIFO: its trigger level and its timeout. Numbers as in the PC16550D's
 * data sheet. */
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_ser8250_module;

static struct vdev_slot slot;

enum { RBR, IER, IIR, LCR, MCR, LSR, THR = RBR, FCR = IIR };

static uint8_t in(int at)
{
    return fake_slot_in(&slot, 0, (uint64_t)at);
}

static void out(int at, unsigned value)
{
    fake_slot_out(&slot, 0, (uint64_t)at, (uint8_t)value);
}

/* A driver that is ready to receive, and says so before anything else. */
static void set_up_receiver(void)
{
    ck_assert_int_eq(fake_slot_create(&slot, vdev_ser8250_module, NULL, 0, NULL, 0), 0);
    out(MCR, 0x02); /* RTS */
    out(MCR, 0x00);
}

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

UNIT_MAIN("ser8250 FIFO", received_data_interrupts_at_the_trigger_level_and_below_it_as_a_timeout,
          bytes_below_the_trigger_level_interrupt_after_four_characters_time,
          each_byte_that_comes_or_is_read_begins_the_timeout_anew,
          reading_a_byte_ends_the_timeout_and_what_is_left_has_another,
          a_characters_time_follows_speed_and_word,
          a_timeout_that_nobody_wants_to_hear_of_has_no_timer,
          what_is_left_below_the_trigger_level_interrupts_with_an_edge_of_its_own)
