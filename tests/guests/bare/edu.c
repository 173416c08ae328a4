#include "tests/guests/bare/edu.h"

#include "tests/guests/bare/console.h"
#include "tests/guests/bare/interrupts.h"
#include "tests/guests/bare/machine.h"
#include "tests/guests/bare/memory.h"
#include "tests/guests/bare/pci.h"
#include "tests/guests/bare/text.h"

enum { REG_ID = 0x00, REG_STATUS = 0x24, REG_RAISE = 0x60, REG_ACKNOWLEDGE = 0x64 };
enum { DMA_FROM = 0x80, DMA_TO = 0x88, DMA_COUNT = 0x90, DMA_COMMAND = 0x98 };
enum { DMA_GO = 1, DMA_TO_RAM = 2, BUFFER = 0x40000, BYTES = 16, PATIENCE_TICKS = 20000 };

#define ID 0x010000edU

static volatile uint64_t message_count;
static uint64_t bar;

static void on_message(void)
{
    mmio_write32(bar + REG_ACKNOWLEDGE, mmio_read32(bar + REG_STATUS));
    message_count = message_count + 1;
}

static bool find(const char *arguments, unsigned base, uint16_t *bdf, uint64_t *number)
{
    if (!pci_parse_device(arguments, base, bdf, number)) {
        return false;
    }
    memory_map_all();
    pci_config_write(*bdf, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    bar = pci_bar(*bdf, 0);
    if (mmio_read32(bar + REG_ID) != ID) {
        print("edu: there is none\n");
        return false;
    }
    return true;
}

void edu_messages(const char *arguments)
{
    uint16_t bdf;
    uint64_t count;
    uint32_t cap;

    if (!find(arguments, 10, &bdf, &count)) {
        return;
    }
    cap = pci_find_cap(bdf, PCI_CAP_MSI);
    if (cap == 0) {
        print("edu: no MSI\n");
        return;
    }
    message_count = 0;
    pci_config_write(bdf, cap + 4, PCI_MSI_ADDRESS | (uint32_t)lapic_id() << 12);
    pci_config_write(bdf, cap + 8, 0);
    pci_config_write(bdf, cap + 12, interrupts_vector(on_message));
    pci_config_write(bdf, cap, (uint32_t)PCI_MSI_ENABLE << 16);
    timer_start();
    for (uint64_t i = 1; i <= count; i++) {
        mmio_write32(bar + REG_RAISE, 1);
        for (unsigned ticks = 0; message_count < i && ticks < PATIENCE_TICKS; ticks++) {
            timer_wait(1);
        }
    }
    timer_stop();
    pci_config_write(bdf, cap, 0);
    print("edu: %u messages\n", message_count);
}

/* Whether it was done in time. */
static bool copy(uint64_t from, uint64_t to, uint32_t how)
{
    unsigned ticks = 0;

    mmio_write32(bar + DMA_FROM, (uint32_t)from);
    mmio_write32(bar + DMA_TO, (uint32_t)to);
    mmio_write32(bar + DMA_COUNT, BYTES);
    mmio_write32(bar + DMA_COMMAND, DMA_GO | how);
    timer_start();
    while ((mmio_read32(bar + DMA_COMMAND) & DMA_GO) != 0 && ticks < PATIENCE_TICKS) {
        timer_wait(1);
        ticks++;
    }
    timer_stop();
    return ticks < PATIENCE_TICKS;
}

static bool is_there(uint64_t address, const uint32_t *words)
{
    for (unsigned i = 0; i < BYTES / sizeof(*words); i++) {
        if (mmio_read32(address + i * sizeof(*words)) != words[i]) {
            return false;
        }
    }
    return true;
}

void edu_dma(const char *arguments)
{
    static const uint32_t words[BYTES / 4] = {0x11223344, 0x55667788, 0x99aabbcc, 0xddeeff00};
    uint16_t bdf;
    uint64_t address;

    if (!find(arguments, 16, &bdf, &address)) {
        return;
    }
    if (!copy((uintptr_t)words, BUFFER, 0) || !copy(BUFFER, address, DMA_TO_RAM)) {
        print("edu: it is not done\n");
    } else if (address >= memory_ram_kib() * 1024) {
        print("edu: it says that it did\n");
    } else {
        print(is_there(address, words) ? "edu: 16 bytes there\n" : "edu: NOT THERE\n");
    }
}
