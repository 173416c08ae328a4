#include "tests/guests/bare/pci.h"

#include "tests/guests/bare/chips.h"
#include "tests/guests/bare/console.h"
#include "tests/guests/bare/interrupts.h"
#include "tests/guests/bare/machine.h"
#include "tests/guests/bare/memory.h"
#include "tests/guests/bare/text.h"

enum { PORT_ADDRESS = 0xcf8, PORT_DATA = 0xcfc };
enum { REG_IDS = 0, REG_CLASS = 8, REG_HEADER = 0x0e, REG_BAR = 0x10 };
enum { REG_BUSES = 0x18, REG_CAPABILITIES = 0x34, REG_LINE = 0x3c, REG_ECAM = 0x60 };
enum { CAP_MSIX = 0x11 };
enum { MSI_MASKS = 0x100, MSI_DATA = 12, BARS = 6 };
enum { MSIX_ENABLE = 0x8000, DEVICES = 32, FUNCTIONS = 8, BUS_MAX = 255, PATIENCE_TICKS = 2000 };
enum { TEST_LINE = 0, TEST_VECTOR = 4, TEST_EVENT = 16, TEST_RAISE = 20, VECTOR = 0 };

#define ENABLE        0x80000000U
#define NOBODY        0xffffffffU
#define HEADER_MANY   0x80
#define HEADER_TYPE   0x7f
#define HEADER_BRIDGE 1
#define BAR_TYPE      0xfU

/* Where a storm puts BARs. */
#define BARS_START      0xc0000000U
#define BARS_END        0xe0000000U
#define BARS_OF_DEVICE  0x100000U /* for each bdf of bus 0 */
#define BAR_STEP        0x10000U
#define MESSAGE_MODES   0x700U /* NMI, INIT and others */
#define VECTOR_HARMLESS 0x40U

static volatile uint64_t interrupt_count;
static uint64_t line_register;

static void select(uint16_t bdf, uint32_t at)
{
    outl(PORT_ADDRESS, ENABLE | (uint32_t)bdf << 8 | (at & 0xfc));
}

uint32_t pci_config_read(uint16_t bdf, uint32_t at)
{
    select(bdf, at);
    return inl(PORT_DATA);
}

void pci_config_write(uint16_t bdf, uint32_t at, uint32_t value)
{
    select(bdf, at);
    outl(PORT_DATA, value);
}

static void tell(uint16_t bdf, uint64_t ecam)
{
    uint32_t ids = pci_config_read(bdf, REG_IDS);
    uint32_t class = pci_config_read(bdf, REG_CLASS) >> 8;
    uint32_t again = mmio_read32(ecam + ((uint64_t)bdf << 12) + REG_IDS);

    if (bdf > 0xff) {
        print("pci %u:", (uint64_t)bdf >> 8);
    } else {
        print("pci ");
    }
    print("%u.%u %x:%x class %x line %u%s\n", (uint64_t)bdf >> 3 & 0x1f, (uint64_t)bdf & 7,
          (uint64_t)ids & 0xffff, (uint64_t)ids >> 16, (uint64_t) class,
          (uint64_t)pci_config_read(bdf, REG_LINE) & 0xff, again == ids ? "" : " NOT BY ECAM");
}

static void walk_bus(uint8_t bus, uint64_t ecam)
{
    for (unsigned device = 0; device < DEVICES; device++) {
        uint16_t first = (uint16_t)(bus << 8 | device << 3);
        unsigned count = 1;

        if (pci_config_read(first, REG_IDS) == NOBODY) {
            continue;
        }
        if ((pci_config_read(first, REG_HEADER) >> 16 & HEADER_MANY) != 0) {
            count = FUNCTIONS;
        }
        for (unsigned f = 0; f < count; f++) {
            if (pci_config_read((uint16_t)(first + f), REG_IDS) != NOBODY) {
                tell((uint16_t)(first + f), ecam);
            }
        }
    }
}

/* Bus 0, and those behind its bridges. */
void pci_walk(const char *arguments)
{
    uint64_t ecam = pci_config_read(0, REG_ECAM) & 0xfc000000;

    (void)arguments;
    memory_map_all();
    walk_bus(0, ecam);
    for (unsigned device = 0; device < DEVICES; device++) {
        uint16_t bdf = (uint16_t)(device << 3);

        if (pci_config_read(bdf, REG_IDS) != NOBODY &&
            (pci_config_read(bdf, REG_HEADER) >> 16 & HEADER_TYPE) == HEADER_BRIDGE) {
            walk_bus((uint8_t)(pci_config_read(bdf, REG_BUSES) >> 8), ecam);
        }
    }
}

static void on_message(void)
{
    interrupt_count = interrupt_count + 1;
}

/* Looks whether it is for us, as for every line that may be shared. A KVM that emulates this guest
 * enters a handler once more, now and then, that left for user space: the line is low then. */
static void on_line(void)
{
    if ((mmio_read32(line_register) & 1) != 0) {
        mmio_write32(line_register, 0); /* or it would come again */
        interrupt_count = interrupt_count + 1;
    }
}

/* Whether the interrupt came in time. */
static bool wait_for(uint64_t count)
{
    timer_start();
    for (unsigned i = 0; i < PATIENCE_TICKS && interrupt_count < count; i++) {
        timer_wait(1);
    }
    timer_stop();
    return interrupt_count >= count;
}

uint64_t pci_bar(uint16_t bdf, uint32_t bar)
{
    return pci_config_read(bdf, REG_BAR + 4 * bar) & ~BAR_TYPE;
}

uint32_t pci_find_cap(uint16_t bdf, uint8_t id)
{
    uint32_t at = pci_config_read(bdf, REG_CAPABILITIES) & 0xfc;

    while (at != 0 && (pci_config_read(bdf, at) & 0xff) != id) {
        at = pci_config_read(bdf, at) >> 8 & 0xfc;
    }
    return at;
}

bool pci_parse_device(const char *arguments, unsigned base, uint16_t *bdf, uint64_t *number)
{
    uint64_t bus = 0;
    uint64_t device;
    bool is_told = text_number(arguments, 10, &device, &arguments);

    if (is_told && *arguments == ':') {
        bus = device;
        is_told = text_number(arguments + 1, 10, &device, &arguments);
    }
    if (!is_told || bus > BUS_MAX || device >= DEVICES ||
        !text_number(arguments, base, number, NULL)) {
        print(base == 16 ? "which device, which address (hex)?\n" : "which device, how often?\n");
        return false;
    }
    *bdf = (uint16_t)(bus << 8 | device << 3);
    return true;
}

/* The one that waited, and then so many by writing to `raise`, each when the one before came. */
static void count_messages(const char *name, uint64_t raise, uint64_t count)
{
    uint64_t start;
    unsigned wakes = 0;

    if (!wait_for(1)) {
        print("%s: none came\n", name);
        return;
    }
    timer_start();
    start = cycles();
    for (uint64_t i = 2; i <= count && wakes < PATIENCE_TICKS; i++) {
        mmio_write32(raise, VECTOR);
        interrupts_off();
        for (wakes = 0; interrupt_count < i && wakes < PATIENCE_TICKS; wakes++) {
            interrupts_wait();
        }
        interrupts_on();
    }
    timer_stop();
    print("%s: %u interrupts, %u cycles each\n", name, interrupt_count,
          (cycles() - start) / (count > 1 ? count - 1 : 1));
}

/* Vector VECTOR to this CPU, masked; returns its entry. */
static uint64_t set_msix(uint16_t bdf, uint32_t cap)
{
    uint64_t entry = pci_bar(bdf, pci_config_read(bdf, cap + 4) & 7) + 16 * VECTOR;

    mmio_write32(entry + 12, 1);
    mmio_write32(entry, PCI_MSI_ADDRESS | (uint32_t)lapic_id() << 12);
    mmio_write32(entry + 4, 0);
    mmio_write32(entry + 8, interrupts_vector(on_message));
    pci_config_write(bdf, cap, (uint32_t)MSIX_ENABLE << 16);
    return entry;
}

static void try_msix(const char *name, const char *arguments, uint32_t how)
{
    uint16_t bdf;
    uint32_t cap;
    uint64_t raise;
    uint64_t entry;
    uint64_t count;

    if (!pci_parse_device(arguments, 10, &bdf, &count)) {
        return;
    }
    cap = pci_find_cap(bdf, CAP_MSIX);
    if (cap == 0) {
        print("no MSI-X\n");
        return;
    }
    memory_map_all();
    interrupt_count = 0;
    pci_config_write(bdf, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    raise = pci_bar(bdf, 0) + how;
    entry = set_msix(bdf, cap);
    mmio_write32(entry, 0); /* no local APIC is there: it is lost */
    mmio_write32(entry + 12, 0);
    mmio_write32(raise, VECTOR);
    entry = set_msix(bdf, cap);
    mmio_write32(raise, VECTOR); /* masked: it waits */
    print("%s: %u before it is unmasked\n", name, interrupt_count);
    mmio_write32(entry + 12, 0);
    count_messages(name, raise, count);
}

void pci_msix(const char *arguments)
{
    try_msix("msix", arguments, TEST_VECTOR);
}

void pci_events(const char *arguments)
{
    try_msix("events", arguments, TEST_EVENT);
}

void pci_msi(const char *arguments)
{
    uint16_t bdf;
    uint32_t cap;
    uint32_t other;
    uint64_t raise;
    uint64_t count;

    if (!pci_parse_device(arguments, 10, &bdf, &count)) {
        return;
    }
    cap = pci_find_cap(bdf, PCI_CAP_MSI);
    other = pci_find_cap(bdf, CAP_MSIX);
    if (cap == 0 || (pci_config_read(bdf, cap) >> 16 & MSI_MASKS) == 0) {
        print("no MSI with masks\n");
        return;
    }
    memory_map_all();
    interrupt_count = 0;
    if (other != 0) {
        pci_config_write(bdf, other, 0);
    }
    pci_config_write(bdf, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    raise = pci_bar(bdf, 0) + TEST_VECTOR;
    pci_config_write(bdf, cap + 4, PCI_MSI_ADDRESS | (uint32_t)lapic_id() << 12);
    pci_config_write(bdf, cap + 8, 0);
    pci_config_write(bdf, cap + 12, interrupts_vector(on_message));
    pci_config_write(bdf, cap + 16, 1 << VECTOR);
    pci_config_write(bdf, cap, (uint32_t)PCI_MSI_ENABLE << 16);
    mmio_write32(raise, VECTOR); /* masked: it waits */
    print("msi: %u before it is unmasked, pending 0x%x\n", interrupt_count,
          (uint64_t)pci_config_read(bdf, cap + 20));
    pci_config_write(bdf, cap + 16, 0);
    count_messages("msi", raise, count);
    pci_config_write(bdf, cap, 0);
}

void pci_intx(const char *arguments)
{
    uint16_t bdf;
    uint32_t cap;
    uint64_t count;

    if (!pci_parse_device(arguments, 10, &bdf, &count)) {
        return;
    }
    cap = pci_find_cap(bdf, CAP_MSIX);
    memory_map_all();
    interrupt_count = 0;
    if (cap != 0) {
        pci_config_write(bdf, cap, 0);
    }
    pci_config_write(bdf, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    line_register = pci_bar(bdf, 0) + TEST_LINE;
    interrupts_listen((uint8_t)pci_config_read(bdf, REG_LINE), on_line);
    for (uint64_t i = 1; i <= count; i++) {
        mmio_write32(line_register, 1);
        if (!wait_for(i)) {
            break;
        }
    }
    print("intx: %u interrupts\n", interrupt_count);
}

/* DEVICE COUNT: its INTx, raised from outside; each end of an interrupt is told there. */
void pci_lines(const char *arguments)
{
    uint16_t bdf;
    uint64_t count;
    uint64_t raise;
    uint32_t first;
    uint32_t ends = 0;

    if (!pci_parse_device(arguments, 10, &bdf, &count)) {
        return;
    }
    memory_map_all();
    interrupt_count = 0;
    pci_config_write(bdf, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    raise = pci_bar(bdf, 0) + TEST_RAISE;
    interrupts_listen((uint8_t)pci_config_read(bdf, REG_LINE), on_message);
    first = mmio_read32(raise);
    timer_start();
    for (uint64_t i = 1; i <= count && ends == i - 1; i++) {
        mmio_write32(raise, 1);
        for (unsigned wakes = 0; ends < i && wakes < PATIENCE_TICKS; wakes++) {
            timer_wait(1);
            ends = mmio_read32(raise) - first;
        }
    }
    timer_stop();
    print("lines: %u interrupts, %u ends\n", interrupt_count, (uint64_t)ends);
}

struct target {
    uint16_t bdf;
    uint32_t msi, msix; /* its capabilities; 0: none */
};

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* A message that a storm makes up is none of those that would end the guest itself. */
static uint32_t tame_message(uint32_t data)
{
    return (data & ~MESSAGE_MODES) | VECTOR_HARMLESS;
}

/* Any register of configuration space; with 0xCF8 between, as other vCPUs would leave it. */
static void storm_config(const struct target *target)
{
    uint64_t random = next_random();
    uint32_t at = (uint32_t)(random >> 8 & 0xff);
    uint32_t value = (uint32_t)(random >> 32);

    if (target->msi != 0 && (at & 0xfc) == target->msi + MSI_DATA) {
        pci_config_write(target->bdf, at, tame_message(value));
        return;
    }
    select(target->bdf, at);
    if ((random >> 20 & 1) != 0) {
        outl(PORT_DATA, value);
    } else {
        outb((uint16_t)(PORT_DATA + (at & 3)), (uint8_t)value);
    }
}

/* Back to where a driver could work: each BAR of memory at a place of its own, messages on. */
static void heal(const struct target *target)
{
    uint16_t bdf = target->bdf;

    for (uint32_t bar = 0; bdf != 0 && bar < BARS; bar++) {
        pci_config_write(bdf, REG_BAR + 4 * bar,
                         BARS_START + (uint32_t)bdf * BARS_OF_DEVICE + bar * BAR_STEP);
    }
    pci_config_write(bdf, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    if (target->msix != 0) {
        pci_config_write(bdf, target->msix, (uint32_t)(next_random() & 0xc000) << 16);
    }
}

/* What BARs show, MSI-X's table among it. */
static void storm_bar(uint16_t bdf)
{
    uint64_t random = next_random();
    uint64_t address = pci_bar(bdf, (uint32_t)(random % BARS));
    uint32_t value = tame_message((uint32_t)(random >> 32));

    if (address < BARS_START || address >= BARS_END) {
        return;
    }
    address += random >> 8 & 0x7c;
    if ((random >> 20 & 3) == 0) {
        (void)mmio_read32(address + (random >> 24 & 0x800));
    } else if ((random >> 20 & 3) == 1) {
        mmio_write32(address, value & 3); /* raises, masks */
    } else if ((random >> 20 & 3) == 2) {
        *(volatile uint8_t *)address = (uint8_t)value;
    } else {
        mmio_write32(address, value);
    }
}

void pci_storm(const char *arguments)
{
    static struct target targets[DEVICES];
    unsigned target_count = 0;
    uint64_t count;

    if (!text_number(arguments, 10, &random_state, &arguments) ||
        !text_number(arguments, 10, &count, NULL)) {
        print("which seed, how many?\n");
        return;
    }
    random_state |= 1;
    memory_map_all();
    chips_expect_anything();
    for (unsigned device = 0; device < DEVICES; device++) {
        uint16_t bdf = (uint16_t)(device << 3);

        if (pci_config_read(bdf, REG_IDS) != NOBODY) {
            targets[target_count++] =
                (struct target){bdf, pci_find_cap(bdf, PCI_CAP_MSI), pci_find_cap(bdf, CAP_MSIX)};
        }
    }
    for (uint64_t i = 0; i < count && target_count > 0; i++) {
        const struct target *target = &targets[next_random() % target_count];

        if (i % 32 == 0) {
            heal(target);
        }
        if (next_random() % 2 == 0) {
            storm_config(target);
        } else {
            storm_bar(target->bdf);
        }
    }
    print("storm: %u writes\n", count);
}
