/* Between the parts of pci_read_use(): for pci_use*.c alone. */
#ifndef QVM_DAEMON_HOST_PCI_USE_H
#define QVM_DAEMON_HOST_PCI_USE_H

#include <stdbool.h>
#include <stdio.h>

#include "daemon/host/pci.h"

#define PCI_USE_DEPTH 8 /* volumes on encryption on md on partitions ... */

struct pci_search {
    const char *root;
    struct pci_table *table;
    bool *has_interface; /* of each function: one that we see */
};

/* What the host does with something, as its verb says it, and how that ends. */
struct pci_use {
    const char *how;
    const char *cure; /* of static storage */
};

/* The first use that is found is the one that is told. */
__attribute__((format(printf, 3, 4))) void pci_use_set(struct pci_function *function,
                                                       const char *cure, const char *format, ...);

/* The function that the path `target` leads to, or NULL. */
struct pci_function *pci_use_function(const struct pci_search *search, const char *target);

/* Where the link DIRECTORY/NAME leads; empty: nowhere. `target` has PATH_MAX bytes. */
void pci_use_link(const struct pci_search *search, const char *directory, const char *name,
                  char *target);

/* A file of /proc/PID as the first process of the machine has it, or as we do: we may live in
 * namespaces of our own. NULL: there is none. */
FILE *pci_use_text(const char *root, const char *name);
void pci_use_text_end(FILE **text);
#define auto_use_text __attribute__((cleanup(pci_use_text_end)))

void pci_use_networks(const struct pci_search *search);

/* A mounted file system of that type and source: perhaps a folder behind a virtio function. */
void pci_use_share(const struct pci_search *search, const char *type, const char *tag,
                   const struct pci_use *use);

#endif
