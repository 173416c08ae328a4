/* MSI-X of one function: its capability, and the table of messages that a BAR shows.
 *
 * PCI Local Bus Specification 3.0, 6.8.2. Table and pending bits have a page to themselves, which a
 * BAR of their own shows: the table from its start, the pending bits from PCI_MSIX_PENDING on. */
#ifndef QVM_WORKER_PCI_MSIX_H
#define QVM_WORKER_PCI_MSIX_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/pci/message.h"

#define PCI_MSIX_BAR_SIZE 4096u
#define PCI_MSIX_PENDING  0x800u /* offset in the BAR */

#define PCI_MSIX_CONTROL        2u      /* offset in the capability */
#define PCI_MSIX_CONTROL_MASK   0x4000u /* of the whole function */
#define PCI_MSIX_CONTROL_ENABLE 0x8000u

struct pci_space;

/* Link the capability for `count` vectors whose table is in `bar`. Returns its place, or -ENOSPC.
 */
int pci_msix_add(struct pci_space *space, uint32_t count, uint32_t bar);

/* Message control was written. */
void pci_msix_control(struct pci_messages *messages, uint32_t control);

/* An access to the table, or to the pending bits, from the start of each: as bus_access_fn's. */
void pci_msix_table(struct pci_messages *messages, uint64_t offset, uint32_t size, uint64_t *value,
                    bool is_write);
void pci_msix_pending(struct pci_messages *messages, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write);

/* An access to the BAR. */
void pci_msix_access(struct pci_messages *messages, uint64_t offset, uint32_t size, uint64_t *value,
                     bool is_write);

#endif
