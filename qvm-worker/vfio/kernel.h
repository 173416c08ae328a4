/* VFIO (type 1) by descriptors that somebody opened: a container, a group, a device.
 *
 * Linux, Documentation/driver-api/vfio.rst. Whoever opened them has put the group into the
 * container and chosen its IOMMU; what is here makes the guest's RAM the device's memory, and does
 * what device.h wants. */
#ifndef QVM_WORKER_VFIO_KERNEL_H
#define QVM_WORKER_VFIO_KERNEL_H

#include "qvm-worker/vfio/device.h"

struct err;
struct memory;
struct vfio_kernel;

/* Let devices of the container reach all RAM, at its guest-physical addresses, and nothing else.
 * Allocates and pins it. -EPERM, -ENOMEM: this process may not lock so much; -EINVAL: the host's
 * IOMMU cannot have RAM there; in words. */
int vfio_kernel_map(int container_fd, const struct memory *memory, struct err *err);

/* Take `device_fd` over (also on failure). `group_fd` is borrowed until vfio_kernel_destroy. */
int vfio_kernel_create(int device_fd, int group_fd, struct vfio_kernel **kernel,
                       struct vfio_device *device, struct err *err);

/* Unmaps and closes. NULL is fine. */
void vfio_kernel_destroy(struct vfio_kernel *kernel);

/* Have event descriptors written to when the host wants the device back, and when it reports an
 * error that it could not mend. What the device does not have is not told. */
void vfio_kernel_hear(const struct vfio_kernel *kernel, int request_fd, int error_fd);

#endif
