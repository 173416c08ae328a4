/* What the kernel tells of VFIO, read without believing it: structures of which only so many bytes
 * are there, with capabilities behind them that lead to each other.
 *
 * Linux, include/uapi/linux/vfio.h. `told` is aligned as its structure, and `size` bytes long.
 * Nothing here calls the kernel. */
#ifndef QVM_WORKER_VFIO_TOLD_H
#define QVM_WORKER_VFIO_TOLD_H

#include "qvm-worker/vfio/device.h"

/* A struct vfio_region_info: what of it we use. An area that is not inside the region is left out,
 * and so is what is told behind the end of `told`: it is trapped. */
void vfio_told_region(const void *told, uint32_t size, struct vfio_region *region);

/* A struct vfio_iommu_type1_info: whether the IOMMU has all addresses from `start` to `start` +
 * `bytes` - 1. What does not say has them: it will say so when they are mapped. */
bool vfio_told_has_addresses(const void *told, uint32_t size, uint64_t start, uint64_t bytes);

/* Whether `size` bytes at `offset` are inside the region. */
bool vfio_told_is_inside(const struct vfio_region *region, uint64_t offset, uint64_t size);

#endif
