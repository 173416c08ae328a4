#include "tests/guests/bare/text.h"

bool text_equals(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool text_starts(const char *text, const char *prefix)
{
    while (*prefix != '\0' && *text == *prefix) {
        text++;
        prefix++;
    }
    return *prefix == '\0';
}

const char *text_skip_blanks(const char *text)
{
    while (*text == ' ') {
        text++;
    }
    return text;
}

const char *text_option(const char *cmdline, const char *name)
{
    for (cmdline = text_skip_blanks(cmdline); *cmdline != '\0';
         cmdline = text_skip_blanks(cmdline)) {
        const char *word = cmdline;
        const char *p = name;

        while (*p != '\0' && *word == *p) {
            word++;
            p++;
        }
        if (*p == '\0') {
            return word;
        }
        while (*cmdline != '\0' && *cmdline != ' ') {
            cmdline++;
        }
    }
    return NULL;
}

/* 0 to 15, or 16 for what is no digit. */
static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    c = (char)(c | ('a' - 'A'));
    if (c >= 'a' && c <= 'f') {
        return (unsigned)(c - 'a') + 10;
    }
    return 16;
}

bool text_number(const char *text, unsigned base, uint64_t *value, const char **end)
{
    uint64_t sum = 0;
    const char *p = text_skip_blanks(text);
    const char *first;

    if (base == 16 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
        p += 2;
    }
    for (first = p; digit_of(*p) < base; p++) {
        if (sum > (UINT64_MAX - digit_of(*p)) / base) {
            return false;
        }
        sum = sum * base + digit_of(*p);
    }
    if (p == first) {
        return false;
    }
    *value = sum;
    if (end != NULL) {
        *end = p;
    }
    return true;
}
