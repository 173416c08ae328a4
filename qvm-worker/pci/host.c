/* The host bridge, function 0 of device 0: that of Intel's 3 series chipsets, whose place of ECAM
 * and whose shadow RAM every PC firmware can set. Registers: Intel 3 Series Express Chipset Family
 * datasheet (316966), chapter 5.1. */
#include <string.h>

#include "qvm-worker/loc.h"
#include "qvm-worker/pci/pci_private.h"

#define VENDOR_INTEL 0x8086u
#define DEVICE_MCH   0x29c0u
#define CLASS_HOST   0x060000u
#define REVISION     2u

#define PCIEXBAR          0x60u /* 64 bits */
#define PCIEXBAR_ENABLE   0x1u
#define PCIEXBAR_LENGTH   0x6u
#define PCIEXBAR_WRITABLE 0xfc000007u
#define PCIEXBAR_HIGH     0x0000000fu /* 36 bits of address */
#define PAM0              0x90u
#define PAM0_WRITABLE     0x30u /* its low half is reserved */
#define PAM_WRITABLE      0x33u
#define SMRAM             0x9du
#define SMRAM_POWER_ON    0x02u /* the segment at 0xA0000; there is no system management mode */

#define MIB (1ull << 20)

static void place_ecam(struct pci *pci, const struct pci_space *space)
{
    uint32_t low = pci_space_get(space, PCIEXBAR, 4);
    uint64_t address = (uint64_t)pci_space_get(space, PCIEXBAR + 4, 4) << 32 | low;
    uint64_t size = 256 * MIB >> ((low & PCIEXBAR_LENGTH) >> 1);
    bool is_on = (low & PCIEXBAR_ENABLE) != 0 && (low & PCIEXBAR_LENGTH) != PCIEXBAR_LENGTH;

    pci_place_ecam(pci, address & ~(size - 1), is_on ? size : 0);
}

static void on_written(void *context, uint32_t at, uint32_t size)
{
    struct pci *pci = context;
    const struct pci_space *space = &pci->root.functions[0]->space;

    if (at < PCIEXBAR + 8 && at + size > PCIEXBAR) {
        place_ecam(pci, space);
    }
    if (at < PAM0 + PCI_PAM_COUNT && at + size > PAM0 && pci->config.ops->pam != NULL) {
        pci->config.ops->pam(pci->config.context, &space->bytes[PAM0]);
    }
}

static void set_registers(const struct pci *pci, struct pci_space *space)
{
    uint32_t enable = pci->config.has_firmware ? 0 : PCIEXBAR_ENABLE;

    pci_space_set(space, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    pci_space_allow(space, PCI_COMMAND, PCI_COMMAND_SERR, 2);
    pci_space_set(space, PCIEXBAR, (uint32_t)PCI_ECAM_START | enable, 4);
    pci_space_allow(space, PCIEXBAR, PCIEXBAR_WRITABLE, 4);
    pci_space_allow(space, PCIEXBAR + 4, PCIEXBAR_HIGH, 4);
    pci_space_allow(space, PAM0, PAM0_WRITABLE, 1);
    for (uint32_t i = 1; i < PCI_PAM_COUNT; i++) {
        pci_space_allow(space, PAM0 + i, PAM_WRITABLE, 1);
    }
    pci_space_set(space, SMRAM, SMRAM_POWER_ON, 1);
}

int pci_add_host(struct pci *pci, struct err *err)
{
    static const struct pci_function_ops ops = {.written = on_written};
    static const struct loc_pci loc = {.has_device = true};
    const struct pci_function_config config = {.name = "the PCI host bridge",
                                               .vendor = VENDOR_INTEL,
                                               .device = DEVICE_MCH,
                                               .class_code = CLASS_HOST,
                                               .revision = REVISION,
                                               .ops = &ops,
                                               .context = pci};
    struct pci_function *function;
    int r = pci_add(pci, &loc, &config, &function, err);

    if (r == 0) {
        set_registers(pci, &function->space);
    }
    return r;
}
