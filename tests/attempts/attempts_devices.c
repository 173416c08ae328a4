/* Attempts at devices of the host, by VFIO: on every descriptor that may be a container or a group.
 * What a device's descriptor could do is tried on none, since a qvm without a device has none. */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/attempts/attempts.h"

#define DESCRIPTORS 256
#define MISC_MAJOR  10
#define KVM_MINOR   232

static char page[4096] __attribute__((aligned(4096)));

/* A container is a character device, and so is a group; KVM's would be waited for. */
static int is_candidate(int fd)
{
    struct stat st;

    return attempt_call(SYS_fstat, (long)fd, &st) == 0 && S_ISCHR(st.st_mode) &&
           (major(st.st_rdev) != MISC_MAJOR || minor(st.st_rdev) != KVM_MINOR);
}

/* The first that is possible counts, else the last refusal. The number alone ends who may not. */
static long try_all(unsigned long request, const void *argument)
{
    long r = attempt_call(SYS_ioctl, -1L, request, argument);

    for (int fd = 0; r < 0 && fd < DESCRIPTORS; fd++) {
        if (is_candidate(fd)) {
            r = attempt_call(SYS_ioctl, (long)fd, request, argument);
        }
    }
    return r;
}

long attempt_map_memory_for_devices(const struct attempt_target *target)
{
    const struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
                                                 .flags = VFIO_DMA_MAP_FLAG_READ,
                                                 .vaddr = (unsigned long)page,
                                                 .iova = 1ull << 39,
                                                 .size = sizeof(page)};

    (void)target;
    return try_all(VFIO_IOMMU_MAP_DMA, &map);
}

long attempt_take_memory_from_devices(const struct attempt_target *target)
{
    const struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof(unmap), .size = sizeof(page)};

    (void)target;
    return try_all(VFIO_IOMMU_UNMAP_DMA, &unmap);
}

long attempt_take_a_device_of_a_group(const struct attempt_target *target)
{
    (void)target;
    return try_all(VFIO_GROUP_GET_DEVICE_FD, "0000:00:03.0");
}

long attempt_put_a_group_elsewhere(const struct attempt_target *target)
{
    (void)target;
    return try_all(VFIO_GROUP_UNSET_CONTAINER, NULL);
}

long attempt_have_a_device_interrupt(const struct attempt_target *target)
{
    const struct vfio_irq_set set = {.argsz = sizeof(set),
                                     .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
                                     .index = VFIO_PCI_MSIX_IRQ_INDEX};

    (void)target;
    return try_all(VFIO_DEVICE_SET_IRQS, &set);
}

long attempt_reset_a_device(const struct attempt_target *target)
{
    (void)target;
    return try_all(VFIO_DEVICE_RESET, NULL);
}
