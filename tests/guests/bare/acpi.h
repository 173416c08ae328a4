/* The few things that the guest wants of ACPI: how to power off and reset, and which CPUs there
 * are. Source: ACPI 6.5, 5.2.5 (RSDP) to 5.2.12 (MADT) and 4.8.3.7 (sleep control register). */
#ifndef QVM_TESTS_GUESTS_BARE_ACPI_H
#define QVM_TESTS_GUESTS_BARE_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#define ACPI_CPUS_MAX 1024

/* Read the tables. `rsdp`: where the root pointer lies; 0: look in 0xe0000-0xfffff. Tables that are
 * not there leave the defaults: no registers, no CPUs, LAPIC and IOAPIC where a PC has them. */
void acpi_init(uint64_t rsdp);

uint64_t acpi_lapic(void);
uint64_t acpi_ioapic(void);
uint8_t acpi_timer_pin(void); /* of the IOAPIC, where line 0 leads */

/* Enabled CPUs in the MADT, and the LAPIC id of the i-th of them. */
unsigned acpi_cpu_count(void);
uint32_t acpi_cpu_apic_id(unsigned i);

/* The port of the fixed event registers (4.8.4.1: status, enable); 0: hardware-reduced ACPI, or
 * none.
 */
uint16_t acpi_fixed_event(void);

/* Does not come back; or false if there is no such register. The machine may take a moment. */
bool acpi_poweroff(void);
bool acpi_reset(void);

/* Tell every table with its checksum, and what was found in them. */
void acpi_print(void);

#endif
