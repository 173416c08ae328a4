#include "daemon/host/vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define CONTAINER "/dev/vfio/vfio"
#define GROUP     "/dev/vfio/%d"

int vfio_open_container(int *fd, struct err *err)
{
    auto_close int opened = open(CONTAINER, O_RDWR | O_CLOEXEC);

    if (opened < 0) {
        return errno == ENOENT || errno == ENODEV
                   ? err_set(err, -ENOENT, "the kernel has no VFIO: load it ('modprobe vfio-pci')")
                   : err_sys(err, -errno, "cannot open " CONTAINER);
    }
    if (ioctl(opened, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
        ioctl(opened, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1) {
        return err_set(err, -ENOENT,
                       "this kernel's VFIO does not know type 1 v2 ('modprobe vfio_iommu_type1')");
    }
    *fd = take_fd(&opened);
    return 0;
}

int vfio_open_group(int number, int *fd, struct err *err)
{
    char path[32];

    (void)snprintf(path, sizeof(path), GROUP, number);
    *fd = open(path, O_RDWR | O_CLOEXEC);
    if (*fd < 0) {
        return errno == EBUSY
                   ? err_set(err, -EBUSY, "IOMMU group %d is in use by another program", number)
                   : err_sys(err, -errno, "cannot open IOMMU group %d", number);
    }
    return 0;
}

int vfio_join(int container_fd, int group_fd, bool is_first, struct err *err)
{
    struct vfio_group_status status = {.argsz = sizeof(status)};

    if (ioctl(group_fd, VFIO_GROUP_GET_STATUS, &status) < 0) {
        return err_sys(err, -errno, "cannot look at an IOMMU group");
    }
    if ((status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) {
        return err_set(err, -EPERM, "another function of its IOMMU group has a driver of the host");
    }
    if (ioctl(group_fd, VFIO_GROUP_SET_CONTAINER, &container_fd) < 0) {
        return err_sys(err, -errno, "cannot use an IOMMU group");
    }
    if (is_first && ioctl(container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0) {
        return err_sys(err, -errno, "cannot use the IOMMU");
    }
    return 0;
}

int vfio_open_device(int group_fd, const char *bdf, int *fd, struct err *err)
{
    *fd = ioctl(group_fd, VFIO_GROUP_GET_DEVICE_FD, bdf);
    if (*fd < 0) {
        return err_sys(err, -errno, "cannot open '%s'", bdf);
    }
    return 0; /* the kernel has set FD_CLOEXEC */
}
