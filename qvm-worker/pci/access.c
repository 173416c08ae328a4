/* How a guest reaches configuration space: ports 0xCF8 to 0xCFF, and the ECAM window. */
#include <stddef.h>

#include "qvm-worker/bus/bus.h"
#include "qvm-worker/pci/pci_private.h"

#define PORT_ADDRESS 0xcf8u /* PCI Local Bus Specification 3.0, 3.2.2.3.2 */
#define PORT_DATA    0xcfcu
#define PORT_COUNT   4u

#define ADDRESS_ENABLE   0x80000000u
#define ADDRESS_WRITABLE 0x80fffffcu /* the others are reserved, or 0 */

/* The reset control register lies inside: Intel ICH9, 13.7.5. */
#define RESET_OFFSET 1u
#define RESET_CPU    0x04u

enum region { REGION_ADDRESS, REGION_DATA };

static uint64_t ones(uint32_t size)
{
    return size < 8 ? (UINT64_C(1) << (8 * size)) - 1 : UINT64_MAX;
}

/* Only a whole double word at 0xCF8 is for the latch: all else is an ordinary port's. */
static void on_address(struct pci *pci, uint64_t offset, uint32_t size, uint64_t *value,
                       bool is_write)
{
    if (size == 4) {
        if (is_write) {
            atomic_store(&pci->address, (unsigned)*value & ADDRESS_WRITABLE);
        } else {
            *value = atomic_load(&pci->address);
        }
    } else if (!is_write) {
        *value = offset == RESET_OFFSET && size == 1 ? 0 : ones(size);
    } else if (offset == RESET_OFFSET && size == 1 && (*value & RESET_CPU) != 0) {
        pci->config.ops->reset(pci->config.context);
    }
}

static void on_data(struct pci *pci, uint64_t offset, uint32_t size, uint64_t *value, bool is_write)
{
    uint32_t address = atomic_load(&pci->address);
    uint32_t at = (address & 0xfc) + (uint32_t)offset;

    if ((address & ADDRESS_ENABLE) == 0 || offset + size > PORT_COUNT) {
        *value = is_write ? *value : ones(size);
        return;
    }
    *value = pci_config_access(pci, address >> 16 & 0xff, address >> 8 & 0xff, at, size,
                               (uint32_t)*value, is_write);
}

static void on_port(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t *value,
                    bool is_write)
{
    if (region == REGION_ADDRESS) {
        on_address(device, offset, size, value, is_write);
    } else {
        on_data(device, offset, size, value, is_write);
    }
}

int pci_add_ports(struct pci *pci, struct err *err)
{
    int r = bus_add(pci->config.bus, BUS_IO, PORT_ADDRESS, PORT_COUNT, on_port, pci, REGION_ADDRESS,
                    "the PCI host bridge", err);

    return r != 0 ? r
                  : bus_add(pci->config.bus, BUS_IO, PORT_DATA, PORT_COUNT, on_port, pci,
                            REGION_DATA, "the PCI host bridge", err);
}

static uint32_t access_piece(struct pci *pci, uint64_t offset, uint32_t size, uint32_t value,
                             bool is_write)
{
    return pci_config_access(pci, offset >> 20 & 0xff, offset >> 12 & 0xff, offset & 0xfff, size,
                             value, is_write);
}

/* Pieces that lie in one double word each: PCI Express Base Specification 2.1, 7.2.2. */
void pci_on_ecam(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t *value,
                 bool is_write)
{
    uint64_t result = 0;
    uint32_t piece = offset % 4 + size <= 4 ? size : offset % 4 == 0 ? 4 : 1;

    (void)region;
    for (uint32_t done = 0; done < size; done += piece) {
        uint32_t part = (uint32_t)(*value >> (8 * done) & ones(piece));

        result |= (access_piece(device, offset + done, piece, part, is_write) & ones(piece))
                  << (8 * done);
    }
    *value = is_write ? *value : result;
}

bool pci_try_ecam(struct pci *pci)
{
    uint64_t start = pci->ecam.wanted_start, size = pci->ecam.wanted_size;
    const struct bus_place place = {.space = BUS_MEMORY,
                                    .start = start,
                                    .size = size,
                                    .fn = pci_on_ecam,
                                    .device = pci,
                                    .name = "PCI configuration"};
    bool has_left = false, has_come = false;

    if (pci->ecam.is_there && (pci->ecam.start != start || pci->ecam.size != size)) {
        bus_unmap(pci->config.bus, BUS_MEMORY, pci->ecam.start);
        pci->ecam.is_there = false;
        has_left = true;
    }
    if (!pci->ecam.is_there && size != 0 && bus_map(pci->config.bus, &place) == 0) {
        pci->ecam.is_there = has_come = true;
        pci->ecam.start = start;
        pci->ecam.size = size;
    }
    if ((has_left || has_come) && pci->config.ops->ecam != NULL) {
        pci->config.ops->ecam(pci->config.context);
    }
    return has_left;
}

void pci_place_ecam(struct pci *pci, uint64_t start, uint64_t size)
{
    pci->ecam.wanted_start = start;
    pci->ecam.wanted_size = size;
    if (pci_try_ecam(pci)) {
        pci_settle(pci);
    }
}
