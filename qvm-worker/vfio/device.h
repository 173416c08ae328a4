/* What the kernel does for us with one PCI function of the host that VFIO has given out.
 *
 * Linux, Documentation/driver-api/vfio.rst, include/uapi/linux/vfio.h. A table of operations, so
 * that all above it runs on a device that is none (tests). Regions are numbered as VFIO numbers
 * them: BARs 0 to 5, the expansion ROM, configuration space.
 *
 * Threads: `read`, `write` and `interrupts` come on any thread, the others on the control thread
 * with no vCPU running. Nothing here opens anything: descriptors came by a grant. */
#ifndef QVM_WORKER_VFIO_DEVICE_H
#define QVM_WORKER_VFIO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define VFIO_BARS          6u
#define VFIO_REGION_ROM    6u
#define VFIO_REGION_CONFIG 7u
#define VFIO_AREAS_MAX     8u   /* of one region that may be mapped */
#define VFIO_VECTORS_MAX   256u /* of one function that we use: PCI_MESSAGES_MAX */

struct vfio_area {
    uint64_t offset, size; /* bytes, in the region */
};

struct vfio_region {
    uint64_t size; /* 0: there is none */
    bool can_read, can_write;
    uint32_t area_count; /* what may be mapped */
    struct vfio_area areas[VFIO_AREAS_MAX];
};

/* How a function says that it wants service: one of these at a time. */
enum vfio_interrupt { VFIO_INTX, VFIO_MSI, VFIO_MSIX };
#define VFIO_INTERRUPT_COUNT 3u

struct vfio_ops {
    int (*region)(void *device, uint32_t index, struct vfio_region *region, struct err *err);

    /* How many the function has of that kind; 0: none. */
    uint32_t (*interrupt_count)(void *device, enum vfio_interrupt kind);

    /* Bytes of a region: 0, or a negative errno. */
    int (*read)(void *device, uint32_t region, uint64_t offset, void *data, uint32_t size);
    int (*write)(void *device, uint32_t region, uint64_t offset, const void *data, uint32_t size);

    /* Have number i of that kind written to the event descriptor fds[i]. INTX: `resample_fd`, when
     * it is written to, allows the next one; otherwise it is -1. Count 0: nothing is written to any
     * more. */
    int (*interrupts)(void *device, enum vfio_interrupt kind, const int *fds, uint32_t count,
                      int resample_fd);

    /* Map an area of a region into this process; NULL: it cannot be. As long as the device. */
    void *(*map)(void *device, uint32_t region, const struct vfio_area *area);

    /* As at power-on, with its registers of configuration as they were before. */
    int (*reset)(void *device, struct err *err);
};

struct vfio_device {
    const struct vfio_ops *ops;
    void *context;
};

#endif
