/* The extended configuration space of a function of the host as a guest may see it.
 *
 * PCI Express Base Specification 2.1, 7.9.1: bytes 0x100 to 0xFFF, a list of capabilities that
 * begins at 0x100. Of these a guest has
 *
 *   device serial number            as it is
 *   vendor's own, also designated   the device's, behind the header
 *
 * at the device's places, linked anew. All others are not there, and neither are bytes that belong
 * to none: what makes functions (SR-IOV, ARI), translates addresses (ATS, PRI, PASID), moves BARs
 * (resizable ones) or concerns a link and a root port that the guest has not (AER, ACS, VC, LTR,
 * TPH, MFVC and so on) is the host's. */
#ifndef QVM_WORKER_VFIO_EXTENDED_H
#define QVM_WORKER_VFIO_EXTENDED_H

#include "qvm-worker/vfio/device.h"

#define VFIO_EXTENDED_START 0x100u
#define VFIO_EXTENDED_END   0x1000u

struct err;

struct vfio_extended {
    uint8_t bytes[VFIO_EXTENDED_END];   /* what we answer */
    bool is_outside[VFIO_EXTENDED_END]; /* the device answers instead */
};

/* Ask the device; one that has no such space has no capabilities. -EIO and others: it does not
 * answer. */
int vfio_extended_init(struct vfio_extended *extended, const struct vfio_device *device,
                       struct err *err);

/* A guest's access, `at` from VFIO_EXTENDED_START on, not over a border of four. A write may be
 * refused by the device: a negative errno. */
uint32_t vfio_extended_read(const struct vfio_extended *extended, const struct vfio_device *device,
                            uint32_t at, uint32_t size);
int vfio_extended_write(const struct vfio_extended *extended, const struct vfio_device *device,
                        uint32_t at, uint32_t size, uint32_t value);

#endif
