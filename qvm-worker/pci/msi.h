/* MSI of one function: its capability, which says of all messages at once where they go.
 *
 * PCI Local Bus Specification 3.0, 6.8.1. The address has 64 bits, or 32 in a capability that is
 * made after one that exists; there may be a mask and a pending bit for each message. A guest may
 * allow fewer messages than the device has: then several of the device's are one of the guest's. */
#ifndef QVM_WORKER_PCI_MSI_H
#define QVM_WORKER_PCI_MSI_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/pci/message.h"

#define PCI_MSI_MESSAGES_MAX 32u /* 6.8.1.3 */

/* Offsets in the capability; without the upper half of the address what follows it is nearer. */
#define PCI_MSI_CONTROL      2u
#define PCI_MSI_ADDRESS      4u
#define PCI_MSI_ADDRESS_HIGH 8u
#define PCI_MSI_DATA         12u
#define PCI_MSI_MASK         16u
#define PCI_MSI_PENDING      20u
#define PCI_MSI_END          24u /* with masks; otherwise it ends behind the data */

#define PCI_MSI_CONTROL_ENABLE 0x0001u
#define PCI_MSI_CONTROL_64BIT  0x0080u
#define PCI_MSI_CONTROL_MASKS  0x0100u

struct pci_space;

/* What one with that control word has: where the pending bits are, how long it is, which bits a
 * guest may write, for `count` messages. */
uint32_t pci_msi_pending_at(uint32_t control);
uint32_t pci_msi_size(uint32_t control);
void pci_msi_allow(struct pci_space *space, uint32_t at, uint32_t control, uint32_t count);

/* Link the capability for `count` messages, a power of two. Returns its place, or -ENOSPC. */
int pci_msi_add(struct pci_space *space, uint32_t count, bool has_masks);

/* The capability at `at` was written. `is_usual` false: MSI-X has the messages. */
void pci_msi_written(struct pci_messages *messages, const struct pci_space *space, uint32_t at,
                     bool is_usual);

/* The pending bits, as the capability shows them. */
uint32_t pci_msi_pending(struct pci_messages *messages, const struct pci_space *space, uint32_t at);

#endif
