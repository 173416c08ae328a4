/* Opening what VFIO has: a container, IOMMU groups in it, functions of these. Type 1 v2, without
 * any mapping.
 *
 * Opening a device resets it, which takes a tenth of a second: for hands alone. */
#ifndef QVM_DAEMON_HOST_VFIO_H
#define QVM_DAEMON_HOST_VFIO_H

#include <stdbool.h>

struct err;

/* -ENOENT: the kernel has no VFIO loaded. */
int vfio_open_container(int *fd, struct err *err);

/* -EBUSY: somebody holds it; -ENOENT: there is none of that number. */
int vfio_open_group(int number, int *fd, struct err *err);

/* Put a group into the container; the first one decides what its IOMMU is. -EPERM: a function of
 * the group has a driver of the host's. */
int vfio_join(int container_fd, int group_fd, bool is_first, struct err *err);

int vfio_open_device(int group_fd, const char *bdf, int *fd, struct err *err);

#endif
