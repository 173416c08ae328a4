/* Configuration space of a function of the host as a guest may see it.
 *
 * What a guest's registers do to the machine is the qvm's (pci/): where BARs are, interrupts, what
 * is decoded. Everything else of the device is the device's own. Between them stands this list:
 *
 *   identity, class, subsystem      as they are, for reading
 *   command                         the qvm's; Bus Master goes through (see function.c)
 *   status                          the qvm's, with what the device can, and without errors
 *   power management                the qvm's: the device stays in D0, and there is no PME#
 *   MSI, MSI-X                      the qvm's, at the device's places; MSI-X's table is where the
 *                                   device has it, with at most VFIO_VECTORS_MAX vectors
 *   PCI Express                     as an endpoint of a root complex, without the registers of a
 *                                   link that the guest does not have; its control is the qvm's,
 *                                   and it cannot be reset by it (the VM's reset does that)
 *   vendor's own                    the device's
 *   expansion ROM                   its place is the guest's, its bytes are the device's
 *   any other capability            not there
 *   registers that are in none      the device's
 *
 * Of the extended space of PCI Express there is what extended.h tells. */
#ifndef QVM_WORKER_VFIO_REGISTERS_H
#define QVM_WORKER_VFIO_REGISTERS_H

#include "qvm-worker/pci/function.h"
#include "qvm-worker/vfio/device.h"

/* Where in a function's BARs the qvm answers in place of the device. */
struct vfio_vectors {
    uint32_t table_bar, pending_bar;
    uint64_t table, pending; /* offsets, multiples of 8 */
    uint32_t hardware_count; /* entries of the device's table */
};

struct vfio_registers {
    struct pci_space space;
    struct pci_bar bars[PCI_BARS_AND_ROM];
    uint32_t msi_at, msix_at;         /* 0: none */
    uint32_t msi_count, vector_count; /* what the guest is told */
    struct vfio_vectors vectors;
    bool has_intx;
};

/* Ask the device. -ENODEV: it is a bridge, or gone; -EIO: it does not answer, or makes no sense. */
int vfio_registers_read(struct vfio_registers *registers, const struct vfio_device *device,
                        struct err *err);

#endif
