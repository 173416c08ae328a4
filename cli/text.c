/* Text for humans. */
#include "cli/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/span.h"

size_t text_decode(const char *text, size_t size, uint32_t *code)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)text;
    size_t length = s[0] < 0x80                   ? 1
                    : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                    : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
                    : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                                  : 0;
    uint32_t value = length == 1 ? s[0] : s[0] & (0xffu >> (length + 1));

    if (length == 0 || length > size) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (s[i] & 0x3f);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
        return 0;
    }
    *code = value;
    return length;
}

bool text_is_utf8(const char *text, size_t size, size_t *at)
{
    for (*at = 0; *at < size;) {
        uint32_t code = 0;
        size_t length = text_decode(text + *at, size - *at, &code);

        if (length == 0 || code == 0) {
            return false;
        }
        *at += length;
    }
    return true;
}

/* Whether it does something else than show a glyph: C0, DEL, C1, separators, direction marks. */
static bool is_harmful(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c || code == 0x200e ||
           code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

#define ESCAPE_MAX 8 /* \u202e and its NUL */

/* One character as it may be shown; returns how many bytes of `text` it stands for. */
static size_t show(const char *text, size_t size, char out[ESCAPE_MAX])
{
    uint32_t code = 0;
    size_t length = text_decode(text, size, &code);

    if (length == 0) {
        (void)snprintf(out, ESCAPE_MAX, "\\x%02x", (unsigned char)*text);
        return 1;
    }
    if (!is_harmful(code)) {
        memcpy(out, text, length);
        out[length] = '\0';
    } else if (code == '\n' || code == '\t' || code == '\r') {
        (void)snprintf(out, ESCAPE_MAX, "\\%c", code == '\n' ? 'n' : code == '\t' ? 't' : 'r');
    } else if (code < 0x80) {
        (void)snprintf(out, ESCAPE_MAX, "\\x%02x", (unsigned)code);
    } else {
        (void)snprintf(out, ESCAPE_MAX, "\\u%04x", (unsigned)(code & 0xffff));
    }
    return length;
}

char *text_harmless(const char *text)
{
    size_t size = strlen(text), used = 0;
    char *out = malloc(size * (ESCAPE_MAX - 2) + 1); /* the longest escape for each byte */

    for (size_t i = 0; out != NULL && i < size;) {
        char shown[ESCAPE_MAX];

        i += show(text + i, size - i, shown);
        memcpy(out + used, shown, strlen(shown));
        used += strlen(shown);
    }
    if (out != NULL) {
        out[used] = '\0';
    }
    return out;
}

void text_print(FILE *out, const char *text)
{
    auto_free char *shown = text_harmless(text);

    if (shown != NULL) {
        (void)fputs(shown, out); /* a full disk shows when the stream is closed */
    }
}

size_t text_width(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

void text_size(char out[TEXT_SHORT_SIZE], int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    uint64_t whole = bytes > 0 ? (uint64_t)bytes : 0, tenths = 0;
    size_t unit = 0;

    while (whole >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit++;
    }
    if (tenths == 0) {
        (void)snprintf(out, TEXT_SHORT_SIZE, "%" PRIu64 "%s", whole, units[unit]);
    } else {
        (void)snprintf(out, TEXT_SHORT_SIZE, "%" PRIu64 ".%" PRIu64 "%s", whole, tenths,
                       units[unit]);
    }
}

void text_span(char out[TEXT_SHORT_SIZE], int64_t ms)
{
    int64_t s = ms > 0 ? ms / 1000 : 0;

    if (s == 0) {
        (void)snprintf(out, TEXT_SHORT_SIZE, "%" PRId64 "ms", ms > 0 ? ms : 0);
    } else if (s < 60) {
        (void)snprintf(out, TEXT_SHORT_SIZE, "%" PRId64 "s", s);
    } else if (s < 3600) {
        (void)snprintf(out, TEXT_SHORT_SIZE, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    } else if (s < 86400) {
        (void)snprintf(out, TEXT_SHORT_SIZE, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    } else {
        (void)snprintf(out, TEXT_SHORT_SIZE, "%" PRId64 "d%02" PRId64 "h", s / 86400,
                       s / 3600 % 24);
    }
}

bool text_parse_span(const char *text, int64_t most, int64_t *ms)
{
    int64_t value = 0;

    if (!span_parse(text, most, &value) || value < 1) {
        return false;
    }
    *ms = value;
    return true;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned text_distance(const char *a, const char *b)
{
    unsigned d[TEXT_WORD_MAX + 1][TEXT_WORD_MAX + 1];
    size_t m = strlen(a), n = strlen(b);

    if (m > TEXT_WORD_MAX || n > TEXT_WORD_MAX) {
        return TEXT_FAR;
    }
    for (size_t i = 0; i <= m; i++) {
        for (size_t j = 0; j <= n; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (unsigned)(i + j);
                continue;
            }
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1,
                            d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
            }
        }
    }
    return d[m][n];
}
