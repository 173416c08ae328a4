/* Segments, exceptions and interrupts of the boot CPU: COM1 (GSI 4), power button, LAPIC timer. */
#ifndef QVM_TESTS_GUESTS_BARE_INTERRUPTS_H
#define QVM_TESTS_GUESTS_BARE_INTERRUPTS_H

#include <stdint.h>

#define BUTTON_GSI  9     /* unless the command line has button=GSI:PORT */
#define BUTTON_PORT 0x604 /* event byte of the generic event device, cleared by reading it */

/* Tables loaded, PIC masked, LAPIC and IOAPIC set up, interrupts still off. Needs acpi_init() and
 * mapped LAPIC and IOAPIC. `button_gsi` below 24. */
void interrupts_init(uint8_t button_gsi, uint16_t button_port);

/* The IOAPIC's entries as interrupts_init leaves them. */
void interrupts_restore(void);

/* A handler, with the attribute `interrupt`; an entry of the IOAPIC, to this CPU. */
void interrupts_set(uint8_t vector, uint64_t handler);
void interrupts_route(uint8_t pin, uint32_t entry);

/* Obey a power button that was pressed before its interrupt could come. */
void interrupts_check_button(void);

/* Call `handler` at interrupts of `gsi`, level triggered, active high; one GSI at a time. It must
 * make the line fall. */
void interrupts_listen(uint8_t gsi, void (*handler)(void));

/* The vector for which `handler` is called, for a message to name it; instead of that of a GSI. */
uint8_t interrupts_vector(void (*handler)(void));

/* Ticks of the LAPIC timer since it was started: one a millisecond where the bus runs at 1 GHz, as
 * KVM's does. */
void timer_start(void);
void timer_stop(void);

/* Sleep until `count` ticks came, the timer running. */
void timer_wait(uint64_t count);

/* The LAPIC's id of the CPU that asks. */
uint32_t lapic_id(void);

/* Send an inter-processor interrupt: `command` is the low half of the LAPIC's ICR. */
void lapic_send(uint32_t apic_id, uint32_t command);

/* Talk to this CPU's LAPIC through its model-specific registers from now on: ids have 32 bits then
 * (Intel SDM 3A, 11.12). */
void lapic_use_long_ids(void);

#endif
