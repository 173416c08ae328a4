#include "tests/guests/bare/virtio_registers.h"

#include "tests/guests/bare/interrupts.h"
#include "tests/guests/bare/machine.h"
#include "tests/guests/bare/memory.h"

enum { PORT_ADDRESS = 0xcf8, PORT_DATA = 0xcfc, PCI_DEVICES = 32 };
enum { PCI_IDS = 0, PCI_COMMAND = 4, PCI_BAR = 0x10, PCI_CAPABILITIES = 0x34, PCI_LINE = 0x3c };
enum {
    COMMAND_PORTS = 1,
    COMMAND_MEMORY = 2,
    COMMAND_MEMORY_MASTER = 6,
    CAP_VENDOR = 0x09,
    CAP_MSIX = 0x11,
    MSIX_ENABLE = 0x8000
};
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_CONFIG = 4, CAP_ACCESS = 5 };
enum { QUEUE_VECTOR = 26, MMIO_REGISTERS = 0x1fc };

#define PCI_ENABLE     0x80000000U
#define VIRTIO_VENDOR  0x1af4U
#define VIRTIO_FIRST   0x1040U
#define MESSAGE_AT     0xfee00000U
#define STRUCTURE_MASK 0x3fU
#define PORTS_MASK     0x1cU
#define PCI_BAR_0      0x10U
#define VIRTIO_PAGE    0x400U /* of VIRTIO_AREA */

static uint64_t base; /* over MMIO */
static bool is_pci;
static uint8_t devfn;
static uint64_t common, notify, isr, config; /* addresses of the structures */
static uint32_t notify_step, access_cap;
static uint16_t ports; /* of a transitional device; 0: it is none */

static uint32_t pci_get(uint32_t at)
{
    outl(PORT_ADDRESS, PCI_ENABLE | (uint32_t)devfn << 8 | (at & 0xfc));
    return inl(PORT_DATA);
}

static void pci_set(uint32_t at, uint32_t value)
{
    outl(PORT_ADDRESS, PCI_ENABLE | (uint32_t)devfn << 8 | (at & 0xfc));
    outl(PORT_DATA, value);
}

static uint32_t next_cap(uint32_t at, uint8_t id)
{
    at = at == 0 ? pci_get(PCI_CAPABILITIES) & 0xfc : pci_get(at) >> 8 & 0xfc;
    while (at != 0 && (pci_get(at) & 0xff) != id) {
        at = pci_get(at) >> 8 & 0xfc;
    }
    return at;
}

static uint64_t bar(uint32_t i)
{
    return pci_get(PCI_BAR + 4 * (i & 7)) & ~0xfU;
}

/* 4.1.4: each structure is a range of a BAR. */
static void find_structures(void)
{
    for (uint32_t at = next_cap(0, CAP_VENDOR); at != 0; at = next_cap(at, CAP_VENDOR)) {
        uint64_t start = bar(pci_get(at + 4)) + pci_get(at + 8);

        switch (pci_get(at) >> 24) {
        case CAP_COMMON:
            common = start;
            break;
        case CAP_NOTIFY:
            notify = start;
            notify_step = pci_get(at + 16);
            break;
        case CAP_ISR:
            isr = start;
            break;
        case CAP_CONFIG:
            config = start;
            break;
        case CAP_ACCESS:
            access_cap = at;
            break;
        default:
            break;
        }
    }
}

bool virtio_find(uint64_t where)
{
    is_pci = where < PCI_DEVICES;
    base = where;
    if (!is_pci) {
        return mmio_read32(base + VIRTIO_MAGIC) == VIRTIO_MAGIC_VALUE &&
               mmio_read32(base + VIRTIO_VERSION) - 1 < 2; /* 1 is for storms alone */
    }
    devfn = (uint8_t)(where << 3);
    if ((pci_get(PCI_IDS) & 0xffff) != VIRTIO_VENDOR) {
        return false;
    }
    memory_map_all();
    common = notify = isr = config = 0;
    ports = (pci_get(PCI_BAR_0) & 1) != 0 ? (uint16_t)(pci_get(PCI_BAR_0) & 0xfffc) : 0;
    pci_set(PCI_COMMAND, COMMAND_MEMORY_MASTER | (ports != 0 ? COMMAND_PORTS : 0));
    find_structures();
    return common != 0 && notify != 0 && isr != 0;
}

bool virtio_set_master(bool is_master)
{
    if (is_pci) {
        pci_set(PCI_COMMAND, is_master ? COMMAND_MEMORY_MASTER : COMMAND_MEMORY);
    }
    return is_pci;
}

static uint32_t get(uint64_t at, uint32_t size)
{
    return size == 1   ? *(volatile uint8_t *)at
           : size == 2 ? *(volatile uint16_t *)at
                       : mmio_read32(at);
}

static void set(uint64_t at, uint32_t size, uint32_t value)
{
    if (size == 1) {
        *(volatile uint8_t *)at = (uint8_t)value;
    } else if (size == 2) {
        *(volatile uint16_t *)at = (uint16_t)value;
    } else {
        mmio_write32(at, value);
    }
}

/* 4.1.4.3: where a register of 4.2.2 is in the common structure. */
static const struct field {
    uint32_t at, offset, size;
} fields[] = {
    {VIRTIO_FEATURES_SELECT, 0, 4},  {VIRTIO_FEATURES, 4, 4},     {VIRTIO_ACCEPTED_SELECT, 8, 4},
    {VIRTIO_ACCEPTED, 12, 4},        {VIRTIO_STATUS, 20, 1},      {VIRTIO_SELECT, 22, 2},
    {VIRTIO_SIZE_MAX, 24, 2},        {VIRTIO_SIZE, 24, 2},        {VIRTIO_READY, 28, 2},
    {VIRTIO_TABLE, 32, 4},           {VIRTIO_TABLE + 4, 36, 4},   {VIRTIO_DRIVER_AREA, 40, 4},
    {VIRTIO_DRIVER_AREA + 4, 44, 4}, {VIRTIO_DEVICE_AREA, 48, 4}, {VIRTIO_DEVICE_AREA + 4, 52, 4},
};

static const struct field *find_field(uint32_t at)
{
    for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
        if (fields[i].at == at) {
            return &fields[i];
        }
    }
    return &fields[0]; /* cannot be: the driver knows them all */
}

uint32_t virtio_get(uint32_t at)
{
    if (!is_pci) {
        return mmio_read32(base + at);
    }
    if (at >= VIRTIO_CONFIG) {
        return mmio_read32(config + at - VIRTIO_CONFIG);
    }
    if (at == VIRTIO_DEVICE) {
        return (pci_get(PCI_IDS) >> 16) - VIRTIO_FIRST;
    }
    return at == VIRTIO_INTERRUPT_STATUS
               ? get(isr, 1)
               : get(common + find_field(at)->offset, find_field(at)->size);
}

void virtio_set(uint32_t at, uint32_t value)
{
    if (!is_pci) {
        mmio_write32(base + at, value);
    } else if (at == VIRTIO_NOTIFY) {
        set(notify + (uint64_t)value * notify_step, 2, value);
    } else if (at != VIRTIO_INTERRUPT_ACK) { /* reading it was enough */
        set(common + find_field(at)->offset, find_field(at)->size, value);
    }
}

void virtio_listen(uint8_t gsi, void (*handler)(void))
{
    uint32_t cap = is_pci ? next_cap(0, CAP_MSIX) : 0;
    uint64_t entry;

    if (cap == 0 || gsi != VIRTIO_BY_MESSAGE) {
        if (cap != 0) {
            pci_set(cap, 0);
        }
        interrupts_listen(is_pci ? (uint8_t)pci_get(PCI_LINE) : gsi, handler);
        return;
    }
    entry = bar(pci_get(cap + 4)); /* the first of the table */
    mmio_write32(entry, MESSAGE_AT | lapic_id() << 12);
    mmio_write32(entry + 4, 0);
    mmio_write32(entry + 8, interrupts_vector(handler));
    mmio_write32(entry + 12, 0);
    pci_set(cap, (uint32_t)MSIX_ENABLE << 16);
    set(common + QUEUE_VECTOR, 2, 0);
}

/* Over PCI: one of the structures, or the capability that reaches into them. */
static uint64_t pick(uint64_t random)
{
    const uint64_t structures[] = {common, common, isr, config != 0 ? config : common};

    return structures[random >> 4 & 3] + (random >> 8 & STRUCTURE_MASK);
}

void virtio_write_anywhere(uint64_t random, uint32_t value)
{
    if (!is_pci) {
        mmio_write32(base + (random >> 8 & MMIO_REGISTERS), value);
    } else if (ports != 0 && (random >> 24 & 3) == 0) {
        outl((uint16_t)(ports + (random >> 8 & PORTS_MASK)), value);
    } else if (ports != 0 && (random >> 24 & 3) == 1) { /* where a queue is: 4.1.4.10 */
        outl((uint16_t)(ports + 8), value % 0x20 == 0 ? value : VIRTIO_PAGE + value % 0x20);
    } else if ((random >> 20 & 3) == 0) {
        pci_set(access_cap + 4 + (random >> 8 & 0xc), value);
    } else if ((random >> 20 & 3) == 1) {
        set(notify + (random >> 8 & STRUCTURE_MASK), 2, value);
    } else {
        set(pick(random), 1U << (random >> 22 & 3) & 7U, value);
    }
}

void virtio_read_anywhere(uint64_t random)
{
    if (!is_pci) {
        (void)mmio_read32(base + (random >> 8 & MMIO_REGISTERS));
    } else if (ports != 0 && (random >> 24 & 3) == 0) {
        (void)inl((uint16_t)(ports + (random >> 8 & PORTS_MASK)));
    } else if ((random >> 20 & 3) == 0) {
        (void)pci_get(access_cap + (random >> 8 & 0x1c));
    } else {
        (void)get(pick(random), 1U << (random >> 22 & 3) & 7U);
    }
}
