/* Device nodes of PCI functions: /dev/ttyS4 is one of a serial card. Who has the function has what
 * its nodes lead to, and the other way round. */
#ifndef QVM_DAEMON_HOST_PCI_NODE_H
#define QVM_DAEMON_HOST_PCI_NODE_H

#include "daemon/host/pci.h"

#define PCI_NODE_ID_SIZE   32
#define PCI_NODE_NAME_SIZE 64

struct pci_node {
    char bdf[PCI_BDF_SIZE];
    char id[PCI_NODE_ID_SIZE]; /* "char:4:68", "block:259:0": as a hand calls what it opened */
    char name[PCI_NODE_NAME_SIZE];
};

/* Each node that a function of this machine has now: those go that its driver leaves. A disk that
 * several controllers reach is told for each of them. `root` as in pci.h. */
typedef void pci_node_fn(void *data, const struct pci_node *node);
void pci_each_node(const char *root, pci_node_fn *fn, void *data);

#endif
