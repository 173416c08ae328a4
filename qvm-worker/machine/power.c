/* Sleep, reset, the power button. */
#include "qvm-worker/machine/power.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/machine/pm.h"
#include "qvm-worker/memory/memory.h"

#define EVENT_BUTTON   1u
#define SLEEP_ENABLE   0x20u
#define SLEEP_TYPE(v)  (((v) >> 2) & 7u)
#define SLEEP_TYPE_OFF 5u
#define SLEEP_AWAKE    0x80u /* the guest polls it after it wrote sleep control */
#define NS_PER_S       1000000000u

enum port { PORT_SLEEP, PORT_RESET, PORT_EVENT };

struct power {
    struct power_ops ops;
    void *context;
    atomic_uint events;
    struct pm *pm; /* of full ACPI; NULL: hardware-reduced */
    int timer_fd;  /* of pm; -1: none */
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

static uint64_t now_ns(void *context)
{
    struct timespec now;

    (void)context;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void on_pm_off(void *context)
{
    const struct power *power = context;

    power->ops.off(power->context);
}

static void on_pm_line(void *context, uint32_t gsi, bool is_held)
{
    const struct power *power = context;

    power->ops.line(power->context, gsi, is_held);
}

static void on_pm_timer(void *context, uint64_t deadline_ns)
{
    const struct power *power = context;
    const struct itimerspec when = {.it_value = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                                                 .tv_nsec = (long)(deadline_ns % NS_PER_S)}};

    (void)timerfd_settime(power->timer_fd, TFD_TIMER_ABSTIME, &when, NULL); /* cannot fail */
}

static int create_pm(struct bus *bus, struct power *power, struct err *err)
{
    static const struct pm_ops ops = {
        .off = on_pm_off, .line = on_pm_line, .now_ns = now_ns, .timer = on_pm_timer};

    power->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (power->timer_fd < 0) {
        return err_sys(err, -errno, "cannot make a timer");
    }
    power->pm = pm_create(bus, &ops, power);
    return power->pm != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int add_ports(struct bus *bus, struct power *power, struct err *err)
{
    int r = bus_add(bus, BUS_IO, POWER_SLEEP_CONTROL, 2, on_access, power, PORT_SLEEP,
                    "the sleep registers", err);

    if (r == 0) {
        r = bus_add(bus, BUS_IO, POWER_RESET, 1, on_access, power, PORT_RESET, "the reset register",
                    err);
    }
    if (r == 0) {
        r = bus_add(bus, BUS_IO, POWER_EVENT, 1, on_access, power, PORT_EVENT, "the event register",
                    err);
    }
    return r;
}

int power_create(struct bus *bus, const struct power_ops *ops, void *context, bool is_full,
                 struct power **power, struct err *err)
{
    struct power *new = calloc(1, sizeof(*new));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->ops = *ops;
    new->context = context;
    new->timer_fd = -1;
    atomic_init(&new->events, 0);
    r = is_full ? create_pm(bus, new, err) : add_ports(bus, new, err);
    if (r != 0) {
        power_destroy(new);
        return r;
    }
    *power = new;
    return 0;
}

void power_destroy(struct power *power)
{
    if (power != NULL) {
        pm_destroy(power->pm);
        cleanup_close(&power->timer_fd);
        free(power);
    }
}

void power_place(struct power *power, uint16_t base)
{
    if (power->pm != NULL) {
        pm_place(power->pm, base);
    }
}

void power_press(struct power *power)
{
    if (power->pm != NULL) {
        pm_press(power->pm);
        return;
    }
    (void)atomic_fetch_or(&power->events, EVENT_BUTTON);
    power->ops.pulse(power->context, POWER_GSI);
}

void power_ring(struct power *power)
{
    if (power->pm != NULL) {
        pm_ring(power->pm);
    }
}

int power_timer_fd(const struct power *power)
{
    return power->timer_fd;
}

void power_tick(struct power *power)
{
    uint64_t count;

    if (power->timer_fd >= 0 && read(power->timer_fd, &count, sizeof(count)) > 0) {
        pm_tick(power->pm);
    }
}

void power_reset(struct power *power)
{
    atomic_store(&power->events, 0);
    if (power->pm != NULL) {
        pm_reset(power->pm);
    }
}

void power_write_vector(const struct power *power, const struct memory *memory)
{
    uint16_t port = power->pm != NULL ? POWER_FULL_RESET : POWER_RESET;
    uint8_t value = power->pm != NULL ? POWER_FULL_RESET_VALUE : POWER_RESET_VALUE;
    /* mov al,VALUE; mov dl,LOW; mov dh,HIGH; out dx,al; 1: hlt; jmp 1b
     * The bytes mean the same in real mode, where Linux comes from, and in any other. */
    const uint8_t code[] = {0xb0, value, 0xb2, (uint8_t)port, 0xb6, (uint8_t)(port >> 8),
                            0xee, 0xf4,  0xeb, 0xfd};

    (void)memory_copy_in(memory, gpa(LOADER_RESET_VECTOR), code, sizeof(code)); /* always there */
}
