/* JSON written piece by piece. */
#include "qvm-worker/plan/json_out.h"

#include <inttypes.h>

/* Length of the UTF-8 sequence at `text` (RFC 3629), or 0. */
static unsigned sequence_length(const unsigned char *text)
{
    unsigned length = text[0] < 0x80   ? 1
                      : text[0] < 0xc2 ? 0
                      : text[0] < 0xe0 ? 2
                      : text[0] < 0xf0 ? 3
                      : text[0] < 0xf5 ? 4
                                       : 0;

    for (unsigned i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0; /* a NUL, too */
        }
    }
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f)) {
        return 0; /* too long, a surrogate, or above U+10FFFF */
    }
    return length;
}

static void put_string(FILE *out, const char *value)
{
    const unsigned char *at = (const unsigned char *)value;

    (void)fputc('"', out);
    while (*at != '\0') {
        unsigned length = sequence_length(at);

        if (length == 0) {
            (void)fputs("\\ufffd", out);
            length = 1;
        } else if (*at == '"' || *at == '\\') {
            (void)fprintf(out, "\\%c", *at);
        } else if (*at < ' ' || *at == 0x7f) {
            (void)fprintf(out, "\\u%04x", *at);
        } else {
            (void)fwrite(at, 1, length, out);
        }
        at += length;
    }
    (void)fputc('"', out);
}

static void new_line(struct json_out *json)
{
    (void)fputc('\n', json->out);
    for (unsigned i = 0; i < json->depth; i++) {
        (void)fputs("  ", json->out);
    }
}

static void begin_item(struct json_out *json, const char *name)
{
    if (json->has_items) {
        (void)fputc(',', json->out);
    }
    if (json->depth > 0) {
        new_line(json);
    }
    json->has_items = true;
    if (name != NULL) {
        put_string(json->out, name);
        (void)fputs(": ", json->out);
    }
}

static void open_with(struct json_out *json, const char *name, char bracket)
{
    begin_item(json, name);
    (void)fputc(bracket, json->out);
    json->depth++;
    json->has_items = false;
}

static void close_with(struct json_out *json, char bracket)
{
    json->depth--;
    if (json->has_items) {
        new_line(json);
    }
    (void)fputc(bracket, json->out);
    json->has_items = true;
    if (json->depth == 0) {
        (void)fputc('\n', json->out);
    }
}

void json_out_open_object(struct json_out *json, const char *name)
{
    open_with(json, name, '{');
}

void json_out_close_object(struct json_out *json)
{
    close_with(json, '}');
}

void json_out_open_array(struct json_out *json, const char *name)
{
    open_with(json, name, '[');
}

void json_out_close_array(struct json_out *json)
{
    close_with(json, ']');
}

void json_out_string(struct json_out *json, const char *name, const char *value)
{
    begin_item(json, name);
    put_string(json->out, value);
}

void json_out_number(struct json_out *json, const char *name, uint64_t value)
{
    begin_item(json, name);
    (void)fprintf(json->out, "%" PRIu64, value);
}

void json_out_bool(struct json_out *json, const char *name, bool value)
{
    begin_item(json, name);
    (void)fputs(value ? "true" : "false", json->out);
}
