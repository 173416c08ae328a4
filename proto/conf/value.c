/* What a word of a configuration means. */
#include "proto/conf/value.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/conf/words.h"

#define FILTER_SIZE       16 /* of the name of a log filter */
#define NAME_MAX_COMPARED 31 /* longer words are nobody's slip */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

static unsigned shift_of(char c)
{
    switch (c) {
    case 'k':
    case 'K':
        return 10;
    case 'm':
    case 'M':
        return 20;
    case 'g':
    case 'G':
        return 30;
    default:
        return 0;
    }
}

int conf_parse_number(const char *text, size_t size, enum conf_radix radix, uint64_t *value)
{
    unsigned shift = size > 0 ? shift_of(text[size - 1]) : 0;
    uint64_t number = 0;
    bool is_too_big = false;

    size -= shift != 0 ? 1 : 0;
    if (size > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        radix = CONF_HEX;
        text += 2;
        size -= 2;
    } else if (size > 2 && text[0] == '0' && (text[1] == 'd' || text[1] == 'D')) {
        radix = CONF_DECIMAL;
        text += 2;
        size -= 2;
    }
    if (size == 0) {
        return -EINVAL;
    }
    for (size_t i = 0; i < size; i++) {
        int digit = digit_of(text[i]);

        if (digit >= (int)radix) {
            return -EINVAL;
        }
        if (__builtin_mul_overflow(number, (uint64_t)radix, &number) ||
            __builtin_add_overflow(number, (uint64_t)digit, &number)) {
            is_too_big = true;
        }
    }
    if (is_too_big || __builtin_mul_overflow(number, UINT64_C(1) << shift, &number)) {
        return -ERANGE;
    }
    *value = number;
    return 0;
}

int conf_parse_bool(const char *text, bool *value)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "0", "1"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = i % 2 == 1;
            return 0;
        }
    }
    return -EINVAL;
}

int conf_bool(const struct conf_word *word, const char *what, bool *value, struct err *err)
{
    if (conf_parse_bool(word->text, value) != 0) {
        return conf_fail(err, word, "%s: '%s' is neither of on off yes no true false 1 0", what,
                         word->text);
    }
    return 0;
}

int conf_number_in(const struct conf_word *word, const char *what, const char *text, size_t size,
                   enum conf_radix radix, uint64_t min, uint64_t max, uint64_t *value,
                   struct err *err)
{
    uint64_t number = 0;
    int r = conf_parse_number(text, size, radix, &number);

    if (r == -EINVAL) {
        return conf_fail(err, word, "%s: '%.*s' is not a %s number%s", what, (int)size, text,
                         radix == CONF_HEX ? "hexadecimal" : "decimal",
                         size > 1 && text[0] >= '0' && text[0] <= '9' ? "; one may end in K, M or G"
                                                                      : "");
    }
    if (r != 0 || number < min || number > max) {
        return conf_fail(err, word,
                         radix == CONF_HEX ? "%s: '%.*s' is not between 0x%" PRIx64
                                             " and 0x%" PRIx64
                                           : "%s: '%.*s' is not between %" PRIu64 " and %" PRIu64,
                         what, (int)size, text, min, max);
    }
    *value = number;
    return 0;
}

int conf_number(const struct conf_word *word, const char *what, enum conf_radix radix, uint64_t min,
                uint64_t max, uint64_t *value, struct err *err)
{
    return conf_number_in(word, what, word->text, strlen(word->text), radix, min, max, value, err);
}

static int refuse_filter(const char *text, size_t size, struct err *err)
{
    char name[FILTER_SIZE] = "";
    struct conf_nearest nearest = {.word = name};

    if (size < sizeof(name)) {
        memcpy(name, text, size);
    }
    for (unsigned level = 0; level < LOG_LEVEL_COUNT; level++) {
        conf_nearest_offer(&nearest, log_level_name((enum log_level)level));
    }
    if (nearest.best != NULL) {
        return err_set(err, -EINVAL, "'%s' is no filter; did you mean '%s'?", name, nearest.best);
    }
    return err_set(err, -EINVAL,
                   "'%.*s' is no filter: fatal internal error warn info debug verbose",
                   size < INT_MAX ? (int)size : INT_MAX, text);
}

int conf_filters(const char *text, unsigned *set, struct err *err)
{
    unsigned found = 0;

    for (;;) {
        size_t size = strcspn(text, ",");
        char name[FILTER_SIZE] = "";
        int level;

        if (size < sizeof(name)) {
            memcpy(name, text, size);
        }
        level = log_level_find(name);
        if (level < 0) {
            return refuse_filter(text, size, err);
        }
        found |= LOG_BIT((unsigned)level);
        if (text[size] == '\0') {
            *set = found;
            return 0;
        }
        text += size + 1;
    }
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* How many letters must be changed, added, left out, or exchanged with the next one, to make `a`
 * of `b`. */
static size_t distance_between(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][NAME_MAX_COMPARED + 1];

    for (size_t j = 0; j <= b_size; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3];
        const size_t *last = rows[(i - 1) % 3];
        const size_t *second = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] =
                smallest(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = smallest(row[j], row[j], second[j - 2] + 1);
            }
        }
    }
    return rows[a_size % 3][b_size];
}

static bool is_listed(const struct conf_names *names, const char *name, size_t size)
{
    const char *at = names->text;

    while ((at = strstr(at, name)) != NULL) {
        if ((at == names->text || at[-1] == ' ') && (at[size] == ',' || at[size] == '\0')) {
            return true;
        }
        at += size;
    }
    return false;
}

static void list_name(struct conf_names *names, const char *name)
{
    static const char more[] = ", ...";
    size_t size = strlen(name), used = strlen(names->text);

    if (size == 0 || names->is_cut || is_listed(names, name, size)) {
        return;
    }
    names->is_cut = used + 2 + size + sizeof(more) > sizeof(names->text);
    (void)snprintf(names->text + used, sizeof(names->text) - used, "%s%s",
                   names->is_cut || used == 0 ? "" : ", ", names->is_cut ? more : name);
}

void conf_nearest_offer(struct conf_nearest *nearest, const char *name)
{
    size_t word_size = strlen(nearest->word);
    size_t name_size = strlen(name);
    size_t allowed = name_size < 4 ? 1 : 2; /* more is another word, not a slip */
    size_t distance;

    if (nearest->names != NULL) {
        list_name(nearest->names, name);
    }
    if (word_size > NAME_MAX_COMPARED || name_size > NAME_MAX_COMPARED) {
        return;
    }
    distance = strcasecmp(nearest->word, name) == 0
                   ? 0
                   : distance_between(nearest->word, word_size, name, name_size);
    if (distance <= allowed && distance < name_size &&
        (nearest->best == NULL || distance < nearest->distance)) {
        nearest->best = name;
        nearest->distance = distance;
    }
}
