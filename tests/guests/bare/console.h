/* COM1, a 16550A at port 0x3f8: printing, and lines from what its interrupt (GSI 4) brings. */
#ifndef QVM_TESTS_GUESTS_BARE_CONSOLE_H
#define QVM_TESTS_GUESTS_BARE_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>

/* 8n1, FIFO on; nothing is received yet. */
void console_init(void);

/* From here on received bytes raise GSI 4. Call when the interrupt has a handler. */
void console_receive(void);

/* The interrupt's work: take every byte that is there. With the buffer full the rest stays in the
 * UART, with its interrupt off, until a reader has made room: nothing is lost on our side. */
void console_interrupt(void);

/* Wait for a line, echo what is typed, edit with backspace. Without its end; NUL-terminated.
 * False: it was longer than `size` - 1, and only that many bytes were kept. */
bool console_read_line(char *line, size_t size);

/* %s string, %u decimal uint64_t, %x hexadecimal uint64_t, %2 two decimal digits of a uint64_t,
 * %c int, %%. '\n' becomes "\r\n". Waits while the transmitter is not ready. */
void print(const char *format, ...);

#endif
