/* Lists of tagged fields: what was put is there again, and nothing else is believed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/fields.h"
#include "tests/unit/unit.h"

#define NOW UINT64_C(5000000000)

static struct fields_writer writer;
static struct fields_reader reader;
static struct err err;

static void set_up(void)
{
    writer = (struct fields_writer){.now_ns = NOW};
    err = (struct err){0};
}

static void put_number(uint32_t tag, uint64_t value)
{
    ck_assert_int_eq(fields_put(&writer, tag, VDEV_FIELD_NUMBER, &value, sizeof(value)), 0);
}

static void reopen(uint64_t now_ns)
{
    ck_assert_int_eq(fields_open(&reader, writer.bytes, writer.size, now_ns, &err), 0);
}

START_TEST(numbers_may_be_read_wider_and_narrower_as_long_as_they_fit)
{
    uint8_t byte = 200, narrow = 0;
    uint64_t wide = 0;

    set_up();
    ck_assert_int_eq(fields_put(&writer, 1, VDEV_FIELD_NUMBER, &byte, 1), 0);
    put_number(2, 256);
    reopen(NOW);
    ck_assert_int_eq(fields_get(&reader, 1, VDEV_FIELD_NUMBER, &wide, 8, 0, &err), 0);
    ck_assert_uint_eq(wide, 200);
    ck_assert_int_eq(fields_get(&reader, 2, VDEV_FIELD_NUMBER, &narrow, 1, 0, &err), -ERANGE);
    ck_assert_str_eq(err.msg, "field 2 is 256, and 255 is the most");
    ck_assert(reader.has_failed);
    fields_discard(&writer);
}
END_TEST

START_TEST(a_number_above_its_most_is_refused_and_the_first_words_are_told)
{
    uint32_t index = 77;

    set_up();
    put_number(1, 16);
    put_number(2, 18);
    reopen(NOW);
    ck_assert_int_eq(fields_get(&reader, 1, VDEV_FIELD_NUMBER, &index, 4, 16, &err), 0);
    ck_assert_uint_eq(index, 16);
    ck_assert_int_eq(fields_get(&reader, 2, VDEV_FIELD_NUMBER, &index, 4, 17, &err), -ERANGE);
    ck_assert_int_eq(fields_get(&reader, 1, VDEV_FIELD_NUMBER, &index, 4, 15, &err), -ERANGE);
    ck_assert_str_eq(err.msg, "field 2 is 18, and 17 is the most");
    ck_assert_uint_eq(index, 16); /* nothing was written */
    fields_discard(&writer);
}
END_TEST

START_TEST(times_keep_their_distance_from_now_and_none_stays_none)
{
    uint64_t later = NOW + 300, before = NOW - 400, none = 0, time = 1;

    set_up();
    ck_assert_int_eq(fields_put(&writer, 1, VDEV_FIELD_TIME, &later, 8), 0);
    ck_assert_int_eq(fields_put(&writer, 2, VDEV_FIELD_TIME, &before, 8), 0);
    ck_assert_int_eq(fields_put(&writer, 3, VDEV_FIELD_TIME, &none, 8), 0);
    reopen(NOW * 2);
    ck_assert_int_eq(fields_get(&reader, 1, VDEV_FIELD_TIME, &time, 8, 0, &err), 0);
    ck_assert_uint_eq(time, NOW * 2 + 300);
    ck_assert_int_eq(fields_get(&reader, 2, VDEV_FIELD_TIME, &time, 8, 0, &err), 0);
    ck_assert_uint_eq(time, NOW * 2 - 400);
    ck_assert_int_eq(fields_get(&reader, 3, VDEV_FIELD_TIME, &time, 8, 0, &err), 0);
    ck_assert_uint_eq(time, 0);
    reopen(400);
    ck_assert_int_eq(fields_get(&reader, 2, VDEV_FIELD_TIME, &time, 8, 0, &err), 0);
    ck_assert_uint_eq(time, 1); /* no time becomes none */
    fields_discard(&writer);
}
END_TEST

START_TEST(a_time_further_away_than_a_century_is_none)
{
    uint64_t far = NOW + (uint64_t)FIELDS_TIME_MAX, further = far + 1, time = 3;

    set_up();
    ck_assert_int_eq(fields_put(&writer, 1, VDEV_FIELD_TIME, &far, 8), 0);
    ck_assert_int_eq(fields_put(&writer, 2, VDEV_FIELD_TIME, &further, 8), 0);
    reopen(NOW);
    ck_assert_int_eq(fields_get(&reader, 1, VDEV_FIELD_TIME, &time, 8, 0, &err), 0);
    ck_assert_int_eq(fields_get(&reader, 2, VDEV_FIELD_TIME, &time, 8, 0, &err), -ERANGE);
    fields_discard(&writer);
}
END_TEST

START_TEST(bytes_have_their_size_and_a_missing_field_is_no_fault)
{
    uint8_t bytes[5] = {1, 2, 3, 4, 5}, other[6] = {0};
    size_t size = 0;

    set_up();
    ck_assert_int_eq(fields_put(&writer, 9, VDEV_FIELD_BYTES, bytes, sizeof(bytes)), 0);
    ck_assert_uint_eq(writer.size % 8, 0);
    reopen(NOW);
    ck_assert_int_eq(fields_get(&reader, 8, VDEV_FIELD_BYTES, other, 5, 0, &err), -ENOENT);
    ck_assert(!reader.has_failed);
    ck_assert_int_eq(fields_get(&reader, 9, VDEV_FIELD_BYTES, other, 5, 0, &err), 0);
    ck_assert_int_eq(memcmp(bytes, other, 5), 0);
    ck_assert_ptr_nonnull(fields_find(&reader, 9, &size));
    ck_assert_uint_eq(size, 5);
    ck_assert_int_eq(fields_get(&reader, 9, VDEV_FIELD_BYTES, other, 6, 0, &err), -EMSGSIZE);
    ck_assert_str_eq(err.msg, "field 9 has 5 bytes, and there must be 6");
    fields_discard(&writer);
}
END_TEST

START_TEST(another_kind_is_refused)
{
    uint64_t time = 0;

    set_up();
    put_number(1, 2);
    reopen(NOW);
    ck_assert_int_eq(fields_get(&reader, 1, VDEV_FIELD_TIME, &time, 8, 0, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "field 1 is of another kind");
    fields_discard(&writer);
}
END_TEST

START_TEST(what_is_needed_must_be_taken)
{
    uint8_t value = 0;

    set_up();
    put_number(1, 2);
    put_number(2 | VDEV_FIELD_NEEDED, 2);
    reopen(NOW);
    ck_assert_int_eq(fields_close(&reader, &err), -ENOTSUP);
    ck_assert_str_eq(err.msg, "field 2 must be understood, and is known to a newer one alone");
    ck_assert_int_eq(fields_get(&reader, 2, VDEV_FIELD_NUMBER, &value, 1, 0, &err), 0);
    ck_assert_int_eq(fields_close(&reader, &err), 0);
    fields_discard(&writer);
}
END_TEST

START_TEST(a_tag_of_zero_twice_or_one_too_many_is_not_put)
{
    uint64_t value = 1;

    set_up();
    ck_assert_int_eq(fields_put(&writer, 0, VDEV_FIELD_NUMBER, &value, 8), -EINVAL);
    ck_assert_int_eq(fields_put(&writer, VDEV_FIELD_NEEDED, VDEV_FIELD_NUMBER, &value, 8), -EINVAL);
    ck_assert_int_eq(fields_put(&writer, 1, VDEV_FIELD_NUMBER, &value, 3), -EINVAL);
    ck_assert_int_eq(fields_put(&writer, 1, VDEV_FIELD_BYTES, &value, 0), -EINVAL);
    ck_assert(writer.has_failed);
    for (uint32_t tag = 1; tag <= VDEV_FIELDS_MAX; tag++) {
        put_number(tag, tag);
    }
    ck_assert_int_eq(fields_put(&writer, 5 | VDEV_FIELD_NEEDED, VDEV_FIELD_NUMBER, &value, 8),
                     -EEXIST);
    ck_assert_int_eq(fields_put(&writer, VDEV_FIELDS_MAX + 1, VDEV_FIELD_NUMBER, &value, 8),
                     -E2BIG);
    reopen(NOW);
    ck_assert_uint_eq(reader.count, VDEV_FIELDS_MAX);
    fields_discard(&writer);
}
END_TEST

START_TEST(a_list_has_at_most_so_many_bytes)
{
    uint8_t *much = calloc(1, FIELDS_BYTES_MAX);

    set_up();
    ck_assert_ptr_nonnull(much);
    ck_assert_int_eq(fields_put(&writer, 1, VDEV_FIELD_BYTES, much, FIELDS_BYTES_MAX), -E2BIG);
    ck_assert_int_eq(fields_put(&writer, 1, VDEV_FIELD_BYTES, much, FIELDS_BYTES_MAX - 16), 0);
    ck_assert_int_eq(fields_put(&writer, 2, VDEV_FIELD_NUMBER, much, 1), -E2BIG);
    fields_discard(&writer);
    free(much);
}
END_TEST

/* A field of which each part can be wrong. */
static int open_field(uint32_t tag, uint32_t kind, uint64_t size, size_t there)
{
    uint8_t *exact = malloc(there); /* what is read beyond is found by the sanitizer */
    uint8_t bytes[64] = {0};
    int r;

    memcpy(bytes, &tag, 4);
    memcpy(bytes + 4, &kind, 4);
    memcpy(bytes + 8, &size, 8);
    ck_assert_ptr_nonnull(exact);
    memcpy(exact, bytes, there);
    r = fields_open(&reader, exact, there, NOW, &err);
    free(exact);
    return r;
}

START_TEST(what_is_no_list_is_refused)
{
    ck_assert_int_eq(open_field(1, VDEV_FIELD_NUMBER, 8, 24), 0);
    ck_assert_int_eq(open_field(1, VDEV_FIELD_BYTES, 1, 24), 0);
    ck_assert_int_eq(open_field(1, 99, 3, 24), 0); /* a kind that we do not know */
    ck_assert_int_eq(open_field(0, VDEV_FIELD_NUMBER, 8, 24), -EINVAL);
    ck_assert_int_eq(open_field(1, VDEV_FIELD_NUMBER, 4, 24), -EINVAL);
    ck_assert_int_eq(open_field(1, VDEV_FIELD_BYTES, 0, 24), -EINVAL);
    ck_assert_int_eq(open_field(1, VDEV_FIELD_BYTES, 9, 24), -EINVAL);
    ck_assert_int_eq(open_field(1, VDEV_FIELD_BYTES, 5, 21), -EINVAL); /* no padding */
    ck_assert_int_eq(open_field(1, VDEV_FIELD_BYTES, UINT64_MAX, 32), -EINVAL);
    ck_assert_int_eq(open_field(1, VDEV_FIELD_BYTES, UINT64_MAX - 15, 32), -EINVAL);
    ck_assert_int_eq(open_field(1, VDEV_FIELD_NUMBER, 8, 15), -EINVAL);
    ck_assert_str_eq(err.msg, "what begins at byte 0 is no field");
    ck_assert_int_eq(open_field(1, VDEV_FIELD_NUMBER, 8, 32), -EINVAL);
    ck_assert_str_eq(err.msg, "what begins at byte 24 is no field");
}
END_TEST

START_TEST(a_list_with_one_field_twice_or_too_many_is_refused)
{
    uint8_t *bytes = malloc((VDEV_FIELDS_MAX + 1) * 24);

    set_up();
    ck_assert_ptr_nonnull(bytes);
    for (uint32_t tag = 1; tag <= VDEV_FIELDS_MAX; tag++) {
        put_number(tag, 0);
    }
    memcpy(bytes, writer.bytes, writer.size);
    memcpy(bytes + writer.size, writer.bytes, 24);
    ck_assert_int_eq(fields_open(&reader, bytes, writer.size + 24, NOW, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "there are two fields 1");
    bytes[writer.size + 1] = 0xff;
    ck_assert_int_eq(fields_open(&reader, bytes, writer.size + 24, NOW, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "there are more than 1024 fields");
    fields_discard(&writer);
    free(bytes);
}
END_TEST

UNIT_MAIN("vdev_fields", numbers_may_be_read_wider_and_narrower_as_long_as_they_fit,
          a_number_above_its_most_is_refused_and_the_first_words_are_told,
          times_keep_their_distance_from_now_and_none_stays_none,
          a_time_further_away_than_a_century_is_none,
          bytes_have_their_size_and_a_missing_field_is_no_fault, another_kind_is_refused,
          what_is_needed_must_be_taken, a_tag_of_zero_twice_or_one_too_many_is_not_put,
          a_list_has_at_most_so_many_bytes, what_is_no_list_is_refused,
          a_list_with_one_field_twice_or_too_many_is_refused)
