/* Guest RAM: pages that are given back to the host. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/memory/memory.h"
#include "tests/unit/unit.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)

static void cleanup_memory(struct memory **memory)
{
    memory_destroy(*memory);
}
#define auto_memory __attribute__((cleanup(cleanup_memory)))

static struct memory *make(const struct memory_range *ranges, uint32_t count)
{
    struct memory *memory = NULL;
    struct err err = {0};

    ck_assert_msg(memory_create(ranges, count, &memory, &err) == 0, "%s", err.msg);
    return memory;
}

/* Whether a page of the memfd is allocated. */
static bool is_there(const struct memory *memory, uint64_t offset)
{
    return lseek(memory_fd(memory), (off_t)offset, SEEK_DATA) == (off_t)offset;
}

START_TEST(discarded_pages_are_the_hosts_again_and_empty_when_they_are_touched)
{
    const struct memory_range range = {.size = MIB(4), .where = "a:1"};
    auto_memory struct memory *memory = make(&range, 1);
    uint8_t *at = memory_span(memory, gpa(MIB(2)), MIB(1));
    uint32_t count = 0;
    const struct memory_region *last = memory_regions(memory, &count) + 2;
    uint64_t offset = last->offset + (uint64_t)(at - last->host);

    memset(at, 0xaa, MIB(1));
    ck_assert_int_eq(memory_discard(memory, at + KIB(4), KIB(8)), 0);
    ck_assert(is_there(memory, offset));
    ck_assert(!is_there(memory, offset + KIB(4)));
    ck_assert(!is_there(memory, offset + KIB(8)));
    ck_assert(is_there(memory, offset + KIB(12)));
    ck_assert_uint_eq(at[KIB(4)], 0);
    ck_assert_uint_eq(at[KIB(12)], 0xaa);
}
END_TEST

START_TEST(what_is_no_ram_of_the_configuration_is_not_discarded)
{
    const struct memory_range ranges[] = {
        {.size = MIB(4), .where = "a:1"},
        {.has_start = true, .start = 0xfffc0000, .size = KIB(256), .where = "a:2", .is_rom = true}};
    auto_memory struct memory *memory = make(ranges, 2);
    uint8_t *at = memory_span(memory, gpa(MIB(1)), MIB(3));
    uint8_t own[KIB(4)];

    ck_assert_int_eq(memory_discard(memory, at, 0), -EINVAL);
    ck_assert_int_eq(memory_discard(memory, at + 1, KIB(4)), -EINVAL);
    ck_assert_int_eq(memory_discard(memory, at, KIB(4) + 1), -EINVAL);
    ck_assert_int_eq(memory_discard(memory, at, MIB(3) + KIB(4)), -EINVAL);
    ck_assert_int_eq(memory_discard(memory, at, UINT64_MAX & ~(KIB(4) - 1)), -EINVAL);
    ck_assert_int_eq(memory_discard(memory, own, KIB(4)), -EINVAL);
    ck_assert_int_eq(memory_discard(memory, memory_span(memory, gpa(0xf0000), KIB(4)), KIB(4)),
                     -EINVAL);
    ck_assert_int_eq(
        memory_discard(memory, memory_rom_span(memory, gpa(0xfffc0000), KIB(4)), KIB(4)), -EINVAL);
    ck_assert_int_eq(memory_discard(memory, at, MIB(3)), 0);
}
END_TEST

UNIT_MAIN("memory_discard", discarded_pages_are_the_hosts_again_and_empty_when_they_are_touched,
          what_is_no_ram_of_the_configuration_is_not_discarded)
