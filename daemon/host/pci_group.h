/* What goes together: the functions of an IOMMU group.
 *
 * Nothing here waits: no configuration space is read, no device is woken up, and no attribute is
 * read that waits for a change of drivers. `root` as of pci.h. */
#ifndef QVM_DAEMON_HOST_PCI_GROUP_H
#define QVM_DAEMON_HOST_PCI_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/host/pci.h"
#include "daemon/host/pci_bind.h"

#define PCI_GROUP_MAX 64 /* functions of one group */

struct pci_member {
    char bdf[PCI_BDF_SIZE];
    uint16_t vendor, device;
    struct pci_home home; /* its driver now */
};

/* The functions of the IOMMU group of `bdf`, itself among them, without bridges, by name. -ENODEV:
 * it does not exist; -EINVAL: it is a bridge; -EOPNOTSUPP: it is in no group; -E2BIG: more than
 * PCI_GROUP_MAX. */
int pci_group_read(const char *root, const char *bdf, struct pci_member members[PCI_GROUP_MAX],
                   size_t *count, int *group, struct err *err);

/* The number of its IOMMU group; -1: it is in none. */
int pci_group_number(const char *root, const char *bdf);

#endif
