/* The configuration space of one PCI function: its bytes, and what a guest may do to each bit.
 *
 * PCI Local Bus Specification 3.0, chapter 6. A function here has the 256 bytes of that: behind
 * them, in the extended space of PCI Express, it has no capabilities and reads zeroes, unless it is
 * one that brings them along (function.h). */
#ifndef QVM_WORKER_PCI_SPACE_H
#define QVM_WORKER_PCI_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_SPACE_SIZE    256u
#define PCI_EXTENDED_SIZE 4096u /* with that of PCI Express: its Base Specification 2.1, 7.9 */

/* Registers of every function: 6.1. */
#define PCI_VENDOR           0x00u
#define PCI_DEVICE           0x02u
#define PCI_COMMAND          0x04u
#define PCI_STATUS           0x06u
#define PCI_REVISION         0x08u
#define PCI_CLASS            0x09u /* interface, subclass, base class */
#define PCI_CACHE_LINE       0x0cu
#define PCI_HEADER_TYPE      0x0eu
#define PCI_BAR(n)           (0x10u + 4u * (n))
#define PCI_SUBSYSTEM_VENDOR 0x2cu
#define PCI_ROM_ADDRESS      0x30u
#define PCI_SUBSYSTEM        0x2eu
#define PCI_CAPABILITIES     0x34u
#define PCI_INTERRUPT_LINE   0x3cu
#define PCI_INTERRUPT_PIN    0x3du
#define PCI_FIRST_FREE       0x40u /* capabilities, and registers of the device's own */

#define PCI_COMMAND_IO          0x0001u
#define PCI_COMMAND_MEMORY      0x0002u
#define PCI_COMMAND_MASTER      0x0004u
#define PCI_COMMAND_PARITY      0x0040u
#define PCI_COMMAND_SERR        0x0100u
#define PCI_COMMAND_INTX_OFF    0x0400u
#define PCI_STATUS_INTX         0x0008u
#define PCI_STATUS_CAPABILITIES 0x0010u
#define PCI_HEADER_MULTI        0x80u

#define PCI_CAP_MSI  0x05u
#define PCI_CAP_MSIX 0x11u

struct pci_space {
    uint8_t bytes[PCI_SPACE_SIZE];
    uint8_t writable[PCI_SPACE_SIZE]; /* bits that a write sets and clears */
    uint8_t clearing[PCI_SPACE_SIZE]; /* bits that writing 1 clears */
    uint8_t power_on[PCI_SPACE_SIZE];
    uint8_t outside[PCI_SPACE_SIZE]; /* not 0: somebody else has this byte (see function.h) */
    uint8_t link;                    /* where the next capability's place is written */
    uint32_t is_end;                 /* first byte behind the capabilities */
};

/* Zeroes, nothing writable. */
void pci_space_init(struct pci_space *space);

/* What stands there at power-on and now; which bits a guest may write. `size` 1, 2 or 4; the place
 * lies inside. */
void pci_space_set(struct pci_space *space, uint32_t at, uint32_t value, uint32_t size);
void pci_space_allow(struct pci_space *space, uint32_t at, uint32_t mask, uint32_t size);

/* A register as it is. */
uint32_t pci_space_get(const struct pci_space *space, uint32_t at, uint32_t size);

/* Change a register on the device's side. */
void pci_space_put(struct pci_space *space, uint32_t at, uint32_t value, uint32_t size);

/* Link a capability of `size` bytes behind its header of id and link (6.7): `data` at power-on,
 * bits of `mask` writable (NULL: none). Returns its place, or -ENOSPC. */
int pci_space_add_cap(struct pci_space *space, uint8_t id, const uint8_t *data, const uint8_t *mask,
                      uint32_t size);

/* A guest's write, `size` 1, 2 or 4, inside. */
void pci_space_write(struct pci_space *space, uint32_t at, uint32_t value, uint32_t size);

void pci_space_reset(struct pci_space *space);

/* Give `size` bytes to somebody else. */
void pci_space_give(struct pci_space *space, uint32_t at, uint32_t size);

#endif
