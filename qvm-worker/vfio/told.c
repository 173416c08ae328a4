/* What the kernel tells of VFIO. */
#include "qvm-worker/vfio/told.h"

#include <linux/vfio.h>
#include <string.h>

#define CAP_ALIGN 8u /* where the kernel puts each */

/* Where the first capability with that id is; 0: it is not there. The chain may lead back, or out.
 */
static uint32_t find_cap(const uint8_t *told, uint32_t size, uint32_t at, uint16_t id)
{
    struct vfio_info_cap_header cap;
    uint32_t last = 0;

    while (at > last && at % CAP_ALIGN == 0 && at <= size && size - at >= sizeof(cap)) {
        memcpy(&cap, told + at, sizeof(cap));
        if (cap.id == id) {
            return at;
        }
        last = at;
        at = cap.next;
    }
    return 0;
}

/* How many entries of that size there are behind a capability's head, of those it speaks of. */
static uint32_t count_entries(uint32_t size, uint32_t at, uint32_t entry_size, uint32_t told)
{
    uint32_t room = (size - at) / entry_size;

    return told < room ? told : room;
}

bool vfio_told_is_inside(const struct vfio_region *region, uint64_t offset, uint64_t size)
{
    return offset <= region->size && size <= region->size - offset;
}

static void add_area(struct vfio_region *region, uint64_t offset, uint64_t size)
{
    if (region->area_count < VFIO_AREAS_MAX && size != 0 &&
        vfio_told_is_inside(region, offset, size)) {
        region->areas[region->area_count++] = (struct vfio_area){offset, size};
    }
}

static void add_sparse(struct vfio_region *region, const uint8_t *told, uint32_t size, uint32_t at)
{
    struct vfio_region_info_cap_sparse_mmap sparse;
    struct vfio_region_sparse_mmap_area area;
    uint32_t count;

    if (size - at < sizeof(sparse)) {
        return; /* it is not told which: none */
    }
    memcpy(&sparse, told + at, sizeof(sparse));
    at += (uint32_t)sizeof(sparse);
    count = count_entries(size, at, sizeof(area), sparse.nr_areas);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&area, told + at + i * sizeof(area), sizeof(area));
        add_area(region, area.offset, area.size);
    }
}

void vfio_told_region(const void *told, uint32_t size, struct vfio_region *region)
{
    struct vfio_region_info info;
    uint32_t sparse = 0;

    *region = (struct vfio_region){0};
    if (size < sizeof(info)) {
        return;
    }
    memcpy(&info, told, sizeof(info));
    region->size = info.size;
    region->can_read = (info.flags & VFIO_REGION_INFO_FLAG_READ) != 0;
    region->can_write = (info.flags & VFIO_REGION_INFO_FLAG_WRITE) != 0;
    if ((info.flags & VFIO_REGION_INFO_FLAG_MMAP) == 0 || info.argsz > size) {
        return; /* more is to be known of it than there is room for */
    }
    if ((info.flags & VFIO_REGION_INFO_FLAG_CAPS) != 0) {
        sparse = find_cap(told, size, info.cap_offset, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
    }
    if (sparse == 0) {
        add_area(region, 0, info.size);
    } else {
        add_sparse(region, told, size, sparse);
    }
}

bool vfio_told_has_addresses(const void *told, uint32_t size, uint64_t start, uint64_t bytes)
{
    struct vfio_iommu_type1_info info;
    struct vfio_iommu_type1_info_cap_iova_range ranges;
    struct vfio_iova_range range;
    uint32_t at, count;

    if (size < sizeof(info)) {
        return true;
    }
    memcpy(&info, told, sizeof(info));
    if ((info.flags & VFIO_IOMMU_INFO_CAPS) == 0 || info.argsz > size) {
        return true;
    }
    at = find_cap(told, size, info.cap_offset, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
    if (at == 0 || size - at < sizeof(ranges)) {
        return true;
    }
    memcpy(&ranges, (const uint8_t *)told + at, sizeof(ranges));
    at += (uint32_t)sizeof(ranges);
    count = count_entries(size, at, sizeof(range), ranges.nr_iovas);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&range, (const uint8_t *)told + at + i * sizeof(range), sizeof(range));
        if (range.start <= start && range.end >= start && bytes - 1 <= range.end - start) {
            return true;
        }
    }
    return false;
}
