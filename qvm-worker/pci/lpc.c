/* The bridge to what is not on PCI, function 0 of device 31, as of Intel's ICH9: where power
 * management is, and which lines of the 8259 PCI's interrupts drive. Registers: Intel I/O
 * Controller Hub 9 datasheet (316972), chapter 13.1. It is there for firmware and for guests that
 * expect all of a PC. */
#include "qvm-worker/loc.h"
#include "qvm-worker/pci/pci_private.h"

#define LPC_DEVICE   31u
#define VENDOR_INTEL 0x8086u
#define DEVICE_LPC   0x2918u
#define CLASS_ISA    0x060100u
#define REVISION     2u

#define PMBASE          0x40u
#define PMBASE_IS_PORT  0x00000001u
#define PMBASE_WRITABLE 0x0000ff80u
#define ACPI_CNTL       0x44u
#define ACPI_CNTL_ON    0x80u
#define PIRQA_ROUTE     0x60u
#define PIRQE_ROUTE     0x68u
#define ROUTE_OFF       0x80u
#define ROUTE_WRITABLE  0x8fu
#define ROUTE_LINE      0x0fu
#define ROUTES_POSSIBLE 0xdef8u /* lines 3-7, 9-12, 14, 15 */

static uint32_t route_register(uint32_t pirq)
{
    return pirq < PCI_PINS ? PIRQA_ROUTE + pirq : PIRQE_ROUTE + pirq - PCI_PINS;
}

static void place_pm(const struct pci *pci, const struct pci_space *space)
{
    uint32_t base = pci_space_get(space, PMBASE, 4) & PMBASE_WRITABLE;
    bool is_on = (pci_space_get(space, ACPI_CNTL, 1) & ACPI_CNTL_ON) != 0;

    pci->config.ops->pm_base(pci->config.context, is_on ? (uint16_t)base : 0);
}

static void on_written(void *context, uint32_t at, uint32_t size)
{
    struct pci *pci = context;
    const struct pci_space *space = &pci->root.functions[PCI_DEVFN(LPC_DEVICE, 0)]->space;

    if (at <= ACPI_CNTL && at + size > PMBASE) {
        place_pm(pci, space);
    }
    for (uint32_t i = 0; i < PCI_PIRQS; i++) {
        uint32_t route = pci_space_get(space, route_register(i), 1);
        uint32_t line = route & ROUTE_LINE;
        bool is_on = (route & ROUTE_OFF) == 0 && (ROUTES_POSSIBLE >> line & 1) != 0;

        pci_route_pirq(pci, i, is_on ? (uint8_t)line : PCI_NO_ROUTE);
    }
}

static void set_registers(const struct pci *pci, struct pci_space *space)
{
    bool has_firmware = pci->config.has_firmware;

    pci_space_set(space, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    pci_space_set(space, PMBASE, PMBASE_IS_PORT | (has_firmware ? 0 : PCI_PM_BASE), 4);
    pci_space_allow(space, PMBASE, PMBASE_WRITABLE, 4);
    pci_space_set(space, ACPI_CNTL, has_firmware ? 0 : ACPI_CNTL_ON, 1);
    pci_space_allow(space, ACPI_CNTL, ACPI_CNTL_ON, 1);
    for (uint32_t i = 0; i < PCI_PIRQS; i++) {
        pci_space_set(space, route_register(i), ROUTE_OFF, 1);
        pci_space_allow(space, route_register(i), ROUTE_WRITABLE, 1);
    }
}

int pci_add_lpc(struct pci *pci, struct err *err)
{
    static const struct pci_function_ops ops = {.written = on_written};
    static const struct loc_pci loc = {.has_device = true, .device = LPC_DEVICE};
    const struct pci_function_config config = {.name = "the bridge to ISA",
                                               .vendor = VENDOR_INTEL,
                                               .device = DEVICE_LPC,
                                               .class_code = CLASS_ISA,
                                               .revision = REVISION,
                                               .ops = &ops,
                                               .context = pci};
    struct pci_function *function;
    int r = pci_add(pci, &loc, &config, &function, err);

    if (r == 0) {
        set_registers(pci, &function->space);
        /* Before devices come, so that it is they who are refused there, also where firmware will
         * name the place only later. */
        pci->config.ops->pm_base(pci->config.context, PCI_PM_BASE);
    }
    return r;
}
