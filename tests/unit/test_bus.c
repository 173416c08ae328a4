/* The buses: who answers where. */
#include "qvm-worker/bus/bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

/* A device that remembers its accesses, and answers 0xa0 + offset in each byte. */
struct device {
    uint32_t access_count;
    uint32_t region, size;
    uint64_t offset, value;
    bool is_write;
};

static struct err err;
static struct bus *bus;

static void on_access(void *context, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write)
{
    struct device *device = context;

    *device = (struct device){device->access_count + 1, region, size, offset, *value, is_write};
    if (!is_write) {
        for (uint32_t i = 0; i < 8; i++) {
            ((uint8_t *)value)[i] = (uint8_t)(0xa0 + offset + i);
        }
    }
}

static int add(enum bus_space space, uint64_t start, uint64_t size, struct device *device,
               const char *name)
{
    return bus_add(bus, space, start, size, on_access, device, 7, name, &err);
}

START_TEST(overlap_is_refused_and_both_owners_are_named)
{
    struct device device = {0};

    bus = bus_create();
    ck_assert_int_eq(add(BUS_IO, 0x3f8, 8, &device, "vdev ser8250 (a:1)"), 0);
    ck_assert_int_eq(add(BUS_IO, 0x3ff, 2, &device, "vdev progress (a:9)"), -EEXIST);
    ck_assert_str_eq(err.msg, "vdev progress (a:9): ports 0x3ff-0x400 belong to vdev ser8250 "
                              "(a:1) (0x3f8-0x3ff)");
    ck_assert_int_eq(add(BUS_IO, 0x3f0, 9, &device, "x"), -EEXIST);
    ck_assert_int_eq(add(BUS_IO, 0x3f9, 1, &device, "x"), -EEXIST);
    ck_assert_int_eq(add(BUS_IO, 0x3f0, 0x100, &device, "x"), -EEXIST);
    ck_assert_int_eq(add(BUS_IO, 0x400, 1, &device, "x"), 0);
    ck_assert_int_eq(add(BUS_IO, 0x3f7, 1, &device, "x"), 0);
    ck_assert_int_eq(add(BUS_MEMORY, 0x3f8, 8, &device, "x"), 0);
    bus_destroy(bus);
}
END_TEST

START_TEST(regions_outside_their_space_are_refused)
{
    struct device device = {0};

    bus = bus_create();
    ck_assert_int_eq(add(BUS_IO, 0xffff, 1, &device, "x"), 0);
    ck_assert_int_eq(add(BUS_IO, 0xfffe, 3, &device, "x"), -EINVAL);
    ck_assert_int_eq(add(BUS_IO, 0x10000, 1, &device, "x"), -EINVAL);
    ck_assert_int_eq(add(BUS_IO, 5, 0, &device, "x"), -EINVAL);
    ck_assert_int_eq(add(BUS_MEMORY, UINT64_MAX, 1, &device, "x"), 0);
    ck_assert_int_eq(add(BUS_MEMORY, UINT64_MAX - 1, 3, &device, "x"), -EINVAL);
    bus_destroy(bus);
}
END_TEST

START_TEST(access_inside_a_region_comes_whole)
{
    struct device device = {0};
    uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    bus = bus_create();
    ck_assert_int_eq(add(BUS_MEMORY, 0x1000, 16, &device, "x"), 0);
    for (uint32_t size = 1; size <= 8; size *= 2) {
        ck_assert(bus_access(bus, BUS_MEMORY, 0x1008, data, size, true));
        ck_assert_uint_eq(device.size, size);
        ck_assert_uint_eq(device.offset, 8);
        ck_assert_uint_eq(device.region, 7);
    }
    ck_assert_uint_eq(device.access_count, 4);
    ck_assert_uint_eq(device.value, 0x0807060504030201);
    ck_assert(bus_access(bus, BUS_MEMORY, 0x1004, data, 4, false));
    ck_assert_mem_eq(data, "\xa4\xa5\xa6\xa7\x05", 5);
    bus_destroy(bus);
}
END_TEST

START_TEST(access_over_a_border_is_split_to_bytes)
{
    struct device low = {0}, high = {0};
    uint8_t data[8] = {0};

    bus = bus_create();
    ck_assert_int_eq(add(BUS_IO, 0x100, 4, &low, "low"), 0);
    ck_assert_int_eq(add(BUS_IO, 0x105, 4, &high, "high"), 0);
    ck_assert(bus_access(bus, BUS_IO, 0x102, data, 4, false));
    ck_assert_mem_eq(data, "\xa2\xa3\xff\xa0", 4);
    ck_assert_uint_eq(low.access_count, 2);
    ck_assert_uint_eq(low.size, 1);
    ck_assert_uint_eq(high.access_count, 1);
    ck_assert(bus_access(bus, BUS_IO, 0xfe, data, 4, false));
    ck_assert_mem_eq(data, "\xff\xff\xa0\xa1", 4);
    ck_assert(bus_access(bus, BUS_IO, 0x100, data, 3, true)); /* no size of a register */
    ck_assert_uint_eq(low.size, 1);
    ck_assert_uint_eq(low.access_count, 7);
    bus_destroy(bus);
}
END_TEST

START_TEST(nobody_answers_with_all_ones_and_takes_no_write)
{
    struct device device = {0};
    uint8_t data[8] = {0};

    bus = bus_create();
    ck_assert(!bus_access(bus, BUS_IO, 0x80, data, 4, false));
    ck_assert_mem_eq(data, "\xff\xff\xff\xff\0\0\0\0", 8);
    ck_assert_int_eq(add(BUS_IO, 0x100, 4, &device, "x"), 0);
    ck_assert(!bus_access(bus, BUS_IO, 0xfc, data, 4, true));
    ck_assert(!bus_access(bus, BUS_IO, 0x104, data, 4, true));
    ck_assert(!bus_access(bus, BUS_MEMORY, 0x100, data, 4, true));
    ck_assert(!bus_access(bus, BUS_MEMORY, UINT64_MAX - 1, data, 8, false));
    ck_assert_uint_eq(device.access_count, 0);
    bus_destroy(bus);
}
END_TEST

START_TEST(each_of_many_regions_is_found)
{
    static struct device devices[BUS_REGIONS_MAX];
    static char names[BUS_REGIONS_MAX][8];

    bus = bus_create();
    for (uint32_t i = 0; i < BUS_REGIONS_MAX; i++) {
        uint32_t n = (i * 2731) % BUS_REGIONS_MAX; /* in no order */

        (void)snprintf(names[n], sizeof(names[n]), "%u", n);
        ck_assert_int_eq(add(BUS_MEMORY, 0x10000 + 16ull * n, 8, &devices[n], names[n]), 0);
    }
    ck_assert_int_eq(add(BUS_MEMORY, 0, 1, &devices[0], "x"), -ENOSPC);
    for (uint32_t n = 0; n < BUS_REGIONS_MAX; n++) {
        ck_assert_str_eq(bus_owner(bus, BUS_MEMORY, 0x10007 + 16ull * n), names[n]);
        ck_assert_ptr_null(bus_owner(bus, BUS_MEMORY, 0x10008 + 16ull * n));
    }
    bus_destroy(bus);
}
END_TEST

static int map(uint64_t start, uint64_t size, struct device *device)
{
    const struct bus_place place = {BUS_MEMORY, start, size, on_access, device, 3, "a BAR"};

    return bus_map(bus, &place);
}

START_TEST(mapped_region_never_displaces_what_is_there)
{
    struct device fixed = {0}, moving = {0};

    bus = bus_create();
    ck_assert_int_eq(add(BUS_MEMORY, 0x2000, 0x1000, &fixed, "fixed"), 0);
    ck_assert_int_eq(map(0x1000, 0x1001, &moving), -EEXIST);
    ck_assert_int_eq(map(0x2fff, 0x10, &moving), -EEXIST);
    ck_assert_int_eq(map(0x2800, 0x10, &moving), -EEXIST);
    ck_assert_int_eq(map(0, 0x10000, &moving), -EEXIST);
    ck_assert_int_eq(map(0x1000, 0, &moving), -EINVAL);
    ck_assert_int_eq(map(UINT64_MAX, 2, &moving), -EINVAL);
    ck_assert_int_eq(map(0x1000, 0x1000, &moving), 0);
    ck_assert_int_eq(map(0x3000, 0x1000, &moving), 0);
    ck_assert_str_eq(bus_owner(bus, BUS_MEMORY, 0x2fff), "fixed");
    bus_destroy(bus);
}
END_TEST

START_TEST(unmapped_region_answers_no_more_and_may_go_elsewhere)
{
    struct device low = {0}, moving = {0}, high = {0};
    uint8_t data[8] = {0};

    bus = bus_create();
    ck_assert_int_eq(add(BUS_MEMORY, 0x1000, 0x10, &low, "low"), 0);
    ck_assert_int_eq(add(BUS_MEMORY, 0x9000, 0x10, &high, "high"), 0);
    for (uint64_t at = 0x2000; at < 0x9000; at += 0x1000) {
        ck_assert_int_eq(map(at, 0x100, &moving), 0);
        ck_assert(bus_access(bus, BUS_MEMORY, at + 8, data, 4, false));
        ck_assert_uint_eq(moving.offset, 8);
        bus_unmap(bus, BUS_MEMORY, at + 1); /* not where it begins: nothing */
        ck_assert_str_eq(bus_owner(bus, BUS_MEMORY, at), "a BAR");
        bus_unmap(bus, BUS_MEMORY, at);
        ck_assert(!bus_access(bus, BUS_MEMORY, at + 8, data, 4, false));
    }
    ck_assert_str_eq(bus_owner(bus, BUS_MEMORY, 0x100f), "low");
    ck_assert_str_eq(bus_owner(bus, BUS_MEMORY, 0x9000), "high");
    bus_destroy(bus);
}
END_TEST

#define MOVES 20000

struct reader {
    atomic_bool is_over;
    uint64_t wrong; /* answers */
};

/* Two fixed neighbours that are always there, and a BAR that moves between them. */
static void *look_up_all_the_time(void *context)
{
    struct reader *reader = context;
    uint8_t data[8];
    uint64_t wrong = 0;

    while (!atomic_load(&reader->is_over)) {
        const char *between = bus_owner(bus, BUS_MEMORY, 0x5008);

        wrong += bus_owner(bus, BUS_MEMORY, 0x1000) == NULL ? 1 : 0;
        wrong += bus_owner(bus, BUS_MEMORY, 0x9000) == NULL ? 1 : 0;
        wrong += between != NULL && strcmp(between, "a BAR") != 0 ? 1 : 0;
        wrong += bus_access(bus, BUS_MEMORY, 0x9008, data, 8, false) ? 0 : 1;
        wrong += data[0] == 0xa8 ? 0 : 1;
    }
    reader->wrong = wrong;
    return NULL;
}

static void on_constant(void *context, uint32_t region, uint64_t offset, uint32_t size,
                        uint64_t *value, bool is_write)
{
    (void)context;
    (void)region;
    (void)size;
    (void)is_write;
    *value = 0xa0 + offset;
}

START_TEST(readers_find_everything_while_a_region_moves)
{
    struct reader reader = {0};
    struct device moving = {0};
    pthread_t thread;

    bus = bus_create();
    ck_assert_int_eq(bus_add(bus, BUS_MEMORY, 0x1000, 16, on_constant, NULL, 0, "low", &err), 0);
    ck_assert_int_eq(bus_add(bus, BUS_MEMORY, 0x9000, 16, on_constant, NULL, 0, "high", &err), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, look_up_all_the_time, &reader), 0);
    for (uint64_t i = 0; i < MOVES; i++) {
        uint64_t at = 0x2000 + i % 7 * 0x1000;

        ck_assert_int_eq(map(at, 0x100, &moving), 0);
        bus_unmap(bus, BUS_MEMORY, at);
    }
    atomic_store(&reader.is_over, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(reader.wrong, 0);
    bus_destroy(bus);
}
END_TEST

UNIT_MAIN("bus", overlap_is_refused_and_both_owners_are_named,
          regions_outside_their_space_are_refused, access_inside_a_region_comes_whole,
          access_over_a_border_is_split_to_bytes, nobody_answers_with_all_ones_and_takes_no_write,
          each_of_many_regions_is_found, mapped_region_never_displaces_what_is_there,
          unmapped_region_answers_no_more_and_may_go_elsewhere,
          readers_find_everything_while_a_region_moves)
