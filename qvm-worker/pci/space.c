/* The configuration space of one PCI function. */
#include "qvm-worker/pci/space.h"

#include <errno.h>
#include <string.h>

#define CAP_HEADER 2u
#define CAP_ALIGN  4u /* 6.7: the two low bits of a link are reserved */

void pci_space_init(struct pci_space *space)
{
    *space = (struct pci_space){.link = PCI_CAPABILITIES, .is_end = PCI_FIRST_FREE};
}

static void put(uint8_t *bytes, uint32_t at, uint32_t value, uint32_t size)
{
    memcpy(bytes + at, &value, size); /* little-endian, as we are */
}

void pci_space_set(struct pci_space *space, uint32_t at, uint32_t value, uint32_t size)
{
    put(space->bytes, at, value, size);
    put(space->power_on, at, value, size);
}

void pci_space_allow(struct pci_space *space, uint32_t at, uint32_t mask, uint32_t size)
{
    put(space->writable, at, mask, size);
}

uint32_t pci_space_get(const struct pci_space *space, uint32_t at, uint32_t size)
{
    uint32_t value = 0;

    memcpy(&value, space->bytes + at, size);
    return value;
}

void pci_space_put(struct pci_space *space, uint32_t at, uint32_t value, uint32_t size)
{
    put(space->bytes, at, value, size);
}

int pci_space_add_cap(struct pci_space *space, uint8_t id, const uint8_t *data, const uint8_t *mask,
                      uint32_t size)
{
    uint32_t at = (space->is_end + CAP_ALIGN - 1) / CAP_ALIGN * CAP_ALIGN;

    if (at + CAP_HEADER > PCI_SPACE_SIZE || size > PCI_SPACE_SIZE - at - CAP_HEADER) {
        return -ENOSPC;
    }
    pci_space_set(space, space->link, at, 1);
    pci_space_set(space, PCI_STATUS, pci_space_get(space, PCI_STATUS, 2) | PCI_STATUS_CAPABILITIES,
                  2);
    pci_space_set(space, at, id, 2);
    memcpy(space->bytes + at + CAP_HEADER, data, size);
    memcpy(space->power_on + at + CAP_HEADER, data, size);
    if (mask != NULL) {
        memcpy(space->writable + at + CAP_HEADER, mask, size);
    }
    space->link = (uint8_t)(at + 1);
    space->is_end = at + CAP_HEADER + size;
    return (int)at;
}

void pci_space_write(struct pci_space *space, uint32_t at, uint32_t value, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i)), *now = &space->bytes[at + i];
        uint8_t writable = space->writable[at + i], clearing = space->clearing[at + i];

        *now = (uint8_t)((*now & ~writable) | (byte & writable));
        *now = (uint8_t)(*now & ~(byte & clearing));
    }
}

void pci_space_give(struct pci_space *space, uint32_t at, uint32_t size)
{
    memset(space->outside + at, 1, size);
}

void pci_space_reset(struct pci_space *space)
{
    memcpy(space->bytes, space->power_on, sizeof(space->bytes));
}
