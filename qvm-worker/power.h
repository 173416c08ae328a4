/* The machine's own ports: sleep, reset, the power button; and the code at the reset vector.
 *
 * Hardware-reduced ACPI, section 4.8.3.7 of ACPI 6.5. A guest that jumps to the reset vector (Linux
 * does, without firmware to ask) finds a few bytes there that write the reset port. */
#ifndef QVM_WORKER_POWER_H
#define QVM_WORKER_POWER_H

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

/* What the guest asked for; on the vCPU's thread. */
struct power_ops {
    void (*off)(void *context);
    void (*reset)(void *context);
    void (*pulse)(void *context, uint32_t gsi); /* an edge on this line; control thread */
};

int power_create(struct bus *bus, const struct power_ops *ops, void *context, struct power **power,
                 struct err *err);
void power_destroy(struct power *power);

/* Press the button. Any thread. */
void power_press(struct power *power);

/* Power-on: nothing happened yet. */
void power_reset(struct power *power);

/* The code at the reset vector. */
void power_write_vector(const struct memory *memory);

#endif
