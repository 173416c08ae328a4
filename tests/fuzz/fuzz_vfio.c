/* A guest's accesses to a function of the host, whose registers are a stranger's as well: an
 * earlier guest may have left them so. Whatever both say, the guest reaches no register of the
 * host's, no page in which the qvm answers, and one kind of interrupt is on at a time. */
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/loc.h"
#include "qvm-worker/pci/pci.h"
#include "qvm-worker/vfio/extended.h"
#include "qvm-worker/vfio/function.h"
#include "qvm-worker/vfio/registers.h"
#include "tests/fake/fake_vfio.h"
#include "tests/fuzz/fuzz.h"

#define STEP_SIZE 12u
#define DEVICE    5u
#define SLOTS     64u

static struct fake_vfio fake;
static struct vfio_registers registers; /* as the function's */
static struct vfio_extended extended;   /* likewise */
static uint8_t at_first[sizeof(fake.config)];
static struct {
    uint64_t address, size;
    const uint8_t *host;
} slots[SLOTS];

static void on_line(void *context, uint32_t gsi, bool is_held)
{
    (void)context;
    (void)gsi;
    (void)is_held;
}

static void on_message(void *context, uint64_t address, uint32_t data)
{
    (void)context;
    (void)address;
    (void)data;
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

static int on_slot(void *context, uint32_t slot, uint64_t address, void *host, uint64_t size)
{
    (void)context;
    if (slot >= SLOTS || (size != 0) == (slots[slot].size != 0)) {
        abort();
    }
    slots[slot].address = address;
    slots[slot].host = host;
    slots[slot].size = size;
    return 0;
}

static bool is_in_slot(uint32_t bar, uint64_t offset)
{
    const uint8_t *byte = fake.bars[bar] + offset;

    for (uint32_t i = 0; i < SLOTS; i++) {
        if (slots[i].size != 0 && byte >= slots[i].host && byte < slots[i].host + slots[i].size) {
            return true;
        }
    }
    return false;
}

/* The first and the last byte of what is ours are in no slot. */
static void check_vectors(void)
{
    const struct vfio_vectors *vectors = &registers.vectors;
    uint64_t last = vectors->table + vectors->hardware_count * 16ull - 1;

    if (registers.vector_count == 0) {
        return;
    }
    if (vectors->table < FAKE_BAR_SIZE && is_in_slot(vectors->table_bar, vectors->table)) {
        abort();
    }
    if (last < FAKE_BAR_SIZE && is_in_slot(vectors->table_bar, last)) {
        abort();
    }
    if (vectors->pending < FAKE_BAR_SIZE && is_in_slot(vectors->pending_bar, vectors->pending)) {
        abort();
    }
}

static void check(void)
{
    uint32_t kinds = 0;

    for (uint32_t i = 0; i < VFIO_INTERRUPT_COUNT; i++) {
        kinds += fake.on[i] != 0 ? 1 : 0;
    }
    if (kinds > 1) {
        abort();
    }
    for (uint32_t at = 0; at < sizeof(fake.config); at++) {
        bool is_command = at == PCI_COMMAND || at == PCI_COMMAND + 1;

        bool is_outside =
            at < PCI_SPACE_SIZE ? registers.space.outside[at] != 0 : extended.is_outside[at];

        if (!is_command && !is_outside && fake.config[at] != at_first[at]) {
            abort(); /* a register that is not the guest's */
        }
    }
    check_vectors();
}

static void step(struct bus *bus, const uint8_t *bytes)
{
    uint32_t size = 1u << (bytes[1] & 3), devfn = DEVICE << 3, at = bytes[3];
    uint32_t extended_at = (bytes[1] & 8) != 0 ? (bytes[2] & 0xfu) << 8 : 0;
    bool is_write = (bytes[1] & 4) != 0;
    uint64_t address;
    uint8_t data[8];

    memcpy(data, bytes + 4, sizeof(data));
    memcpy(&address, bytes + 4, sizeof(address));
    switch (bytes[0] % 4) {
    case 0:
    case 1:
        (void)bus_access(bus, BUS_MEMORY,
                         PCI_ECAM_START + ((uint64_t)devfn << 12) + extended_at + at, data, size,
                         is_write);
        break;
    case 2:
        (void)bus_access(bus, BUS_MEMORY, PCI_MEMORY_START + (address & 0x3ffff), data, size,
                         is_write);
        break;
    default:
        (void)bus_access(bus, BUS_IO, PCI_PORTS_START + (address & 0x1ff), data, size, is_write);
        break;
    }
}

static void run(struct bus *bus, struct pci *pci, const uint8_t *data, size_t size)
{
    const struct loc_pci loc = {.has_device = true, .device = DEVICE};
    const struct vfio_device device = {&fake_vfio_ops, &fake};
    const struct vfio_function_config config = {.pci = pci,
                                                .loc = &loc,
                                                .name = "f",
                                                .device = device,
                                                .vectors_most = VFIO_VECTORS_MAX,
                                                .slot = on_slot};
    struct vfio_function *function = NULL;
    struct err err = {0};

    if (vfio_registers_read(&registers, &device, &err) != 0 ||
        vfio_extended_init(&extended, &device, &err) != 0 ||
        vfio_function_create(&config, &function, &err) != 0) {
        return; /* refused */
    }
    memcpy(at_first, fake.config, sizeof(at_first));
    if (pci_seal(pci, &err) == 0) {
        for (uint32_t i = 0; size >= STEP_SIZE; i++, size -= STEP_SIZE, data += STEP_SIZE) {
            step(bus, data);
            check();
            if (i % 64 == 63) {
                (void)vfio_function_reset(function, &err);
                pci_reset(pci);
                check();
            }
        }
    }
    vfio_function_destroy(function);
    if (fake.on[VFIO_INTX] + fake.on[VFIO_MSI] + fake.on[VFIO_MSIX] != 0 ||
        (fake_vfio_get(&fake, PCI_COMMAND, 2) & PCI_COMMAND_MASTER) != 0) {
        abort();
    }
}

/* A card, of which the input changes what it likes: pairs of place and value, up to a place of 0;
 * after it, of the extended space, fours of which the first is 0. */
static const uint8_t *change_card(const uint8_t *data, size_t *size)
{
    fake_vfio_card(&fake);
    while (*size >= 2 && data[0] != 0) {
        fake.config[data[0]] = data[1];
        data += 2;
        *size -= 2;
    }
    fake_vfio_extend(&fake);
    while (*size >= 4 && data[0] == 0 && data[1] != 0) {
        fake.config[0x100 + (data[1] & 3u) * 0x100 + data[2]] = data[3];
        data += 4;
        *size -= 4;
    }
    return data;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pci_ops ops = {
        .line = on_line, .message = on_message, .reset = on_reset, .pm_base = on_pm_base};
    struct pci_config config = {.ops = &ops, .high_start = 0x100000000, .high_end = 0x900000000};
    struct bus *bus = bus_create();
    struct pci *pci = NULL;
    struct err err = {0};

    memset(slots, 0, sizeof(slots));
    data = change_card(data, &size);
    config.bus = bus;
    if (pci_create(&config, &pci, &err) != 0) {
        abort();
    }
    run(bus, pci, data, size);
    pci_destroy(pci);
    bus_destroy(bus);
    return 0;
}
