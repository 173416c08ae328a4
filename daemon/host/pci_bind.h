/* Functions go from the host's driver to VFIO's and back (sysfs, driver_override).
 *
 * Everything here may wait for the kernel, for a device or for whoever holds one: for hands alone.
 * `root` as of pci.h. Formats: the kernel's Documentation/ABI/testing/sysfs-bus-pci. */
#ifndef QVM_DAEMON_HOST_PCI_BIND_H
#define QVM_DAEMON_HOST_PCI_BIND_H

#include <stdbool.h>

#include "daemon/host/pci.h"

#define PCI_ANY_DRIVER "*" /* whichever the kernel chooses */

/* Where a function belongs when no guest has it. */
struct pci_home {
    char driver[PCI_DRIVER_SIZE];          /* empty: none; or PCI_ANY_DRIVER */
    char driver_override[PCI_DRIVER_SIZE]; /* what an operator had set; empty: nothing */
};

/* Be the only one who changes the function, until the descriptor is closed, however that comes:
 * who is killed while the kernel works for him keeps the lock until that is over. Waits.
 * -ENODEV: there is no such function. */
int pci_lock(const char *root, const char *bdf, int *fd, struct err *err);

/* Give it to VFIO. -ENOENT: that driver is not loaded; -EIO: it did not take it. */
int pci_bind_vfio(const char *root, const char *bdf, struct err *err);

/* What is set as its driver_override; empty: nothing. Of a function that is not VFIO's, and that
 * nobody has to bring home, it is an operator's. Waits until nobody changes its driver. */
void pci_read_override(const char *root, const char *bdf, char override[PCI_DRIVER_SIZE]);

/* Take it from VFIO and bring it home; what is there already stays, and so does a driver_override
 * that is not ours. What an operator had set is set again at last, so that its driver takes it. A
 * function that is gone is home. -EIO: its driver did not take it back. */
int pci_bind_home(const char *root, const char *bdf, const struct pci_home *home, struct err *err);

/* Is it VFIO's? */
bool pci_is_vfio(const char *root, const char *bdf);

/* Reset it, if the kernel knows a way; else 0 at once. Nobody may hold it: the kernel does not ask.
 * -EIO: it failed. */
int pci_reset(const char *root, const char *bdf, struct err *err);

#endif
