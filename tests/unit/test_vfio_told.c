/* What the kernel tells of VFIO, also if it lies. */
#include "qvm-worker/vfio/told.h"

#include <linux/vfio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "tests/unit/unit.h"

#define SIZE   256u
#define CAP_AT 64u

static _Alignas(8) uint8_t told[SIZE];
static struct vfio_region region;

static void put(uint32_t at, const void *bytes, size_t size)
{
    ck_assert_uint_le(at + size, SIZE);
    memcpy(told + at, bytes, size);
}

static void put_region(uint64_t size, uint32_t flags, uint32_t argsz)
{
    const struct vfio_region_info info = {
        .argsz = argsz, .flags = flags, .size = size, .cap_offset = CAP_AT};

    memset(told, 0, sizeof(told));
    put(0, &info, sizeof(info));
}

static void put_sparse(uint32_t at, uint32_t next, uint32_t count)
{
    const struct vfio_region_info_cap_sparse_mmap cap = {
        .header = {.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .version = 1, .next = next},
        .nr_areas = count};

    put(at, &cap, sizeof(cap));
}

static void put_area(uint32_t i, uint64_t offset, uint64_t size)
{
    const struct vfio_region_sparse_mmap_area area = {.offset = offset, .size = size};

    put(CAP_AT + (uint32_t)sizeof(struct vfio_region_info_cap_sparse_mmap) +
            i * (uint32_t)sizeof(area),
        &area, sizeof(area));
}

#define BOTH (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE)
#define MAP  (BOTH | VFIO_REGION_INFO_FLAG_MMAP)
#define CAPS (MAP | VFIO_REGION_INFO_FLAG_CAPS)

START_TEST(a_region_that_may_be_mapped_is_one_area)
{
    put_region(0x4000, MAP, SIZE);
    vfio_told_region(told, SIZE, &region);
    ck_assert_uint_eq(region.size, 0x4000);
    ck_assert(region.can_read && region.can_write);
    ck_assert_uint_eq(region.area_count, 1);
    ck_assert_uint_eq(region.areas[0].offset, 0);
    ck_assert_uint_eq(region.areas[0].size, 0x4000);
    put_region(0x4000, VFIO_REGION_INFO_FLAG_READ, SIZE);
    vfio_told_region(told, SIZE, &region);
    ck_assert(region.can_read && !region.can_write);
    ck_assert_uint_eq(region.area_count, 0);
}
END_TEST

START_TEST(of_one_with_holes_the_areas_that_are_told_are_mapped)
{
    put_region(0x4000, CAPS, SIZE);
    put_sparse(CAP_AT, 0, 2);
    put_area(0, 0, 0x1000);
    put_area(1, 0x2000, 0x2000);
    vfio_told_region(told, SIZE, &region);
    ck_assert_uint_eq(region.area_count, 2);
    ck_assert_uint_eq(region.areas[1].offset, 0x2000);
    ck_assert_uint_eq(region.areas[1].size, 0x2000);
}
END_TEST

START_TEST(areas_outside_of_the_region_are_not_mapped)
{
    put_region(0x4000, CAPS, SIZE);
    put_sparse(CAP_AT, 0, 4);
    put_area(0, 0x4000, 0x1000);
    put_area(1, 0x3000, 0x2000);
    put_area(2, UINT64_MAX - 0xfff, 0x2000);
    put_area(3, 0x1000, 0);
    vfio_told_region(told, SIZE, &region);
    ck_assert_uint_eq(region.area_count, 0);
}
END_TEST

START_TEST(more_areas_than_we_count_and_than_are_told_are_left_out)
{
    uint32_t room = (SIZE - CAP_AT - 16) / 16;

    ck_assert_uint_gt(room, VFIO_AREAS_MAX);
    put_region(0x100000, CAPS, SIZE);
    put_sparse(CAP_AT, 0, UINT32_MAX);
    for (uint32_t i = 0; i < room; i++) {
        put_area(i, i * 0x1000, 0x1000);
    }
    vfio_told_region(told, SIZE, &region);
    ck_assert_uint_eq(region.area_count, VFIO_AREAS_MAX);
    vfio_told_region(told, CAP_AT + 16 + 3 * 16 + 15, &region);
    ck_assert_uint_eq(region.area_count, 0); /* it says itself that it is longer */
    put_region(0x100000, CAPS, CAP_AT);
    put_sparse(CAP_AT, 0, UINT32_MAX);
    put_area(0, 0, 0x1000);
    put_area(1, 0x1000, 0x1000);
    vfio_told_region(told, CAP_AT + 16 + 2 * 16 + 15, &region);
    ck_assert_uint_eq(region.area_count, 2);
    vfio_told_region(told, CAP_AT + 8, &region);
    ck_assert_uint_eq(region.area_count, 0);
}
END_TEST

START_TEST(a_chain_that_leads_back_or_out_ends)
{
    static const uint32_t nexts[] = {CAP_AT, 8, 0, CAP_AT + 4, SIZE - 4, SIZE, UINT32_MAX & ~7u};
    const struct vfio_info_cap_header other = {.id = VFIO_REGION_INFO_CAP_TYPE, .version = 1};

    for (uint32_t i = 0; i < ARRAY_LEN(nexts); i++) {
        struct vfio_info_cap_header cap = other;

        put_region(0x4000, CAPS, SIZE);
        cap.next = nexts[i];
        put(CAP_AT, &cap, sizeof(cap));
        vfio_told_region(told, SIZE, &region);
        ck_assert_uint_eq(region.area_count, 1); /* as if it had none */
    }
    put_region(0x4000, CAPS, SIZE);
    {
        struct vfio_info_cap_header cap = other;

        cap.next = CAP_AT + 16;
        put(CAP_AT, &cap, sizeof(cap));
    }
    put_sparse(CAP_AT + 16, 0, 0);
    vfio_told_region(told, SIZE, &region);
    ck_assert_uint_eq(region.area_count, 0); /* found: and none is in it */
}
END_TEST

START_TEST(what_is_too_short_tells_nothing)
{
    put_region(0x4000, MAP, SIZE);
    vfio_told_region(told, sizeof(struct vfio_region_info) - 1, &region);
    ck_assert_uint_eq(region.size, 0);
    ck_assert_uint_eq(region.area_count, 0);
}
END_TEST

START_TEST(an_access_is_inside_up_to_the_last_byte)
{
    region = (struct vfio_region){.size = 256};
    ck_assert(vfio_told_is_inside(&region, 252, 4));
    ck_assert(vfio_told_is_inside(&region, 256, 0));
    ck_assert(!vfio_told_is_inside(&region, 253, 4));
    ck_assert(!vfio_told_is_inside(&region, 257, 0));
    ck_assert(!vfio_told_is_inside(&region, UINT64_MAX, 4));
    ck_assert(!vfio_told_is_inside(&region, 4, UINT64_MAX));
}
END_TEST

static void put_iommu(uint32_t flags, uint32_t count)
{
    const struct vfio_iommu_type1_info info = {.argsz = SIZE, .flags = flags, .cap_offset = CAP_AT};
    const struct vfio_iommu_type1_info_cap_iova_range cap = {
        .header = {.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, .version = 1}, .nr_iovas = count};
    const struct vfio_iova_range ranges[] = {{0, 0xfedfffff}, {0xfef00000, UINT64_MAX}};

    memset(told, 0, sizeof(told));
    put(0, &info, sizeof(info));
    put(CAP_AT, &cap, sizeof(cap));
    put(CAP_AT + sizeof(cap), ranges, sizeof(ranges));
}

START_TEST(ram_is_where_the_iommu_has_addresses)
{
    put_iommu(VFIO_IOMMU_INFO_CAPS, 2);
    ck_assert(vfio_told_has_addresses(told, SIZE, 0, 0xfee00000));
    ck_assert(!vfio_told_has_addresses(told, SIZE, 0, 0xfee00001));
    ck_assert(!vfio_told_has_addresses(told, SIZE, 0xfee00000, 0x1000));
    ck_assert(vfio_told_has_addresses(told, SIZE, 0x100000000, 0x100000000));
    ck_assert(vfio_told_has_addresses(told, SIZE, 0xfffffffffffff000, 0x1000));
    ck_assert(!vfio_told_has_addresses(told, SIZE, 0xfffffffffffff000, 0x1001));
    put_iommu(VFIO_IOMMU_INFO_CAPS, 1);
    ck_assert(!vfio_told_has_addresses(told, SIZE, 0x100000000, 0x1000));
}
END_TEST

START_TEST(an_iommu_that_does_not_say_is_tried)
{
    put_iommu(0, 2);
    ck_assert(vfio_told_has_addresses(told, SIZE, 0xfee00000, 0x1000));
    put_iommu(VFIO_IOMMU_INFO_CAPS, 2);
    told[CAP_AT] = 0xee; /* another capability */
    ck_assert(vfio_told_has_addresses(told, SIZE, 0xfee00000, 0x1000));
    put_iommu(VFIO_IOMMU_INFO_CAPS, 2);
    ck_assert(vfio_told_has_addresses(told, SIZE - 1, 0xfee00000, 0x1000));
    ck_assert(vfio_told_has_addresses(told, 3, 0xfee00000, 0x1000));
}
END_TEST

START_TEST(ranges_that_are_not_told_are_not_there)
{
    put_iommu(VFIO_IOMMU_INFO_CAPS, UINT32_MAX);
    ck_assert(vfio_told_has_addresses(told, SIZE, 0xfef00000, 0x1000));
    ck_assert(!vfio_told_has_addresses(told, SIZE, 0xfee00000, 0x1000));
}
END_TEST

UNIT_MAIN("vfio_told", a_region_that_may_be_mapped_is_one_area,
          of_one_with_holes_the_areas_that_are_told_are_mapped,
          areas_outside_of_the_region_are_not_mapped,
          more_areas_than_we_count_and_than_are_told_are_left_out,
          a_chain_that_leads_back_or_out_ends, what_is_too_short_tells_nothing,
          an_access_is_inside_up_to_the_last_byte, ram_is_where_the_iommu_has_addresses,
          an_iommu_that_does_not_say_is_tried, ranges_that_are_not_told_are_not_there)
