/* What a word of a configuration means: booleans, numbers, lists split at commas, and the known
 * name that an unknown one comes nearest to. */
#ifndef QVM_PROTO_CONF_VALUE_H
#define QVM_PROTO_CONF_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf_word;
struct err;

/* How a number without a prefix is read: addresses are hexadecimal, all else is decimal. */
enum conf_radix { CONF_DECIMAL = 10, CONF_HEX = 16 };

/* [0x|0d]DIGITS[K|M|G], either case; K M G are powers of 1024. -EINVAL: not a number; -ERANGE:
 * above UINT64_MAX. `value` is written on success alone. */
int conf_parse_number(const char *text, size_t size, enum conf_radix radix, uint64_t *value);

/* on off yes no true false 1 0. -EINVAL otherwise. */
int conf_parse_bool(const char *text, bool *value);

/* The same for a whole word, with the sentence for the user, which says of `what` (an option, or a
 * part of what it takes) the word is the value; min <= value <= max. */
int conf_bool(const struct conf_word *word, const char *what, bool *value, struct err *err);
int conf_number(const struct conf_word *word, const char *what, enum conf_radix radix, uint64_t min,
                uint64_t max, uint64_t *value, struct err *err);

/* The same for `size` bytes of a word that holds more. */
int conf_number_in(const struct conf_word *word, const char *what, const char *text, size_t size,
                   enum conf_radix radix, uint64_t min, uint64_t max, uint64_t *value,
                   struct err *err);

/* The set of levels (proto/base/log.h) in `F,F..`. -EINVAL: `err` has a sentence without place. */
int conf_filters(const char *text, unsigned *set, struct err *err);

/* A known name that `word` is perhaps a slip of: begin with {.word = ...}, offer every name, read
 * `best` (NULL: none is near). */
struct conf_nearest {
    const char *word;
    const char *best;
    size_t distance;
    struct conf_names *names; /* NULL, or where every name that is offered is listed as well */
};

/* Names with commas between them, each once; where there is no room for more stands "...". */
#define CONF_NAMES_SIZE 384
struct conf_names {
    char text[CONF_NAMES_SIZE];
    bool is_cut;
};
void conf_nearest_offer(struct conf_nearest *nearest, const char *name);

#endif
