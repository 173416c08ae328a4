/* Segments, exceptions and interrupts of the boot CPU: COM1 (GSI 4), power button, LAPIC timer. */
#ifndef QVM_TESTS_GUESTS_BARE_INTERRUPTS_H
#define QVM_TESTS_GUESTS_BARE_INTERRUPTS_H

#include <stdint.h>

#define BUTTON_GSI  9     /* unless the command line has button=GSI:PORT */
#define BUTTON_PORT 0x604 /* event byte of the generic event device, cleared by reading it */

/* Tables loaded, PIC masked, LAPIC and IOAPIC set up, interrupts still off. Needs acpi_init() and
 * mapped LAPIC and IOAPIC. `button_gsi` below 24. */
void interrupts_init(uint8_t button_gsi, uint16_t button_port);

/* Obey a power button that was pressed before its interrupt could come. */
void interrupts_check_button(void);

/* Ticks of the LAPIC timer since it was started: one a millisecond where the bus runs at 1 GHz, as
 * KVM's does. */
void timer_start(void);
void timer_stop(void);

/* Sleep until `count` ticks came, the timer running. */
void timer_wait(uint64_t count);

/* The LAPIC's id of the CPU that asks. */
uint8_t lapic_id(void);

/* Send an inter-processor interrupt: `command` is the low half of the LAPIC's ICR. */
void lapic_send(uint8_t apic_id, uint32_t command);

#endif
