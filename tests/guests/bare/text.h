/* What the guest needs of strings and numbers. */
#ifndef QVM_TESTS_GUESTS_BARE_TEXT_H
#define QVM_TESTS_GUESTS_BARE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool text_equals(const char *a, const char *b);

/* True if `text` begins with `prefix`. */
bool text_starts(const char *text, const char *prefix);

/* The first byte that is not a blank. */
const char *text_skip_blanks(const char *text);

/* The value of the word NAME=VALUE in `cmdline`, up to the next blank or the end; NULL: none.
 * `name` includes the '='. */
const char *text_option(const char *cmdline, const char *name);

/* A number in `base` 10 or 16 (there "0x" may precede), after blanks; `end` is where it stopped.
 * False, with nothing written: no digit there, or larger than 64 bits. */
bool text_number(const char *text, unsigned base, uint64_t *value, const char **end);

#endif
