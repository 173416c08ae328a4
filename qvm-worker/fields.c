/* A list of tagged fields as bytes. */
#include "qvm-worker/fields.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

#define HEAD_SIZE   16u /* tag, kind, size */
#define NUMBER_SIZE 8u

static size_t padded(size_t size)
{
    return (size + 7) / 8 * 8;
}

static bool is_number_size(size_t size)
{
    return size == 1 || size == 2 || size == 4 || size == 8;
}

/* Whether a module may have a member of that size for the kind. */
static bool is_size_of(enum vdev_field_kind kind, size_t size)
{
    switch (kind) {
    case VDEV_FIELD_NUMBER:
        return is_number_size(size);
    case VDEV_FIELD_TIME:
        return size == sizeof(uint64_t);
    case VDEV_FIELD_BYTES:
        return size > 0 && size <= FIELDS_BYTES_MAX;
    }
    return false;
}

static uint64_t load_number(const void *data, size_t size)
{
    uint64_t value = 0;

    memcpy(&value, data, size); /* little-endian, as we are */
    return value;
}

static bool has_tag(const struct fields_writer *writer, uint32_t tag)
{
    for (size_t at = 0; at < writer->size;) {
        uint32_t other = (uint32_t)load_number(writer->bytes + at, sizeof(other));

        if ((other & ~VDEV_FIELD_NEEDED) == tag) {
            return true;
        }
        at += HEAD_SIZE + padded((size_t)load_number(writer->bytes + at + 8, NUMBER_SIZE));
    }
    return false;
}

static int grow(struct fields_writer *writer, size_t more)
{
    size_t room = writer->room == 0 ? 256 : writer->room;
    uint8_t *bytes;

    if (more > FIELDS_BYTES_MAX - writer->size) {
        return -E2BIG;
    }
    while (room - writer->size < more) {
        room *= 2;
    }
    if (room == writer->room) {
        return 0;
    }
    bytes = realloc(writer->bytes, room);
    if (bytes == NULL) {
        return -ENOMEM;
    }
    writer->bytes = bytes;
    writer->room = room;
    return 0;
}

static void append(struct fields_writer *writer, const void *data, size_t size)
{
    memcpy(writer->bytes + writer->size, data, size);
    writer->size += size;
}

static int put(struct fields_writer *writer, uint32_t tag, enum vdev_field_kind kind,
               const void *data, size_t size)
{
    uint32_t kind_word = (uint32_t)kind;
    uint64_t value = 0, value_size = kind == VDEV_FIELD_BYTES ? size : NUMBER_SIZE;
    int r;

    if ((tag & ~VDEV_FIELD_NEEDED) == 0 || !is_size_of(kind, size)) {
        return -EINVAL;
    }
    if (has_tag(writer, tag & ~VDEV_FIELD_NEEDED)) {
        return -EEXIST;
    }
    r = writer->count == VDEV_FIELDS_MAX ? -E2BIG
                                         : grow(writer, HEAD_SIZE + padded((size_t)value_size));
    if (r != 0) {
        return r;
    }
    if (kind != VDEV_FIELD_BYTES) {
        value = load_number(data, size);
        if (kind == VDEV_FIELD_TIME) {
            value = value == 0 ? (uint64_t)FIELDS_NO_TIME : value - writer->now_ns;
        }
        data = &value;
    }
    append(writer, &tag, sizeof(tag));
    append(writer, &kind_word, sizeof(kind_word));
    append(writer, &value_size, sizeof(value_size));
    append(writer, data, (size_t)value_size);
    memset(writer->bytes + writer->size, 0, padded((size_t)value_size) - (size_t)value_size);
    writer->size += padded((size_t)value_size) - (size_t)value_size;
    writer->count++;
    return 0;
}

int fields_put(struct fields_writer *writer, uint32_t tag, enum vdev_field_kind kind,
               const void *data, size_t size)
{
    int r = put(writer, tag, kind, data, size);

    writer->has_failed = writer->has_failed || r != 0;
    return r;
}

void fields_discard(struct fields_writer *writer)
{
    free(writer->bytes);
    *writer = (struct fields_writer){0};
}

static struct fields_row *find(struct fields_reader *reader, uint32_t tag)
{
    for (uint32_t i = 0; i < reader->count; i++) {
        if (reader->rows[i].tag == tag) {
            return &reader->rows[i];
        }
    }
    return NULL;
}

/* One field at `bytes`, of which `left` are there; returns how many it has, or 0. */
static size_t read_row(struct fields_row *row, const uint8_t *bytes, size_t left)
{
    uint32_t kind;
    uint64_t size;

    if (left < HEAD_SIZE) {
        return 0;
    }
    row->tag = (uint32_t)load_number(bytes, sizeof(row->tag));
    row->is_needed = (row->tag & VDEV_FIELD_NEEDED) != 0;
    row->tag &= ~VDEV_FIELD_NEEDED;
    kind = (uint32_t)load_number(bytes + 4, sizeof(kind));
    size = load_number(bytes + 8, sizeof(size));
    if (row->tag == 0 || size == 0 || size > left - HEAD_SIZE ||
        padded((size_t)size) > left - HEAD_SIZE ||
        ((kind == VDEV_FIELD_NUMBER || kind == VDEV_FIELD_TIME) && size != NUMBER_SIZE)) {
        return 0;
    }
    row->kind = (enum vdev_field_kind)kind;
    row->value = bytes + HEAD_SIZE;
    row->size = (size_t)size;
    return HEAD_SIZE + padded((size_t)size);
}

int fields_open(struct fields_reader *reader, const uint8_t *bytes, size_t size, uint64_t now_ns,
                struct err *err)
{
    size_t taken;

    *reader = (struct fields_reader){.now_ns = now_ns};
    for (size_t at = 0; at < size; at += taken) {
        struct fields_row row = {0};

        taken = read_row(&row, bytes + at, size - at);
        if (taken == 0) {
            return err_set(err, -EINVAL, "what begins at byte %zu is no field", at);
        }
        if (find(reader, row.tag) != NULL) {
            return err_set(err, -EINVAL, "there are two fields %" PRIu32, row.tag);
        }
        if (reader->count == VDEV_FIELDS_MAX) {
            return err_set(err, -EINVAL, "there are more than %u fields", VDEV_FIELDS_MAX);
        }
        reader->rows[reader->count++] = row;
    }
    return 0;
}

static int refuse(struct fields_reader *reader, int code, struct err *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The first words are those that are told. */
static int refuse(struct fields_reader *reader, int code, struct err *err, const char *format, ...)
{
    if (!reader->has_failed) {
        va_list args;

        va_start(args, format);
        (void)err_vset(err, code, format, args);
        va_end(args);
    }
    reader->has_failed = true;
    return code;
}

/* The number or time of a row, as the module has it. */
static int read_value(struct fields_reader *reader, const struct fields_row *row, uint64_t max,
                      uint64_t *value, struct err *err)
{
    uint64_t number = load_number(row->value, NUMBER_SIZE);

    if (row->kind == VDEV_FIELD_TIME) {
        int64_t distance = (int64_t)number;

        if (distance != FIELDS_NO_TIME &&
            (distance > FIELDS_TIME_MAX || distance < -FIELDS_TIME_MAX)) {
            return refuse(reader, -ERANGE, err, "field %" PRIu32 " is no time", row->tag);
        }
        *value = distance == FIELDS_NO_TIME ? 0 : reader->now_ns + number;
        *value = distance != FIELDS_NO_TIME && *value == 0 ? 1 : *value;
        return 0;
    }
    if (number > max) {
        return refuse(reader, -ERANGE, err,
                      "field %" PRIu32 " is %" PRIu64 ", and %" PRIu64 " is the most", row->tag,
                      number, max);
    }
    *value = number;
    return 0;
}

int fields_get(struct fields_reader *reader, uint32_t tag, enum vdev_field_kind kind, void *data,
               size_t size, uint64_t max, struct err *err)
{
    struct fields_row *row = find(reader, tag);
    uint64_t most, value = 0;
    int r;

    if (!is_size_of(kind, size)) {
        return refuse(reader, -EINVAL, err, "field %" PRIu32 " is asked for with %zu bytes", tag,
                      size);
    }
    if (row == NULL) {
        return -ENOENT;
    }
    if (row->kind != kind) {
        return refuse(reader, -EINVAL, err, "field %" PRIu32 " is of another kind", tag);
    }
    row->is_taken = true;
    if (kind == VDEV_FIELD_BYTES) {
        if (row->size != size) {
            return refuse(reader, -EMSGSIZE, err,
                          "field %" PRIu32 " has %zu bytes, and there must be %zu", tag, row->size,
                          size);
        }
        memcpy(data, row->value, size);
        return 0;
    }
    most = size == sizeof(most) ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
    r = read_value(reader, row, max != 0 && max < most ? max : most, &value, err);
    if (r == 0) {
        memcpy(data, &value, size);
    }
    return r;
}

const uint8_t *fields_find(struct fields_reader *reader, uint32_t tag, size_t *size)
{
    struct fields_row *row = find(reader, tag);

    if (row == NULL || row->kind != VDEV_FIELD_BYTES) {
        return NULL;
    }
    row->is_taken = true;
    *size = row->size;
    return row->value;
}

int fields_close(const struct fields_reader *reader, struct err *err)
{
    for (uint32_t i = 0; i < reader->count; i++) {
        if (reader->rows[i].is_needed && !reader->rows[i].is_taken) {
            return err_set(err, -ENOTSUP,
                           "field %" PRIu32
                           " must be understood, and is known to a newer one alone",
                           reader->rows[i].tag);
        }
    }
    return 0;
}
