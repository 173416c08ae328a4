/* A guest's accesses to PCI: configuration space by ports and ECAM, BARs wherever it moves them,
 * the table of MSI-X. Whatever it writes, the machine's own regions stay where they are, and a
 * reset brings everything back. */
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/loc.h"
#include "qvm-worker/pci/pci.h"
#include "tests/fuzz/fuzz.h"

#define RAM_END   0x80000000ull
#define STEP_SIZE 12u

#define EVENTS    2u /* of each function */
#define FUNCTIONS 4u
#define BRIDGE    192u /* from here on a step is about the bridge to bus 2 */

static uint64_t held; /* lines, by bit */
static uint32_t route_count;
static int heard[FUNCTIONS * EVENTS]; /* by route; -1: nothing */

static void on_line(void *context, uint32_t gsi, bool is_held)
{
    (void)context;
    if (gsi >= 24) {
        abort();
    }
    held = is_held ? held + 1 : held - 1;
}

static void on_message(void *context, uint64_t address, uint32_t data)
{
    (void)context;
    (void)address;
    (void)data;
}

static int on_add_route(void *context)
{
    (void)context;
    return (int)route_count++;
}

static void on_set_route(void *context, uint32_t route, uint64_t address, uint32_t data)
{
    (void)context;
    (void)address;
    (void)data;
    if (route >= route_count) {
        abort();
    }
}

static int on_hear(void *context, uint32_t route, int fd, bool is_on)
{
    (void)context;
    if (route >= route_count || (is_on ? heard[route] != -1 : heard[route] != fd)) {
        abort();
    }
    heard[route] = is_on ? fd : -1;
    return 0;
}

static void on_reset(void *context)
{
    (void)context;
}

static void on_pm_base(void *context, uint16_t base)
{
    (void)context;
    (void)base;
}

static void on_bar(void *context, uint32_t region, uint64_t offset, uint32_t size, uint64_t *value,
                   bool is_write)
{
    static const uint64_t sizes[] = {16, 0x1000, 0x10000};

    (void)context;
    if (region >= ARRAY_LEN(sizes) || offset + size > sizes[region]) {
        abort();
    }
    *value = is_write ? *value : 0;
}

static void on_ram(void *context, uint32_t region, uint64_t offset, uint32_t size, uint64_t *value,
                   bool is_write)
{
    (void)context;
    (void)region;
    (void)offset;
    (void)size;
    *value = is_write ? *value : 0;
}

static struct pci_function *add_function(struct pci *pci, uint32_t bus, uint32_t device,
                                         uint32_t number)
{
    static const struct pci_function_ops ops = {.access = on_bar};
    const struct loc_pci loc = {
        .has_device = true, .bus = bus, .device = device, .function = number};
    const struct pci_function_config config = {
        .name = "f",
        .vendor = 0x1234,
        .has_intx = true,
        .bars = {{.size = 16, .space = BUS_IO, .region = 0},
                 {.size = 0x1000, .space = BUS_MEMORY, .region = 1},
                 {.size = 0x10000, .space = BUS_MEMORY, .is_64bit = true, .region = 2}},
        .vector_count = 5,
        .vector_bar = 4,
        .msi_count = 8,
        .has_msi_masks = number == 0,
        .ops = &ops};
    struct pci_function *function = NULL;
    struct err err = {0};

    if (pci_add(pci, &loc, &config, &function, &err) != 0) {
        abort();
    }
    for (uint32_t vector = 0; vector < EVENTS; vector++) {
        if (pci_event(function, vector) < 0) {
            abort();
        }
    }
    return function;
}

static void check(const struct bus *bus)
{
    const char *ram = bus_owner(bus, BUS_MEMORY, RAM_END - 1);
    const char *chip = bus_owner(bus, BUS_MEMORY, 0xfec00000);
    const char *port = bus_owner(bus, BUS_IO, 0xcfc);

    if (ram == NULL || strcmp(ram, "RAM") != 0 || chip == NULL || strcmp(chip, "IOAPIC") != 0 ||
        port == NULL || strcmp(port, "the PCI host bridge") != 0) {
        abort();
    }
}

/* One step: kind and size, 2 bytes for a register, 8 of address or value. */
static void step(struct bus *bus, struct pci_function *const functions[FUNCTIONS],
                 const uint8_t *bytes)
{
    uint32_t size = 1u << (bytes[1] & 3);
    const struct pci_function *function = functions[bytes[2] % FUNCTIONS];
    uint32_t bdf = bytes[2] >= BRIDGE ? 30u << 3 : (uint32_t)function->bus << 8 | function->devfn;
    uint32_t at = bytes[3] & (bytes[1] >> 4 == 0 ? 0xff : 0x3f);
    uint8_t data[8], latch[4];
    uint64_t address;
    uint32_t select = 0x80000000u | bdf << 8 | (at & 0xfc);

    memcpy(data, bytes + 4, sizeof(data));
    memcpy(&address, bytes + 4, sizeof(address));
    memcpy(latch, &select, sizeof(latch));
    switch (bytes[0] % 8) {
    case 0: /* by the ports */
    case 1:
        (void)bus_access(bus, BUS_IO, 0xcf8, latch, 4, true);
        (void)bus_access(bus, BUS_IO, 0xcfc + (at & 3), data, size, bytes[0] % 8 == 0);
        break;
    case 2:
        (void)bus_access(bus, BUS_MEMORY, PCI_ECAM_START + ((uint64_t)bdf << 12) + at, data, size,
                         (bytes[1] & 4) != 0);
        break;
    case 3: /* anywhere */
        (void)bus_access(bus, BUS_MEMORY, address, data, size, (bytes[1] & 4) != 0);
        break;
    case 4: /* where BARs are at first */
        (void)bus_access(bus, BUS_MEMORY, PCI_MEMORY_START + (address & 0x3ffff), data, size,
                         (bytes[1] & 4) != 0);
        break;
    case 5:
        (void)bus_access(bus, BUS_IO, address & 0xffff, data, size, (bytes[1] & 4) != 0);
        break;
    case 6:
        (void)pci_message(functions[bytes[2] % FUNCTIONS], bytes[3]);
        break;
    default:
        pci_intx(functions[bytes[2] % FUNCTIONS], (bytes[3] & 1) != 0);
        break;
    }
}

static void run(struct bus *bus, struct pci *pci, const uint8_t *data, size_t size)
{
    struct pci_function *functions[FUNCTIONS];
    struct err err = {0};

    functions[0] = add_function(pci, 0, 3, 0);
    functions[1] = add_function(pci, 0, 3, 5);
    functions[2] = add_function(pci, 0, 7, 0);
    functions[3] = add_function(pci, 2, 1, 0);
    if (pci_seal(pci, &err) != 0) {
        abort();
    }
    for (; size >= STEP_SIZE; size -= STEP_SIZE, data += STEP_SIZE) {
        step(bus, functions, data);
        check(bus);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(functions); i++) {
        pci_intx(functions[i], false);
    }
    pci_reset(pci);
    check(bus);
    for (uint32_t i = 0; i < route_count; i++) {
        if (heard[i] != -1) {
            abort();
        }
    }
    if (held != 0 || bus_owner(bus, BUS_MEMORY, PCI_MEMORY_START) == NULL ||
        bus_owner(bus, BUS_MEMORY, PCI_ECAM_START) == NULL ||
        bus_owner(bus, BUS_IO, PCI_PORTS_START) == NULL) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pci_ops ops = {.line = on_line,
                                       .message = on_message,
                                       .add_route = on_add_route,
                                       .set_route = on_set_route,
                                       .commit_routes = on_reset,
                                       .hear = on_hear,
                                       .reset = on_reset,
                                       .pm_base = on_pm_base};
    struct pci_config config = {
        .ops = &ops, .has_lpc = true, .high_start = 0x100000000, .high_end = 0x900000000};
    struct bus *bus = bus_create();
    struct pci *pci = NULL;
    struct err err = {0};

    held = 0;
    route_count = 0;
    memset(heard, -1, sizeof(heard));
    config.bus = bus;
    if (bus_add(bus, BUS_MEMORY, 0, RAM_END, on_ram, NULL, 0, "RAM", &err) != 0 ||
        bus_add(bus, BUS_MEMORY, 0xfec00000, 0x1000, on_ram, NULL, 0, "IOAPIC", &err) != 0 ||
        pci_create(&config, &pci, &err) != 0) {
        abort();
    }
    run(bus, pci, data, size);
    pci_destroy(pci);
    bus_destroy(bus);
    return 0;
}
