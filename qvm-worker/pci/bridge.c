/* Buses behind bridges. A configuration names a bus by its number; on the root bus there is a
 * bridge to it then. What a guest writes to the bridge says which number the bus has, and which
 * accesses come through. Registers: PCI-to-PCI Bridge Architecture Specification 1.2, 3.2. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/err.h"
#include "qvm-worker/loc.h"
#include "qvm-worker/pci/pci_private.h"

#define VENDOR_REDHAT 0x1b36u /* who has a plain one without a datasheet: QEMU's pci-ids */
#define DEVICE_BRIDGE 0x0001u
#define CLASS_BRIDGE  0x060400u
#define HEADER_BRIDGE 1u

#define PRIMARY            0x18u
#define SECONDARY          0x19u
#define SUBORDINATE        0x1au
#define LATENCY            0x1bu
#define LATENCY_WRITABLE   0xf8u
#define PORTS_BASE         0x1cu
#define PORTS_LIMIT        0x1du
#define PORTS_WRITABLE     0xf0u /* 16 bits of address; 4 KiB */
#define MEMORY_BASE        0x20u
#define MEMORY_LIMIT       0x22u
#define MEMORY_WRITABLE    0xfff0u /* MiB */
#define PREFETCH_BASE      0x24u
#define PREFETCH_LIMIT     0x26u
#define PREFETCH_64BIT     0x0001u
#define PREFETCH_BASE_HIGH 0x28u
#define PREFETCH_LIMIT_HI  0x2cu
#define CONTROL            0x3eu
#define CONTROL_WRITABLE   0x0023u /* parity, SERR, master abort: nothing here has errors */

/* Bridges are where those of PCs are, out of the way of who gets the first free place. */
#define FIRST_DEVICE 30u

static struct pci_bus *find(struct pci *pci, uint32_t number)
{
    struct pci_bus *bus;

    for (uint32_t i = 0; (bus = pci_bus_at(pci, i)) != NULL; i++) {
        if (bus->number == number) {
            return bus;
        }
    }
    return NULL;
}

struct pci_bus *pci_bus_at(struct pci *pci, uint32_t i)
{
    if (i == 0) {
        return &pci->root;
    }
    return i <= pci->behind_count ? pci->behind[i - 1] : NULL;
}

int pci_bus_get(struct pci *pci, uint32_t number, struct pci_bus **bus, struct err *err)
{
    struct pci_bus *new = find(pci, number);
    uint32_t i = pci->behind_count;

    if (new != NULL) {
        *bus = new;
        return 0;
    }
    if (i == PCI_BRIDGES_MAX) {
        return err_set(err, -ENOSPC, "more than %u PCI buses beside bus 0", PCI_BRIDGES_MAX);
    }
    new = calloc(1, sizeof(*new));
    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->pci = pci;
    new->number = number;
    (void)snprintf(new->name, sizeof(new->name), "the bridge to PCI bus %u", number);
    for (; i > 0 && pci->behind[i - 1]->number > number; i--) {
        pci->behind[i] = pci->behind[i - 1];
    }
    pci->behind[i] = new;
    pci->behind_count++;
    *bus = new;
    return 0;
}

static bool touches(uint32_t at, uint32_t size, uint32_t from, uint32_t end)
{
    return at < end && at + size > from;
}

/* Who is behind it may answer now, or no more; likewise for messages. */
static void on_written(void *context, uint32_t at, uint32_t size)
{
    struct pci_bus *bus = context;

    if (bus->pci->is_resetting || (!touches(at, size, PCI_COMMAND, PCI_COMMAND + 2) &&
                                   !touches(at, size, PORTS_BASE, PREFETCH_LIMIT_HI + 4))) {
        return;
    }
    for (uint32_t i = 0; i < PCI_DEVFNS; i++) {
        if (bus->functions[i] != NULL) {
            pci_function_update_master(bus->functions[i]);
        }
    }
    pci_settle(bus->pci);
}

/* Without firmware the bus has the number by which the configuration calls it, and all that comes
 * through a bridge may. */
static void set_registers(const struct pci_bus *bus, struct pci_space *space)
{
    uint32_t allowed = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

    pci_space_set(space, PCI_HEADER_TYPE, HEADER_BRIDGE, 1);
    pci_space_allow(space, PCI_COMMAND, allowed | PCI_COMMAND_PARITY | PCI_COMMAND_SERR, 2);
    pci_space_allow(space, PRIMARY, 0x00ffffffu | LATENCY_WRITABLE << 24, 4);
    pci_space_allow(space, PORTS_BASE, PORTS_WRITABLE, 1);
    pci_space_allow(space, PORTS_LIMIT, PORTS_WRITABLE, 1);
    pci_space_allow(space, MEMORY_BASE, MEMORY_WRITABLE, 2);
    pci_space_allow(space, MEMORY_LIMIT, MEMORY_WRITABLE, 2);
    pci_space_set(space, PREFETCH_BASE, PREFETCH_64BIT | PREFETCH_64BIT << 16, 4);
    pci_space_allow(space, PREFETCH_BASE, MEMORY_WRITABLE | MEMORY_WRITABLE << 16, 4);
    pci_space_allow(space, PREFETCH_BASE_HIGH, UINT32_MAX, 4);
    pci_space_allow(space, PREFETCH_LIMIT_HI, UINT32_MAX, 4);
    pci_space_allow(space, CONTROL, CONTROL_WRITABLE, 2);
    if (!bus->pci->config.has_firmware) {
        pci_space_set(space, PCI_COMMAND, allowed, 2);
        pci_space_set(space, SECONDARY, bus->number | bus->number << 8, 2);
    }
}

static uint32_t find_device(const struct pci_bus *root)
{
    uint32_t device = FIRST_DEVICE;

    while (device > 0 && !pci_is_free_device(root, device)) {
        device--;
    }
    return device;
}

int pci_bus_connect(struct pci_bus *bus, struct err *err)
{
    static const struct pci_function_ops ops = {.written = on_written};
    const struct pci_function_config config = {.name = bus->name,
                                               .vendor = VENDOR_REDHAT,
                                               .device = DEVICE_BRIDGE,
                                               .class_code = CLASS_BRIDGE,
                                               .ops = &ops,
                                               .context = bus};
    struct loc_pci loc = {.has_device = true};
    int r;

    if (bus->number == 0 || bus->bridge != NULL) {
        return 0;
    }
    loc.device = find_device(&bus->pci->root);
    if (loc.device == 0) {
        return err_set(err, -ENOSPC, "no device of PCI bus 0 is left for %s", bus->name);
    }
    r = pci_add(bus->pci, &loc, &config, &bus->bridge, err);
    if (r == 0) {
        set_registers(bus, &bus->bridge->space);
    }
    return r;
}

static uint32_t get(const struct pci_bus *bus, uint32_t at, uint32_t size)
{
    return pci_space_get(&bus->bridge->space, at, size);
}

static bool has(const struct pci_bus *bus, uint32_t command)
{
    return (get(bus, PCI_COMMAND, 2) & command) != 0;
}

/* 3.2.5.4: bus 0 is nobody's secondary one. */
struct pci_bus *pci_bus_answering(struct pci *pci, uint32_t number)
{
    if (number == 0) {
        return &pci->root;
    }
    for (uint32_t i = 0; i < pci->behind_count; i++) {
        if (pci->behind[i]->bridge != NULL && get(pci->behind[i], SECONDARY, 1) == number) {
            return pci->behind[i];
        }
    }
    return NULL;
}

bool pci_bus_is_master(const struct pci_bus *bus)
{
    return bus->bridge == NULL || has(bus, PCI_COMMAND_MASTER);
}

static bool lies_in(uint64_t start, uint64_t size, uint64_t base, uint64_t limit)
{
    return start >= base && start <= limit && size - 1 <= limit - start;
}

/* 3.2.5.6, 3.2.5.8 and on: a base above its limit is a closed window. */
bool pci_bus_passes(const struct pci_bus *bus, enum bus_space space, uint64_t start, uint64_t size)
{
    uint64_t base, limit, prefetch_base, prefetch_limit;

    if (bus->bridge == NULL) {
        return true;
    }
    if (space == BUS_IO) {
        base = (uint64_t)(get(bus, PORTS_BASE, 1) & PORTS_WRITABLE) << 8;
        limit = (uint64_t)(get(bus, PORTS_LIMIT, 1) & PORTS_WRITABLE) << 8 | (PCI_PORTS_UNIT - 1);
        return has(bus, PCI_COMMAND_IO) && lies_in(start, size, base, limit);
    }
    base = (uint64_t)(get(bus, MEMORY_BASE, 2) & MEMORY_WRITABLE) << 16;
    limit = (uint64_t)(get(bus, MEMORY_LIMIT, 2) & MEMORY_WRITABLE) << 16 | (PCI_MEMORY_UNIT - 1);
    prefetch_base = (uint64_t)get(bus, PREFETCH_BASE_HIGH, 4) << 32 |
                    (uint64_t)(get(bus, PREFETCH_BASE, 2) & MEMORY_WRITABLE) << 16;
    prefetch_limit = (uint64_t)get(bus, PREFETCH_LIMIT_HI, 4) << 32 |
                     (uint64_t)(get(bus, PREFETCH_LIMIT, 2) & MEMORY_WRITABLE) << 16 |
                     (PCI_MEMORY_UNIT - 1);
    return has(bus, PCI_COMMAND_MEMORY) && (lies_in(start, size, base, limit) ||
                                            lies_in(start, size, prefetch_base, prefetch_limit));
}

void pci_bus_open(const struct pci_bus *bus, enum pci_window window, uint64_t start, uint64_t size)
{
    struct pci_space *space = &bus->bridge->space;
    uint64_t base = size != 0 ? start : UINT32_MAX, limit = size != 0 ? start + size - 1 : 0;
    uint32_t megabytes =
        (uint32_t)(base >> 16 & MEMORY_WRITABLE) | (uint32_t)(limit >> 16 & MEMORY_WRITABLE) << 16;

    if (window == PCI_WINDOW_PORTS) {
        pci_space_set(space, PORTS_BASE, (uint32_t)(base >> 8) & PORTS_WRITABLE, 1);
        pci_space_set(space, PORTS_LIMIT, (uint32_t)(limit >> 8) & PORTS_WRITABLE, 1);
    } else if (window == PCI_WINDOW_LOW) {
        pci_space_set(space, MEMORY_BASE, megabytes, 4);
    } else {
        pci_space_set(space, PREFETCH_BASE, megabytes | PREFETCH_64BIT | PREFETCH_64BIT << 16, 4);
        pci_space_set(space, PREFETCH_BASE_HIGH, (uint32_t)(base >> 32), 4);
        pci_space_set(space, PREFETCH_LIMIT_HI, (uint32_t)(limit >> 32), 4);
    }
}

/* 9.1: pins behind a bridge are those of the bridge, turned by the device's number. */
void pci_root_pin(const struct pci_function *function, uint32_t *device, uint32_t *pin)
{
    const struct pci_function *bridge = function->parent->bridge;

    *device = function->devfn >> 3;
    *pin = function->pin;
    if (bridge != NULL) {
        *pin = (*pin + *device) % PCI_PINS;
        *device = bridge->devfn >> 3;
    }
}

struct pci_function *pci_next(struct pci *pci, struct pci_walk *walk)
{
    struct pci_bus *bus;

    for (; (bus = pci_bus_at(pci, walk->bus)) != NULL; walk->bus++, walk->devfn = 0) {
        while (walk->devfn < PCI_DEVFNS) {
            struct pci_function *function = bus->functions[walk->devfn++];

            if (function != NULL) {
                return function;
            }
        }
    }
    return NULL;
}
