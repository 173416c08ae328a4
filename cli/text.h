/* Text for humans: what strangers wrote shown harmlessly, sizes, spans of time. Pure functions
 * but for text_print(). */
#ifndef QVM_CLI_TEXT_H
#define QVM_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The character at `text` (`size` bytes, > 0): its length in bytes, and its code point in `*code`.
 * 0: the byte there begins no UTF-8 character (RFC 3629: no surrogates, nothing overlong). */
size_t text_decode(const char *text, size_t size, uint32_t *code);

/* The same text with everything that could move a cursor, change a colour or turn the writing
 * direction shown as an escape (\n \t \x1b \u202e ...); what is not UTF-8 as \xNN. To be freed;
 * NULL when memory is out. */
char *text_harmless(const char *text);

/* Write `text` harmlessly; nothing at all when memory is out. */
void text_print(FILE *out, const char *text);

/* How many columns a text of text_harmless() takes, one for each character. */
size_t text_width(const char *text);

#define TEXT_SHORT_SIZE 32

/* Bytes as IEC: 512B, 640KiB, 1.5GiB; one decimal at most. */
void text_size(char out[TEXT_SHORT_SIZE], int64_t bytes);

/* A span of time by its two largest units: 850ms, 12s, 3m05s, 2h07m, 5d03h. */
void text_span(char out[TEXT_SHORT_SIZE], int64_t ms);

/* NUMBER[ms|s|m|h|d], seconds without a unit, decimals allowed: milliseconds from 1 up to `most`.
 * false: it is none of these. */
bool text_parse_span(const char *text, int64_t most, int64_t *ms);

/* Whether all of it is UTF-8 without a zero byte; `*at` is the first bad byte. */
bool text_is_utf8(const char *text, size_t size, size_t *at);

/* How many letters were added, left out, changed, or swapped with their neighbours between two
 * short words; TEXT_FAR: they are too long. */
#define TEXT_WORD_MAX 31
#define TEXT_FAR      100
unsigned text_distance(const char *a, const char *b);

#endif
