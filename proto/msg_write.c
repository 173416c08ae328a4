/* Structs to JSON text, driven by the tables of msg_types.c.
 *
 * Straight into one buffer: qvmd answers all of its clients with one thread, and a list of many
 * guests made of one object for each value would hold it up for milliseconds. */
#include "proto/msg_write.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base64.h"

#define ROOM_FIRST  256
#define NUMBER_SIZE 20 /* digits and sign of an int64_t */

static void append(struct msg_writer *out, const char *piece, size_t size)
{
    if (out->room - out->used < size && !out->is_broken) {
        size_t room = out->room == 0 ? ROOM_FIRST : out->room;
        char *data;

        while (room - out->used < size) {
            room *= 2;
        }
        data = realloc(out->data, room);
        if (data == NULL) {
            out->is_broken = true;
            return;
        }
        out->data = data;
        out->room = room;
    }
    if (!out->is_broken) {
        memcpy(out->data + out->used, piece, size);
        out->used += size;
    }
}

void msg_write_raw(struct msg_writer *out, const char *piece)
{
    append(out, piece, strlen(piece));
}

void msg_write_number(struct msg_writer *out, int64_t number)
{
    char digits[NUMBER_SIZE];
    size_t at = sizeof(digits);
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;

    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0) {
        digits[--at] = '-';
    }
    append(out, digits + at, sizeof(digits) - at);
}

/* ---- texts ---- */

/* Bytes of the character of more than one byte that `s` begins with (RFC 3629); 0: it is none.
 * Reads no further than a NUL. */
static size_t character_size(const unsigned char *s)
{
    size_t size = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    uint32_t value = s[0] & (0x7fu >> size);

    if (s[0] < 0xc2 || s[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (s[i] & 0x3f);
    }
    if ((size == 3 && value < 0x800) || (size == 4 && (value < 0x10000 || value > 0x10ffff)) ||
        (value >= 0xd800 && value <= 0xdfff)) {
        return 0; /* longer than it has to be, beyond the last, or half of a pair */
    }
    return size;
}

/* A character that cannot stand in a JSON text as it is. */
static void append_escaped(struct msg_writer *out, unsigned char c)
{
    static const char hex[] = "0123456789ABCDEF";
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* each with what stands for it */
    char escaped[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

    for (size_t i = 0; i + 1 < sizeof(letters); i += 2) {
        if ((unsigned char)letters[i] == c) {
            escaped[1] = letters[i + 1];
            append(out, escaped, 2);
            return;
        }
    }
    append(out, escaped, sizeof(escaped));
}

void msg_write_string(struct msg_writer *out, const char *string)
{
    const unsigned char *s = (const unsigned char *)string;

    append(out, "\"", 1);
    while (*s != '\0') {
        size_t plain = 0, size;

        while (s[plain] >= ' ' && s[plain] < 0x80 && s[plain] != '"' && s[plain] != '\\') {
            plain++;
        }
        append(out, (const char *)s, plain);
        s += plain;
        if (*s == '\0') {
            break;
        }
        size = *s < 0x80 ? 1 : character_size(s);
        if (*s < 0x80) {
            append_escaped(out, *s);
        } else if (size > 0) {
            append(out, (const char *)s, size);
        } else {
            size = 1;
            append(out, "?", 1);
            out->is_broken = out->is_broken || out->texts == MSG_EXACT;
        }
        s += size;
    }
    append(out, "\"", 1);
}

/* ---- structs ---- */

static const void *slot_at(const void *body, size_t offset)
{
    return (const char *)body + offset;
}

static bool is_pointer(const struct msg_field *field)
{
    return field->kind != MSG_INT && field->kind != MSG_BOOL && field->kind != MSG_ENUM;
}

/* Whether a member that MAY be left out is. A list is always there, so that readers need not ask.
 */
static bool is_empty(const struct msg_field *field, const void *body)
{
    const void *slot = slot_at(body, field->offset);

    switch (field->kind) {
    case MSG_INT:
        return *(const int64_t *)slot == 0;
    case MSG_BOOL:
        return !*(const bool *)slot;
    case MSG_ENUM:
        return *(const int *)slot == 0;
    case MSG_BYTES:
        return *(const size_t *)slot_at(body, field->count_offset) == 0;
    case MSG_LIST:
    case MSG_STRS:
        return false;
    case MSG_STR:
    case MSG_NAME:
    case MSG_OBJ:
        break;
    }
    return *(const void *const *)slot == NULL;
}

static void write_list(struct msg_writer *out, const struct msg_field *field, const void *list,
                       size_t count)
{
    size_t size = msg_types[field->type].size;

    msg_write_raw(out, "[");
    for (size_t i = 0; list != NULL && i < count; i++) {
        msg_write_raw(out, i > 0 ? "," : "");
        if (field->kind == MSG_STRS) {
            msg_write_string(out, ((char *const *)list)[i]);
        } else {
            msg_write_struct(out, field->type, (const char *)list + i * size);
        }
    }
    msg_write_raw(out, "]");
}

static void write_bytes(struct msg_writer *out, const uint8_t *data, size_t size)
{
    auto_free char *encoded = base64_encode(data, size);

    out->is_broken = out->is_broken || encoded == NULL;
    msg_write_raw(out, "\"");
    msg_write_raw(out, encoded != NULL ? encoded : "");
    msg_write_raw(out, "\"");
}

static void write_word(struct msg_writer *out, const struct word_table *table, int value)
{
    const char *word = words_name(table, value);

    out->is_broken = out->is_broken || word == NULL;
    msg_write_string(out, word != NULL ? word : "");
}

static void write_field(struct msg_writer *out, const struct msg_field *field, const void *body)
{
    const void *slot = slot_at(body, field->offset);
    const size_t *count = slot_at(body, field->count_offset);
    const void *pointer = is_pointer(field) ? *(const void *const *)slot : NULL;

    switch (field->kind) {
    case MSG_INT:
        msg_write_number(out, *(const int64_t *)slot);
        return;
    case MSG_BOOL:
        msg_write_raw(out, *(const bool *)slot ? "true" : "false");
        return;
    case MSG_ENUM:
        write_word(out, words_table(field->words), *(const int *)slot);
        return;
    case MSG_BYTES:
        write_bytes(out, pointer, *count);
        return;
    case MSG_LIST:
    case MSG_STRS:
        write_list(out, field, pointer, *count);
        return;
    case MSG_STR:
    case MSG_NAME:
    case MSG_OBJ:
        break;
    }
    if (pointer == NULL) { /* a MUST: otherwise it was left out */
        out->is_broken = true;
    } else if (field->kind == MSG_OBJ) {
        msg_write_struct(out, field->type, pointer);
    } else {
        msg_write_string(out, pointer);
    }
}

void msg_write_struct(struct msg_writer *out, enum msg_struct type, const void *body)
{
    const struct msg_type *t = &msg_types[type];
    bool is_first = true;

    msg_write_raw(out, "{");
    for (size_t i = 0; i < t->field_count && !out->is_broken; i++) {
        const struct msg_field *field = &t->fields[i];

        if (!field->must && is_empty(field, body)) {
            continue;
        }
        msg_write_raw(out, is_first ? "\"" : ",\"");
        msg_write_raw(out, field->name);
        msg_write_raw(out, "\":");
        write_field(out, field, body);
        is_first = false;
    }
    msg_write_raw(out, "}");
}

char *msg_writer_take(struct msg_writer *out)
{
    char *data = NULL;

    append(out, "", 1);
    if (out->is_broken) {
        free(out->data);
    } else {
        data = realloc(out->data, out->used); /* it may wait for its reader for some time */
        data = data != NULL ? data : out->data;
    }
    *out = (struct msg_writer){.texts = out->texts};
    return data;
}

/* ---- one struct ---- */

static char *encode(enum msg_struct type, const void *body, enum msg_texts texts)
{
    struct msg_writer out = {.texts = texts};

    msg_write_struct(&out, type, body);
    return msg_writer_take(&out);
}

char *msg_encode(enum msg_struct type, const void *body)
{
    return encode(type, body, MSG_EXACT);
}

char *msg_encode_told(enum msg_struct type, const void *body)
{
    return encode(type, body, MSG_TOLD);
}
