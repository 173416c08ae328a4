/* The machine's own ports. */
#include "qvm-worker/power.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "proto/base/err.h"
#include "qvm-worker/bus.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/memory.h"

#define EVENT_BUTTON   1u
#define SLEEP_ENABLE   0x20u
#define SLEEP_TYPE(v)  (((v) >> 2) & 7u)
#define SLEEP_TYPE_OFF 5u
#define SLEEP_AWAKE    0x80u /* the guest polls it after it wrote sleep control */

enum port { PORT_SLEEP, PORT_RESET, PORT_EVENT };

struct power {
    struct power_ops ops;
    void *context;
    atomic_uint events;
};

static uint64_t read_port(struct power *power, uint32_t region, uint64_t offset)
{
    if (region == PORT_EVENT) {
        return atomic_exchange(&power->events, 0);
    }
    return region == PORT_SLEEP && offset != 0 ? SLEEP_AWAKE : 0;
}

static void write_port(struct power *power, uint32_t region, uint64_t offset, uint64_t value)
{
    if (region == PORT_RESET && (value & 0xff) == POWER_RESET_VALUE) {
        power->ops.reset(power->context);
    } else if (region == PORT_SLEEP && offset == 0 && (value & SLEEP_ENABLE) != 0 &&
               SLEEP_TYPE(value) == SLEEP_TYPE_OFF) {
        power->ops.off(power->context);
    }
}

static void on_access(void *device, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write)
{
    (void)size; /* the registers have one byte; a wider access means the first */
    if (is_write) {
        write_port(device, region, offset, *value);
    } else {
        *value = read_port(device, region, offset);
    }
}

int power_create(struct bus *bus, const struct power_ops *ops, void *context, struct power **power,
                 struct err *err)
{
    struct power *new = calloc(1, sizeof(*new));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->ops = *ops;
    new->context = context;
    atomic_init(&new->events, 0);
    r = bus_add(bus, BUS_IO, POWER_SLEEP_CONTROL, 2, on_access, new, PORT_SLEEP,
                "the sleep registers", err);
    if (r == 0) {
        r = bus_add(bus, BUS_IO, POWER_RESET, 1, on_access, new, PORT_RESET, "the reset register",
                    err);
    }
    if (r == 0) {
        r = bus_add(bus, BUS_IO, POWER_EVENT, 1, on_access, new, PORT_EVENT, "the event register",
                    err);
    }
    if (r != 0) {
        free(new);
        return r;
    }
    *power = new;
    return 0;
}

void power_destroy(struct power *power)
{
    free(power);
}

void power_press(struct power *power)
{
    (void)atomic_fetch_or(&power->events, EVENT_BUTTON);
    power->ops.pulse(power->context, POWER_GSI);
}

void power_reset(struct power *power)
{
    atomic_store(&power->events, 0);
}

void power_write_vector(const struct memory *memory)
{
    /* mov al,POWER_RESET_VALUE; mov dl,LOW; mov dh,HIGH; out dx,al; 1: hlt; jmp 1b
     * The bytes mean the same in real mode, where Linux comes from, and in any other. */
    static const uint8_t code[] = {
        0xb0, POWER_RESET_VALUE, 0xb2, POWER_RESET & 0xff, 0xb6, POWER_RESET >> 8, 0xee, 0xf4, 0xeb,
        0xfd};

    (void)memory_copy_in(memory, gpa(LOADER_RESET_VECTOR), code, sizeof(code)); /* always there */
}
