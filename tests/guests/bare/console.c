#include "tests/guests/bare/console.h"

#include "tests/guests/bare/machine.h"

#include <stdarg.h>
#include <stdint.h>

#define COM1 0x3f8
enum { REG_DATA = COM1, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR };
enum { IER_RECEIVED = 1, FCR_ENABLE = 1, LCR_8N1 = 3, LCR_DLAB = 0x80 };
enum { MCR_DTR_RTS_OUT2 = 0x0b, LSR_RECEIVED = 1, LSR_TRANSMITTER_EMPTY = 0x20 };
enum { IIR_FIFO = 0xc0, FIFO_DEPTH = 16, DIVISOR_115200 = 1 };

#define RING_SIZE   1024U /* a power of two */
#define DECIMAL_MAX 20
#define HEX_MAX     16
#define DELETE      0x7f

static uint8_t fifo_depth = 1;
static uint8_t fifo_room; /* bytes that the transmitter takes without being asked again */
static char ring[RING_SIZE];
static volatile uint32_t ring_head, ring_tail; /* written by the interrupt, by the reader */
static volatile bool is_receiving;             /* false: the ring was full */
static bool last_was_return;

void console_init(void)
{
    outb(REG_IER, 0);
    outb(REG_LCR, LCR_DLAB | LCR_8N1);
    outb(REG_DATA, DIVISOR_115200);
    outb(REG_IER, 0);
    outb(REG_LCR, LCR_8N1);
    outb(REG_IIR_FCR, FCR_ENABLE);
    outb(REG_MCR, MCR_DTR_RTS_OUT2);
    if ((inb(REG_IIR_FCR) & IIR_FIFO) == IIR_FIFO) {
        fifo_depth = FIFO_DEPTH;
    }
}

void console_receive(void)
{
    is_receiving = true;
    outb(REG_IER, IER_RECEIVED);
}

void console_interrupt(void)
{
    while ((inb(REG_LSR) & LSR_RECEIVED) != 0) {
        if (ring_head - ring_tail == RING_SIZE) {
            outb(REG_IER, 0);
            is_receiving = false;
            return;
        }
        ring[ring_head % RING_SIZE] = (char)inb(REG_DATA);
        ring_head = ring_head + 1;
    }
}

static void put_raw(char c)
{
    if (fifo_room == 0) {
        while ((inb(REG_LSR) & LSR_TRANSMITTER_EMPTY) == 0) {
            __asm__ volatile("pause");
        }
        fifo_room = fifo_depth;
    }
    fifo_room--;
    outb(REG_DATA, (uint8_t)c);
}

static void put(char c)
{
    if (c == '\n') {
        put_raw('\r');
    }
    put_raw(c);
}

static void put_string(const char *s)
{
    while (*s != '\0') {
        put(*s++);
    }
}

static void put_decimal(uint64_t value)
{
    char digits[DECIMAL_MAX + 1];
    char *p = digits + DECIMAL_MAX;

    *p = '\0';
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put_string(p);
}

static void put_hex(uint64_t value)
{
    char digits[HEX_MAX + 1];
    char *p = digits + HEX_MAX;

    *p = '\0';
    do {
        *--p = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value != 0);
    put_string(p);
}

static void put_argument(char kind, va_list *arguments)
{
    uint64_t value;

    switch (kind) {
    case 's':
        put_string(va_arg(*arguments, const char *));
        break;
    case 'u':
        put_decimal(va_arg(*arguments, uint64_t));
        break;
    case 'x':
        put_hex(va_arg(*arguments, uint64_t));
        break;
    case '2':
        value = va_arg(*arguments, uint64_t);
        put((char)('0' + value / 10 % 10));
        put((char)('0' + value % 10));
        break;
    case 'c':
        put((char)va_arg(*arguments, int));
        break;
    default:
        put(kind);
        break;
    }
}

void print(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    for (; *format != '\0'; format++) {
        if (*format == '%' && format[1] != '\0') {
            put_argument(*++format, &arguments);
        } else {
            put(*format);
        }
    }
    va_end(arguments);
}

static char read_char(void)
{
    char c;

    interrupts_off();
    while (ring_head == ring_tail) {
        interrupts_wait();
    }
    c = ring[ring_tail % RING_SIZE];
    ring_tail = ring_tail + 1;
    if (!is_receiving && ring_head - ring_tail <= RING_SIZE / 2) {
        console_receive();
    }
    interrupts_on();
    return c;
}

/* The next byte that is not the second half of "\r\n"; '\n' for every end of line. */
static char read_unix_char(void)
{
    char c = read_char();

    if (c == '\n' && last_was_return) {
        c = read_char();
    }
    last_was_return = c == '\r';
    return c == '\r' ? '\n' : c;
}

bool console_read_line(char *line, size_t size)
{
    size_t length = 0;
    bool fits = true;
    char c;

    while ((c = read_unix_char()) != '\n') {
        if (c == '\b' || c == DELETE) {
            if (length > 0) {
                length--;
                put_string("\b \b");
            }
        } else if ((unsigned char)c < ' ') {
            continue;
        } else if (length + 1 < size) {
            line[length++] = c;
            put(c);
        } else {
            fits = false;
        }
    }
    put('\n');
    line[length] = '\0';
    return fits;
}
