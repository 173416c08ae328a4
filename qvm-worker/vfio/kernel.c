/* VFIO (type 1) by descriptors that somebody opened. */
#include "qvm-worker/vfio/kernel.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/vfio/told.h"

#define REGIONS    8u    /* of device.h */
#define INFO_MAX   4096u /* bytes of what the kernel tells of one region */
#define MAPS_MAX   64u
#define RANGES_MAX 4096u /* bytes of what it tells of the IOMMU */

struct vfio_kernel {
    int fd, group_fd;
    bool can_reset;
    uint64_t offsets[REGIONS]; /* in the descriptor */
    struct vfio_region regions[REGIONS];
    uint32_t map_count;
    struct {
        void *address;
        size_t size;
    } maps[MAPS_MAX];
};

/* ---- RAM ---- */

/* Whether the IOMMU has all those addresses. */
static bool is_possible(int container_fd, uint64_t start, uint64_t size)
{
    union {
        struct vfio_iommu_type1_info info;
        uint8_t bytes[RANGES_MAX];
    } told = {.info = {.argsz = sizeof(told)}};

    return ioctl(container_fd, VFIO_IOMMU_GET_INFO, &told.info) != 0 ||
           vfio_told_has_addresses(&told, sizeof(told), start, size);
}

static int map_range(int container_fd, uint8_t *host, uint64_t start, uint64_t size,
                     struct err *err)
{
    struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
                                           .flags =
                                               VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                           .vaddr = (uintptr_t)host,
                                           .iova = start,
                                           .size = size};

    if (!is_possible(container_fd, start, size)) {
        return err_set(err, -EINVAL,
                       "the host's IOMMU cannot have RAM at 0x%llx-0x%llx: move it with 'ram "
                       "START,LENGTH'",
                       (unsigned long long)start, (unsigned long long)(start + size - 1));
    }
    if (ioctl(container_fd, VFIO_IOMMU_MAP_DMA, &map) == 0) {
        return 0;
    }
    if (errno == ENOMEM || errno == EPERM) {
        return err_set(err, -errno,
                       "%llu MiB of RAM cannot be locked for a device: the limit of locked memory "
                       "(RLIMIT_MEMLOCK), the control group's, or the host has too little",
                       (unsigned long long)(size >> 20));
    }
    return err_sys(err, -errno, "the device cannot be given RAM at 0x%llx",
                   (unsigned long long)start);
}

int vfio_kernel_map(int container_fd, const struct memory *memory, struct err *err)
{
    uint32_t count = 0, i = 0;
    const struct memory_region *regions = memory_regions(memory, &count);
    int r = 0;

    while (r == 0 && i < count) {
        const struct memory_region *first = &regions[i++];
        uint64_t size = first->size;

        if (!first->is_ram) {
            continue;
        }
        while (i < count && regions[i].is_ram && regions[i].start == first->start + size &&
               regions[i].host == first->host + size) {
            size += regions[i++].size;
        }
        r = map_range(container_fd, first->host, first->start, size, err);
    }
    return r;
}

/* ---- the device ---- */

static int on_region(void *device, uint32_t index, struct vfio_region *region, struct err *err)
{
    struct vfio_kernel *kernel = device;
    union {
        struct vfio_region_info info;
        uint8_t bytes[INFO_MAX];
    } told = {.info = {.argsz = sizeof(told), .index = index}};

    *region = (struct vfio_region){0};
    if (index >= REGIONS) {
        return 0;
    }
    if (ioctl(kernel->fd, VFIO_DEVICE_GET_REGION_INFO, &told.info) != 0) {
        return err_sys(err, -errno, "the kernel does not tell its region %u", index);
    }
    vfio_told_region(&told, sizeof(told), region);
    kernel->offsets[index] = told.info.offset;
    kernel->regions[index] = *region;
    return 0;
}

static const uint32_t kinds[] = {[VFIO_INTX] = VFIO_PCI_INTX_IRQ_INDEX,
                                 [VFIO_MSI] = VFIO_PCI_MSI_IRQ_INDEX,
                                 [VFIO_MSIX] = VFIO_PCI_MSIX_IRQ_INDEX};

static uint32_t on_interrupt_count(void *device, enum vfio_interrupt kind)
{
    const struct vfio_kernel *kernel = device;
    struct vfio_irq_info info = {.argsz = sizeof(info), .index = kinds[kind]};

    return ioctl(kernel->fd, VFIO_DEVICE_GET_IRQ_INFO, &info) == 0 &&
                   (info.flags & VFIO_IRQ_INFO_EVENTFD) != 0
               ? info.count
               : 0;
}

/* What was told once of a region is what may be reached of it. */
static bool is_there(const struct vfio_kernel *kernel, uint32_t region, uint64_t offset,
                     uint64_t size)
{
    return region < REGIONS && vfio_told_is_inside(&kernel->regions[region], offset, size);
}

static int on_read(void *device, uint32_t region, uint64_t offset, void *data, uint32_t size)
{
    const struct vfio_kernel *kernel = device;
    ssize_t r = -1;

    if (!is_there(kernel, region, offset, size)) {
        return -EINVAL;
    }
    r = pread(kernel->fd, data, size, (off_t)(kernel->offsets[region] + offset));
    return r == (ssize_t)size ? 0 : r < 0 ? -errno : -EIO;
}

static int on_write(void *device, uint32_t region, uint64_t offset, const void *data, uint32_t size)
{
    const struct vfio_kernel *kernel = device;
    ssize_t r = -1;

    if (!is_there(kernel, region, offset, size)) {
        return -EINVAL;
    }
    r = pwrite(kernel->fd, data, size, (off_t)(kernel->offsets[region] + offset));
    return r == (ssize_t)size ? 0 : r < 0 ? -errno : -EIO;
}

/* `fds` NULL: nothing, as the kernel calls it. */
static int set_events(const struct vfio_kernel *kernel, uint32_t index, uint32_t action,
                      const int *fds, uint32_t count)
{
    union {
        struct vfio_irq_set set;
        uint8_t bytes[sizeof(struct vfio_irq_set) + VFIO_VECTORS_MAX * sizeof(int)];
    } set = {.set = {.argsz = sizeof(struct vfio_irq_set),
                     .flags = VFIO_IRQ_SET_DATA_NONE | action,
                     .index = index,
                     .count = count}};

    if (fds != NULL) {
        set.set.argsz += count * (uint32_t)sizeof(int);
        set.set.flags = VFIO_IRQ_SET_DATA_EVENTFD | action;
        memcpy(set.bytes + sizeof(set.set), fds, count * sizeof(int));
    }
    return ioctl(kernel->fd, VFIO_DEVICE_SET_IRQS, &set) == 0 ? 0 : -errno;
}

static int on_interrupts(void *device, enum vfio_interrupt kind, const int *fds, uint32_t count,
                         int resample_fd)
{
    const struct vfio_kernel *kernel = device;
    int r;

    if (count > VFIO_VECTORS_MAX) {
        return -EINVAL;
    }
    r = set_events(kernel, kinds[kind], VFIO_IRQ_SET_ACTION_TRIGGER, fds, count);
    if (r == 0 && resample_fd >= 0) {
        r = set_events(kernel, kinds[kind], VFIO_IRQ_SET_ACTION_UNMASK, &resample_fd, 1);
    }
    return r;
}

static void *on_map(void *device, uint32_t region, const struct vfio_area *area)
{
    struct vfio_kernel *kernel = device;
    void *address;

    if (kernel->map_count == MAPS_MAX || !is_there(kernel, region, area->offset, area->size)) {
        return NULL;
    }
    address = mmap(NULL, area->size, PROT_READ | PROT_WRITE, MAP_SHARED, kernel->fd,
                   (off_t)(kernel->offsets[region] + area->offset));
    if (address == MAP_FAILED) {
        return NULL;
    }
    kernel->maps[kernel->map_count].address = address;
    kernel->maps[kernel->map_count++].size = area->size;
    return address;
}

/* A reset of the slot or bus, where the function has none of its own: all it touches must be in our
 * group. */
static int reset_hot(const struct vfio_kernel *kernel)
{
    union {
        struct vfio_pci_hot_reset reset;
        uint8_t bytes[sizeof(struct vfio_pci_hot_reset) + sizeof(int)];
    } hot = {.reset = {.argsz = sizeof(hot), .count = 1}};

    memcpy(hot.bytes + sizeof(hot.reset), &kernel->group_fd, sizeof(int));
    return ioctl(kernel->fd, VFIO_DEVICE_PCI_HOT_RESET, &hot) == 0 ? 0 : -errno;
}

static int on_reset(void *device, struct err *err)
{
    const struct vfio_kernel *kernel = device;
    int r = kernel->can_reset ? ioctl(kernel->fd, VFIO_DEVICE_RESET) : reset_hot(kernel);

    if (kernel->can_reset && r != 0) {
        r = -errno;
    }
    return r == 0 ? 0 : err_sys(err, r, "it cannot be reset");
}

void vfio_kernel_hear(const struct vfio_kernel *kernel, int request_fd, int error_fd)
{
    (void)set_events(kernel, VFIO_PCI_REQ_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, &request_fd, 1);
    (void)set_events(kernel, VFIO_PCI_ERR_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, &error_fd, 1);
}

int vfio_kernel_create(int device_fd, int group_fd, struct vfio_kernel **kernel,
                       struct vfio_device *device, struct err *err)
{
    static const struct vfio_ops ops = {.region = on_region,
                                        .interrupt_count = on_interrupt_count,
                                        .read = on_read,
                                        .write = on_write,
                                        .interrupts = on_interrupts,
                                        .map = on_map,
                                        .reset = on_reset};
    struct vfio_device_info info = {.argsz = sizeof(info)};
    struct vfio_kernel *new = calloc(1, sizeof(*new));
    struct vfio_region region;

    if (new == NULL) {
        cleanup_close(&device_fd);
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->fd = device_fd;
    new->group_fd = group_fd;
    if (ioctl(device_fd, VFIO_DEVICE_GET_INFO, &info) != 0 ||
        (info.flags & VFIO_DEVICE_FLAGS_PCI) == 0 ||
        on_region(new, VFIO_REGION_CONFIG, &region, err) != 0) {
        vfio_kernel_destroy(new);
        return err_set(err, -ENODEV, "what was granted is no PCI function of VFIO");
    }
    new->can_reset = (info.flags & VFIO_DEVICE_FLAGS_RESET) != 0;
    *kernel = new;
    *device = (struct vfio_device){.ops = &ops, .context = new};
    return 0;
}

void vfio_kernel_destroy(struct vfio_kernel *kernel)
{
    if (kernel != NULL) {
        for (uint32_t i = 0; i < kernel->map_count; i++) {
            (void)munmap(kernel->maps[i].address, kernel->maps[i].size); /* it is ours */
        }
        cleanup_close(&kernel->fd);
        free(kernel);
    }
}
