/* A list of tagged fields as bytes: what a device saved, or a list of such lists.
 *
 *   tag (4)  kind (4)  size (8)  value (size, then zeroes to the next multiple of 8)
 *
 * repeated to the end, all little-endian; the highest bit of a tag is VDEV_FIELD_NEEDED; kinds are
 * those of enum vdev_field_kind, and such as a newer qvm may know. A number has 8 bytes. A time is
 * what lies between it and the moment of the save, of two's complement, or FIELDS_NO_TIME.
 *
 * Who reads takes the bytes for a stranger's: all is checked when the list is opened, and the bytes
 * must not change afterwards (read a copy of your own). */
#ifndef QVM_WORKER_FIELDS_H
#define QVM_WORKER_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vdevs/include/qvm/vdev.h"

struct err;

#define FIELDS_BYTES_MAX (16u << 20) /* of a list, with lists in it */
#define FIELDS_NO_TIME   INT64_MIN   /* a time that was 0 */
#define FIELDS_TIME_MAX                                                                            \
    (INT64_C(100) * 366 * 86400 * 1000000000) /* how far from now one may be                       \
                                               */

/* A list that grows; begin with zeroes and `now_ns`, end with fields_discard. */
struct fields_writer {
    uint64_t now_ns; /* what times are told from */
    uint8_t *bytes;
    size_t size, room;
    uint32_t count;
    bool has_failed;
};

/* As the service put. */
int fields_put(struct fields_writer *writer, uint32_t tag, enum vdev_field_kind kind,
               const void *data, size_t size);
void fields_discard(struct fields_writer *writer);

/* A list that is read. */
struct fields_reader {
    uint64_t now_ns; /* what times are told from */
    uint32_t count;
    bool has_failed; /* a field was asked for that is not what it should be */
    struct fields_row {
        uint32_t tag; /* without VDEV_FIELD_NEEDED */
        enum vdev_field_kind kind;
        const uint8_t *value; /* in the list's bytes */
        size_t size;
        bool is_needed, is_taken;
    } rows[VDEV_FIELDS_MAX];
};

/* Look at all of it. `bytes` stay the caller's, as long as the reader. -EINVAL: it is no list. */
int fields_open(struct fields_reader *reader, const uint8_t *bytes, size_t size, uint64_t now_ns,
                struct err *err);

/* As the service get. */
int fields_get(struct fields_reader *reader, uint32_t tag, enum vdev_field_kind kind, void *data,
               size_t size, uint64_t max, struct err *err);

/* Where a field of bytes lies; NULL: there is none. It counts as taken. */
const uint8_t *fields_find(struct fields_reader *reader, uint32_t tag, size_t *size);

/* -ENOTSUP: one that is needed was not taken. */
int fields_close(const struct fields_reader *reader, struct err *err);

#endif
