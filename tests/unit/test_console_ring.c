/* The console ring, alone. */
#include "proto/console.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

/* Where the shared page has its numbers. */
#define AT_MAGIC    0
#define AT_VERSION  8
#define AT_CAPACITY 12
#define AT_BEGUN    16
#define AT_WRITTEN  24

static uint8_t *memory;
static struct console_ring *ring;

/* Each test runs in a process of its own. */
static void set_up(void)
{
    memory = aligned_alloc(4096, CONSOLE_RING_SIZE);
    ck_assert_ptr_nonnull(memory);
    memset(memory, 0, CONSOLE_RING_SIZE);
    ring = console_ring_init(memory);
}

static void poke(size_t at, uint64_t value)
{
    memcpy(memory + at, &value, sizeof(value));
}

/* The byte that belongs at `offset` in the tests that write patterns. */
static uint8_t pattern(uint64_t offset)
{
    return (uint8_t)(offset * 2654435761u >> 11);
}

static void write_pattern(uint64_t from, size_t size)
{
    auto_free uint8_t *data = malloc(size);

    for (size_t i = 0; i < size; i++) {
        data[i] = pattern(from + i);
    }
    console_ring_write(ring, data, size);
}

START_TEST(what_is_written_is_read_by_offset_as_often_as_one_likes)
{
    char buffer[32] = "";
    uint64_t offset = 0, lost = 0;

    set_up();
    console_ring_write(ring, "hello ", 6);
    console_ring_write(ring, "world", 5);
    for (int round = 0; round < 2; round++) {
        offset = 3;
        ck_assert_uint_eq(console_ring_read(ring, &offset, buffer, sizeof(buffer), &lost), 8);
        ck_assert_mem_eq(buffer, "lo world", 8);
        ck_assert_uint_eq(offset, 11);
    }
    ck_assert_uint_eq(console_ring_read(ring, &offset, buffer, sizeof(buffer), &lost), 0);
    ck_assert_uint_eq(lost, 0);
    ck_assert_uint_eq(console_ring_end(ring), 11);
}
END_TEST

START_TEST(the_capacity_is_kept_to_the_byte_and_one_more_loses_one)
{
    auto_free uint8_t *buffer = malloc(2 * CONSOLE_RING_CAPACITY);
    uint64_t offset = 0, lost = 0;

    set_up();
    write_pattern(0, CONSOLE_RING_CAPACITY);
    ck_assert_uint_eq(console_ring_oldest(ring), 0);
    ck_assert_uint_eq(console_ring_read(ring, &offset, buffer, 2 * CONSOLE_RING_CAPACITY, &lost),
                      CONSOLE_RING_CAPACITY);
    ck_assert_uint_eq(lost, 0);

    write_pattern(CONSOLE_RING_CAPACITY, 1);
    offset = 0;
    ck_assert_uint_eq(console_ring_oldest(ring), 1);
    ck_assert_uint_eq(console_ring_read(ring, &offset, buffer, 2 * CONSOLE_RING_CAPACITY, &lost),
                      CONSOLE_RING_CAPACITY);
    ck_assert_uint_eq(lost, 1);
    for (size_t i = 0; i < CONSOLE_RING_CAPACITY; i++) {
        ck_assert_uint_eq(buffer[i], pattern(i + 1));
    }
}
END_TEST

START_TEST(a_write_larger_than_the_ring_keeps_its_end_and_counts_all)
{
    auto_free uint8_t *buffer = malloc(CONSOLE_RING_CAPACITY);
    uint64_t offset = 2, lost = 0;

    set_up();
    console_ring_write(ring, "ab", 2);
    write_pattern(2, CONSOLE_RING_CAPACITY + 1000);
    ck_assert_uint_eq(console_ring_end(ring), CONSOLE_RING_CAPACITY + 1002);
    ck_assert_uint_eq(console_ring_read(ring, &offset, buffer, CONSOLE_RING_CAPACITY, &lost),
                      CONSOLE_RING_CAPACITY);
    ck_assert_uint_eq(lost, 1000);
    ck_assert_uint_eq(buffer[0], pattern(1002));
    ck_assert_uint_eq(buffer[CONSOLE_RING_CAPACITY - 1], pattern(CONSOLE_RING_CAPACITY + 1001));
}
END_TEST

START_TEST(a_small_buffer_takes_pieces_in_order)
{
    uint8_t buffer[7];
    uint64_t offset = 0, lost = 0, expected = 0;
    size_t n;

    set_up();
    write_pattern(0, 100);
    while ((n = console_ring_read(ring, &offset, buffer, sizeof(buffer), &lost)) > 0) {
        for (size_t i = 0; i < n; i++) {
            ck_assert_uint_eq(buffer[i], pattern(expected++));
        }
        ck_assert_uint_eq(offset, expected);
    }
    ck_assert_uint_eq(expected, 100);
}
END_TEST

START_TEST(an_offset_behind_the_end_is_set_to_the_end)
{
    uint8_t buffer[8];
    uint64_t offset = 1000000, lost = 0;

    set_up();
    console_ring_write(ring, "abc", 3);
    ck_assert_uint_eq(console_ring_read(ring, &offset, buffer, sizeof(buffer), &lost), 0);
    ck_assert_uint_eq(offset, 3);
    ck_assert_uint_eq(lost, 0);
}
END_TEST

START_TEST(bytes_announced_but_not_yet_counted_make_what_they_replace_lost)
{
    uint8_t buffer[64];
    uint64_t offset = 0, lost = 0;

    set_up();
    write_pattern(0, CONSOLE_RING_CAPACITY);
    poke(AT_BEGUN, CONSOLE_RING_CAPACITY + 10); /* the writer is in the middle of ten bytes */
    ck_assert_uint_eq(console_ring_read(ring, &offset, buffer, sizeof(buffer), &lost), 64);
    ck_assert_uint_eq(lost, 10);
    ck_assert_uint_eq(buffer[0], pattern(10));
}
END_TEST

START_TEST(a_writer_that_lies_in_its_counters_gets_no_byte_outside_the_ring_copied)
{
    static const uint64_t lies[] = {0,
                                    1,
                                    5,
                                    CONSOLE_RING_CAPACITY - 1,
                                    CONSOLE_RING_CAPACITY + 1,
                                    UINT32_MAX,
                                    (uint64_t)INT64_MAX,
                                    UINT64_MAX - CONSOLE_RING_CAPACITY,
                                    UINT64_MAX};
    auto_free uint8_t *buffer = malloc(CONSOLE_RING_CAPACITY); /* its end is guarded by ASan */

    set_up();
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        for (size_t j = 0; j < ARRAY_LEN(lies); j++) {
            for (size_t k = 0; k < ARRAY_LEN(lies); k++) {
                uint64_t offset = lies[k], lost = 0;
                size_t n;

                poke(AT_BEGUN, lies[i]);
                poke(AT_WRITTEN, lies[j]);
                n = console_ring_read(ring, &offset, buffer, CONSOLE_RING_CAPACITY, &lost);
                ck_assert_uint_le(n, CONSOLE_RING_CAPACITY);
                ck_assert_uint_le(offset, lies[j]);
            }
        }
    }
}
END_TEST

START_TEST(a_header_that_is_none_is_refused_in_words)
{
    struct err err = {0};

    set_up();
    ck_assert_int_eq(console_ring_check(memory, CONSOLE_RING_SIZE, &err), 0);
    ck_assert_int_eq(console_ring_check(memory, CONSOLE_RING_SIZE - 1, &err), -EPROTO);
    ck_assert_str_eq(err.msg, "the console's memory has 266239 bytes, not 266240");
    memory[AT_VERSION]++;
    ck_assert_int_eq(console_ring_check(memory, CONSOLE_RING_SIZE, &err), -EPROTO);
    ck_assert_str_eq(err.msg, "the console ring is of version 2 with 262144 bytes; known is "
                              "version 1 with 262144");
    memory[AT_VERSION]--;
    memory[AT_CAPACITY + 3] = 0x80;
    ck_assert_int_eq(console_ring_check(memory, CONSOLE_RING_SIZE, &err), -EPROTO);
    memory[AT_CAPACITY + 3] = 0;
    memory[AT_MAGIC] ^= 1;
    ck_assert_int_eq(console_ring_check(memory, CONSOLE_RING_SIZE, &err), -EPROTO);
    ck_assert_str_eq(err.msg, "the console's memory does not begin as a console ring does");
}
END_TEST

START_TEST(a_descriptor_carries_the_ring_to_a_reader_and_cannot_be_cut)
{
    auto_close int fd = -1;
    struct console_ring *writer = NULL;
    const struct console_ring *reader = NULL;
    struct err err = {0};
    uint64_t offset = 0, lost = 0;
    char buffer[8];

    ck_assert_int_eq(console_ring_create(&fd, &writer, &err), 0);
    ck_assert_int_eq(console_ring_map(fd, &reader, &err), 0);
    console_ring_write(writer, "abc", 3);
    ck_assert_uint_eq(console_ring_read(reader, &offset, buffer, sizeof(buffer), &lost), 3);
    ck_assert_mem_eq(buffer, "abc", 3);
    ck_assert_int_ne(ftruncate(fd, 0), 0);
    ck_assert_int_ne(ftruncate(fd, CONSOLE_RING_SIZE + 1), 0);
    ck_assert_ptr_eq(mmap(NULL, CONSOLE_RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
                     MAP_FAILED);
    console_ring_unmap(reader);
    console_ring_unmap(writer);
}
END_TEST

START_TEST(a_descriptor_that_could_be_cut_or_is_too_small_is_refused_in_words)
{
    auto_close int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const struct console_ring *reader = NULL;
    struct err err = {0};

    ck_assert_int_eq(ftruncate(fd, CONSOLE_RING_SIZE - 1), 0);
    ck_assert_int_eq(console_ring_map(fd, &reader, &err), -EPROTO);
    ck_assert_str_eq(err.msg, "the console's descriptor is no sealed memory");
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    ck_assert_int_eq(console_ring_map(fd, &reader, &err), -EPROTO);
    ck_assert_str_eq(err.msg, "the console's memory has 266239 bytes, not 266240");
    ck_assert_int_eq(ftruncate(fd, CONSOLE_RING_SIZE), 0);
    ck_assert_int_eq(console_ring_map(fd, &reader, &err), -EPROTO);
    ck_assert_str_eq(err.msg, "the console's memory does not begin as a console ring does");
    ck_assert_int_eq(console_ring_map(-1, &reader, &err), -EPROTO);
    ck_assert_ptr_null(reader);
}
END_TEST

#define RACE_BYTES (8u * CONSOLE_RING_CAPACITY)

static atomic_bool race_over;

static void *write_fast(void *unused UNUSED)
{
    for (uint64_t at = 0; at < RACE_BYTES;) {
        size_t size = 1 + (size_t)(at % 977);

        write_pattern(at, size);
        at += size;
    }
    atomic_store(&race_over, true);
    return NULL;
}

START_TEST(a_reader_that_is_overtaken_gets_right_bytes_or_counts_them_as_lost)
{
    auto_free uint8_t *buffer = malloc(CONSOLE_RING_CAPACITY);
    size_t wrong = 0;
    pthread_t writer;
    bool is_over;

    set_up();
    atomic_store(&race_over, false);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_fast, NULL), 0);
    do {
        uint64_t start = console_ring_oldest(ring); /* the next to be overwritten */
        uint64_t offset = start, lost = 0;
        size_t n;

        is_over = atomic_load(&race_over);
        n = console_ring_read(ring, &offset, buffer, CONSOLE_RING_CAPACITY, &lost);
        ck_assert_uint_eq(offset, start + lost + n);
        for (size_t i = 0; i < n; i++) {
            wrong += buffer[i] != pattern(offset - n + i);
        }
    } while (!is_over);
    pthread_join(writer, NULL);
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_ge(console_ring_end(ring), RACE_BYTES);
}
END_TEST

UNIT_MAIN("console ring", what_is_written_is_read_by_offset_as_often_as_one_likes,
          the_capacity_is_kept_to_the_byte_and_one_more_loses_one,
          a_write_larger_than_the_ring_keeps_its_end_and_counts_all,
          a_small_buffer_takes_pieces_in_order, an_offset_behind_the_end_is_set_to_the_end,
          bytes_announced_but_not_yet_counted_make_what_they_replace_lost,
          a_writer_that_lies_in_its_counters_gets_no_byte_outside_the_ring_copied,
          a_header_that_is_none_is_refused_in_words,
          a_descriptor_carries_the_ring_to_a_reader_and_cannot_be_cut,
          a_descriptor_that_could_be_cut_or_is_too_small_is_refused_in_words,
          a_reader_that_is_overtaken_gets_right_bytes_or_counts_them_as_lost)
