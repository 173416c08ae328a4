/* Names of keys, and keys that are pressed together: `ctrl-alt-delete`. Any thread. */
#ifndef QVM_PROTO_KEYS_H
#define QVM_PROTO_KEYS_H

#include <stddef.h>
#include <stdint.h>

struct err;

#define KEYS_MAX 8u /* at once */

struct key_word {
    const char *name;
    uint16_t code; /* Linux' input-event-codes.h */
};
extern const struct key_word key_words[];
extern const size_t key_word_count;

/* The codes of `text`, names with `-` between, in their order; returns how many. -EINVAL: there is
 * no such key, none at all, one twice, or more than KEYS_MAX. */
int keys_parse(const char *text, uint16_t codes[KEYS_MAX], struct err *err);

#endif
