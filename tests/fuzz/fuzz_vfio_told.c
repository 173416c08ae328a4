/* What the kernel tells of VFIO may be anything: what comes of it lies inside the region. */
#include <stdlib.h>
#include <string.h>

#include "qvm-worker/vfio/told.h"
#include "tests/fuzz/fuzz.h"

static void check_region(const void *told, uint32_t size)
{
    struct vfio_region region;

    vfio_told_region(told, size, &region);
    if (region.area_count > VFIO_AREAS_MAX) {
        abort();
    }
    for (uint32_t i = 0; i < region.area_count; i++) {
        const struct vfio_area *area = &region.areas[i];

        if (area->size == 0 || area->offset > region.size ||
            area->size > region.size - area->offset) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1); /* what is read behind it is seen */
    uint64_t start = 0;

    if (copy == NULL) {
        abort();
    }
    memcpy(copy, data, size);
    memcpy(&start, data, size < sizeof(start) ? size : sizeof(start));
    check_region(copy, (uint32_t)size);
    (void)vfio_told_has_addresses(copy, (uint32_t)size, start, 0x1000);
    free(copy);
    return 0;
}
