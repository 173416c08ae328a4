/* PCI as the guest sees it: the bus, a device's interrupts, nonsense in its configuration. Commands
 * with their arguments. Source: PCI Local Bus Specification 3.0, 3.2.2.3 and chapter 6. */
#ifndef QVM_TESTS_GUESTS_BARE_PCI_H
#define QVM_TESTS_GUESTS_BARE_PCI_H

#include <stdbool.h>
#include <stdint.h>

enum { PCI_COMMAND = 4, PCI_COMMAND_MEMORY_MASTER = 6, PCI_CAP_MSI = 0x05, PCI_MSI_ENABLE = 1 };
#define PCI_MSI_ADDRESS 0xfee00000U /* with the LAPIC's id at bit 12 */

/* Registers, whole double words; `bdf` is bus << 8 | device << 3 | function. */
uint32_t pci_config_read(uint16_t bdf, uint32_t at);
void pci_config_write(uint16_t bdf, uint32_t at, uint32_t value);

/* Where a capability is, or 0; where a BAR of memory is. */
uint32_t pci_find_cap(uint16_t bdf, uint8_t id);
uint64_t pci_bar(uint16_t bdf, uint32_t bar);

/* [BUS:]DEVICE NUMBER, the number to base 10 or 16; false: it was told that this is wrong. */
bool pci_parse_device(const char *arguments, unsigned base, uint16_t *bdf, uint64_t *number);

/* Tell every function of bus 0: "pci D.F VENDOR:DEVICE class C line L", by the ports and by ECAM,
 * which have to agree. */
void pci_walk(const char *arguments);

/* DEVICE COUNT: as many interrupts of a device that has the registers of pci-dummy with `test on`,
 * one after the other, by MSI-X or by its level-triggered line. "msix: N interrupts". */
void pci_msix(const char *arguments);
void pci_msi(const char *arguments);
void pci_events(const char *arguments);
void pci_lines(const char *arguments);
void pci_intx(const char *arguments);

/* SEED COUNT: as many writes of random values to random registers of all that is on bus 0. */
void pci_storm(const char *arguments);

#endif
