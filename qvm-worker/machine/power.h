/* Sleep, reset, the power button; and the code at the reset vector.
 *
 * Two kinds. Hardware-reduced ACPI (ACPI 6.5, 4.8.3.7) has ports of the machine's own. Full ACPI
 * has the fixed hardware of pm.h, at ports that the bridge to ISA says, and the reset control
 * register of the PCI host bridge. A guest that jumps to the reset vector (Linux does, without
 * firmware to ask) finds a few bytes there that write the reset port. */
#ifndef QVM_WORKER_MACHINE_POWER_H
#define QVM_WORKER_MACHINE_POWER_H

#include <stdbool.h>
#include <stdint.h>

struct bus;
struct err;
struct memory;
struct power;

#define POWER_SLEEP_CONTROL 0x600u
#define POWER_SLEEP_STATUS  0x601u
#define POWER_RESET         0x602u
#define POWER_EVENT         0x604u /* read: what happened since the last read, bit 0 the button */
#define POWER_RESET_VALUE   1u
#define POWER_GSI           9u

/* Of full ACPI: the reset control register. */
#define POWER_FULL_RESET       0xcf9u
#define POWER_FULL_RESET_VALUE 6u

/* What the guest asked for; on the vCPU's thread. */
struct power_ops {
    void (*off)(void *context);
    void (*reset)(void *context);
    void (*pulse)(void *context, uint32_t gsi); /* an edge on this line; control thread */
    void (*line)(void *context, uint32_t gsi, bool is_held); /* of full ACPI */
};

int power_create(struct bus *bus, const struct power_ops *ops, void *context, bool is_full,
                 struct power **power, struct err *err);
void power_destroy(struct power *power);

/* Full ACPI: where the fixed hardware answers; 0: nowhere. Hardware-reduced: nothing. */
void power_place(struct power *power, uint16_t base);

/* Press the button. Any thread. */
void power_press(struct power *power);

/* Readable when power_tick is due, on the control thread; -1: it never is. */
int power_timer_fd(const struct power *power);
void power_tick(struct power *power);

/* The real-time clock interrupts. Any thread. */
void power_ring(struct power *power);

/* Power-on: nothing happened yet. */
void power_reset(struct power *power);

/* The code at the reset vector. */
void power_write_vector(const struct power *power, const struct memory *memory);

#endif
