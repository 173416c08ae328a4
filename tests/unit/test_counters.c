/* Counters that a qvm shares: what a reader takes from a stranger's memory. */
#include "proto/counters.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

#define AT_VCPU_COUNT  12
#define AT_NAMED_COUNT 16
#define AT_NAMES       64

/* A memfd as a liar would send it: a good beginning, then `bytes` of his at `at`. */
static int make_memory(off_t size, unsigned seals, off_t at, const void *bytes, size_t count)
{
    struct counters *good = NULL;
    int fd = memfd_create("liar", MFD_CLOEXEC | MFD_ALLOW_SEALING), good_fd = -1;
    char head[64];

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(counters_create(1, &good_fd, &good, NULL), 0);
    ck_assert_int_eq(pread(good_fd, head, sizeof(head), 0), (ssize_t)sizeof(head));
    ck_assert_int_eq(ftruncate(fd, size), 0);
    ck_assert_int_eq(pwrite(fd, head, sizeof(head), 0), (ssize_t)sizeof(head));
    ck_assert_int_eq(pwrite(fd, bytes, count, at), (ssize_t)count);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    counters_unmap(good);
    cleanup_close(&good_fd);
    return fd;
}

START_TEST(what_is_counted_is_read_through_the_descriptor)
{
    auto_close int fd = -1;
    struct counters *writer = NULL;
    const struct counters *reader = NULL;
    counter_t *named;
    char name[COUNTERS_NAME_SIZE];
    int64_t value = 0;

    ck_assert_int_eq(counters_create(2, &fd, &writer, NULL), 0);
    ck_assert_int_eq(counters_map(fd, &reader, NULL), 0);
    ck_assert_uint_eq(counters_vcpu_count(reader), 2);
    ck_assert(!counters_named(reader, 0, name, &value));
    for (int i = 0; i < 3; i++) {
        counter_bump(&counters_vcpu(writer, 1)[COUNTERS_MMIO]);
    }
    named = counters_add_name(writer, "net0.rx_bytes");
    ck_assert_ptr_nonnull(named);
    counter_add_shared(named, 1500);
    ck_assert_int_eq(counters_exits(reader, 1, COUNTERS_MMIO), 3);
    ck_assert_int_eq(counters_exits(reader, 0, COUNTERS_MMIO), 0);
    ck_assert(counters_named(reader, 0, name, &value));
    ck_assert_str_eq(name, "net0.rx_bytes");
    ck_assert_int_eq(value, 1500);
    counters_unmap(reader);
    counters_unmap(writer);
}
END_TEST

START_TEST(what_is_outside_is_zero)
{
    auto_close int fd = -1;
    struct counters *counters = NULL;

    ck_assert_int_eq(counters_create(COUNTERS_VCPUS_MAX + 1, &fd, &counters, NULL), 0);
    ck_assert_uint_eq(counters_vcpu_count(counters), COUNTERS_VCPUS_MAX);
    ck_assert_ptr_null(counters_vcpu(counters, COUNTERS_VCPUS_MAX));
    ck_assert_int_eq(counters_exits(counters, COUNTERS_VCPUS_MAX, 0), 0);
    ck_assert_int_eq(counters_exits(counters, 0, COUNTERS_REASONS), 0);
    ck_assert_ptr_null(counters_reason_name(COUNTERS_REASONS));
    counters_unmap(counters);
}
END_TEST

START_TEST(names_are_bounded_in_number_length_and_letters)
{
    auto_close int fd = -1;
    struct counters *counters = NULL;
    char name[COUNTERS_NAME_SIZE + 1];

    ck_assert_int_eq(counters_create(1, &fd, &counters, NULL), 0);
    memset(name, 'x', sizeof(name));
    name[COUNTERS_NAME_SIZE] = '\0';
    ck_assert_ptr_null(counters_add_name(counters, name));
    ck_assert_ptr_null(counters_add_name(counters, ""));
    ck_assert_ptr_null(counters_add_name(counters, "a\"b"));
    name[COUNTERS_NAME_SIZE - 1] = '\0';
    for (unsigned i = 0; i < COUNTERS_NAMED_MAX; i++) {
        ck_assert_ptr_nonnull(counters_add_name(counters, name));
    }
    ck_assert_ptr_null(counters_add_name(counters, "one.more"));
    counters_unmap(counters);
}
END_TEST

START_TEST(memory_that_could_hurt_is_refused)
{
    const struct counters *counters = NULL;
    uint64_t wrong = 7;
    struct err err = {0};
    int fds[] = {
        make_memory(COUNTERS_SIZE, 0, 0, "", 0),                 /* could shrink */
        make_memory(COUNTERS_SIZE - 1, F_SEAL_SHRINK, 0, "", 0), /* is too short */
        make_memory(COUNTERS_SIZE, F_SEAL_SHRINK, 0, &wrong, 8), /* is something else */
        make_memory(COUNTERS_SIZE, F_SEAL_SHRINK, 8, &wrong, 4), /* of another version */
        open("/dev/zero", O_RDONLY | O_CLOEXEC),
    };

    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        ck_assert_int_eq(counters_map(fds[i], &counters, &err), -EPROTO);
        ck_assert_int_ne(err.msg[0], '\0');
        cleanup_close(&fds[i]);
    }
    ck_assert_int_eq(counters_map(-1, &counters, &err), -EPROTO);
}
END_TEST

START_TEST(a_later_version_may_be_longer)
{
    auto_close int fd = make_memory(2 * COUNTERS_SIZE, F_SEAL_SHRINK, 0, "", 0);
    const struct counters *counters = NULL;

    ck_assert_int_eq(counters_map(fd, &counters, NULL), 0);
    counters_unmap(counters);
}
END_TEST

START_TEST(numbers_and_names_of_a_liar_are_cut_to_size)
{
    uint8_t lies[COUNTERS_SIZE - AT_VCPU_COUNT];
    const struct counters *counters = NULL;
    char name[COUNTERS_NAME_SIZE];
    int64_t value = 0;
    int fd;

    memset(lies, 0xff, sizeof(lies));
    fd = make_memory(COUNTERS_SIZE, F_SEAL_SHRINK, AT_VCPU_COUNT, lies, sizeof(lies));
    ck_assert_int_eq(counters_map(fd, &counters, NULL), 0);
    ck_assert_uint_eq(counters_vcpu_count(counters), COUNTERS_VCPUS_MAX);
    ck_assert_int_eq(counters_exits(counters, 255, 63), INT64_MAX);
    for (uint32_t i = 0; i < 2 * COUNTERS_NAMED_MAX; i++) {
        ck_assert(!counters_named(counters, i, name, &value)); /* no NUL, no letters */
    }
    counters_unmap(counters);
    cleanup_close(&fd);
}
END_TEST

START_TEST(a_name_without_end_is_none)
{
    char all[COUNTERS_NAME_SIZE];
    uint32_t count = 1;
    const struct counters *counters = NULL;
    char name[COUNTERS_NAME_SIZE];
    int64_t value = 0;
    int fd;

    memset(all, 'a', sizeof(all));
    fd = make_memory(COUNTERS_SIZE, 0, AT_NAMES, all, sizeof(all));
    ck_assert_int_eq(pwrite(fd, &count, sizeof(count), AT_NAMED_COUNT), (ssize_t)sizeof(count));
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    ck_assert_int_eq(counters_map(fd, &counters, NULL), 0);
    ck_assert(!counters_named(counters, 0, name, &value));
    counters_unmap(counters);
    cleanup_close(&fd);
}
END_TEST

UNIT_MAIN("counters", what_is_counted_is_read_through_the_descriptor, what_is_outside_is_zero,
          names_are_bounded_in_number_length_and_letters, memory_that_could_hurt_is_refused,
          a_later_version_may_be_longer, numbers_and_names_of_a_liar_are_cut_to_size,
          a_name_without_end_is_none)
