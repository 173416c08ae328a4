#include "lib/reply.h"

#include <stdbool.h>
#include <string.h>

#define NUMBER_MAX 19 /* digits of which each fits */

static const struct reply_value nothing = {NULL, NULL};

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')) {
        at++;
    }
    return at;
}

/* Behind the string that begins here; NULL: it does not end. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\') {
            at++;
        }
    }
    return at < end ? at + 1 : NULL;
}

/* Behind the value that begins here; NULL: it does not end. */
static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;

    while (at != NULL && at < end) {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (depth > 0 && (*at == '}' || *at == ']')) {
            depth--;
            at++;
        } else if (depth == 0 && (*at == ',' || *at == '}' || *at == ']')) {
            return at;
        } else {
            at++;
            continue;
        }
        if (depth == 0) {
            return at;
        }
    }
    return NULL;
}

struct reply_value reply_member(struct reply_value object, const char *name)
{
    const char *end = object.end;
    const char *at = object.start != NULL ? skip_space(object.start, end) : end;

    if (at == end || *at != '{') {
        return nothing;
    }
    for (at = skip_space(at + 1, end); at < end && *at == '"'; at = skip_space(at + 1, end)) {
        const char *key = at + 1, *key_end = skip_string(at, end), *value;

        at = key_end != NULL ? skip_space(key_end, end) : end;
        if (at == end || *at != ':') {
            return nothing;
        }
        value = skip_space(at + 1, end);
        at = skip_value(value, end);
        if (at == NULL) {
            return nothing;
        }
        if ((size_t)(key_end - 1 - key) == strlen(name) && memcmp(key, name, strlen(name)) == 0) {
            return (struct reply_value){value, at};
        }
        at = skip_space(at, end);
        if (at == end || *at != ',') {
            return nothing;
        }
    }
    return nothing;
}

int64_t reply_number(struct reply_value value, int64_t otherwise)
{
    const char *at = value.start;
    bool is_negative = at != NULL && at < value.end && *at == '-';
    int64_t number = 0;
    size_t digits = 0;

    if (at == NULL) {
        return otherwise;
    }
    for (at += is_negative; at < value.end && *at >= '0' && *at <= '9'; at++) {
        digits++;
        if (digits >= NUMBER_MAX) {
            return otherwise;
        }
        number = number * 10 + (*at - '0');
    }
    if (digits == 0 || skip_space(at, value.end) != value.end) {
        return otherwise;
    }
    return is_negative ? -number : number;
}

/* One character of a string: what it is for people; `*at` moves on to its last byte. */
static char character_at(const char **at, const char *end)
{
    if (**at != '\\') {
        char plain = **at;

        return (char)(plain >= ' ' && plain <= '~' ? plain : '?');
    }
    ++*at;
    if (**at == 'u') {
        *at += end - *at > 4 ? 4 : 0;
        return '?';
    }
    return (char)(**at == '"' || **at == '\\' || **at == '/' ? **at
                                                             : ' '); /* a line's end, a tab */
}

void reply_text(struct reply_value value, char *text, size_t size)
{
    size_t used = 0;

    if (value.start != NULL && value.end - value.start >= 2 && *value.start == '"') {
        for (const char *at = value.start + 1; at < value.end - 1 && used + 1 < size; at++) {
            text[used++] = character_at(&at, value.end - 1);
        }
    }
    text[used] = '\0';
}
