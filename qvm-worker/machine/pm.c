/* ACPI's fixed hardware. */
#include "qvm-worker/machine/pm.h"

#include <pthread.h>
#include <stdlib.h>

#include "qvm-worker/bus/bus.h"

#define STATUS_TIMER  0x0001u /* ACPI 6.5, 4.8.4.1.1 */
#define STATUS_BUTTON 0x0100u
#define STATUS_CLOCK  0x0400u
#define STATUS_ALL    0x8721u /* those that are there; writing 1 clears */
#define ENABLE_ALL    0x0721u
#define ENABLE_CLOCK  0x0400u
#define ENABLE_BUTTON 0x0100u
#define ENABLE_TIMER  0x0001u

#define CONTROL_SCI      0x0001u /* 4.8.4.2: in ACPI mode, always */
#define CONTROL_ALL      0x1c03u
#define CONTROL_SLEEP    0x2000u /* reads 0 */
#define CONTROL_TYPE(v)  ((v) >> 10 & 7u)
#define SLEEP_OFF_EDK    0u /* S5 by EDK II, which does not read the DSDT */
#define TIMER_BITS       0xffffffu
#define TIMER_HALF_SHIFT 23u
#define GPE_HALF         (PM_GPE0_SIZE / 2)

/* ICH9 13.8.3.7: firmware that finds the trap of the APM port enabled takes system management mode
 * for set up, and leaves it alone. */
#define SMI_ENABLE      0x30u
#define SMI_ENABLE_APMC 0x20u

#define NS_PER_S 1000000000ull

struct pm {
    struct bus *bus;
    struct pm_ops ops;
    void *context;
    uint16_t base; /* 0: nowhere */
    pthread_mutex_t lock;
    uint32_t status, enable, control;
    uint64_t carry; /* of the timer, when its status was cleared last */
    uint8_t gpe[PM_GPE0_SIZE];
    bool is_held;  /* the interrupt */
    bool is_armed; /* the timer's carry will be told */
};

/* 4.8.3.3: 3.579545 MHz; in parts, so that nothing overflows. */
static uint64_t timer_value(const struct pm *pm)
{
    uint64_t now = pm->ops.now_ns(pm->context);

    return now / NS_PER_S * PM_TIMER_HZ + now % NS_PER_S * PM_TIMER_HZ / NS_PER_S;
}

/* How often the timer's highest bit has changed. */
static uint64_t half(const struct pm *pm)
{
    return timer_value(pm) >> TIMER_HALF_SHIFT;
}

/* The first moment at which `half` is so much. */
static uint64_t half_ns(uint64_t number)
{
    uint64_t ticks = number << TIMER_HALF_SHIFT;

    return ticks / PM_TIMER_HZ * NS_PER_S + ticks % PM_TIMER_HZ * NS_PER_S / PM_TIMER_HZ + 1;
}

/* The status as a guest finds it: the timer's bit is set whenever its highest bit changes. */
static uint32_t status(const struct pm *pm)
{
    return pm->status | (half(pm) != pm->carry ? STATUS_TIMER : 0);
}

static void update_line(struct pm *pm)
{
    uint32_t now = status(pm);
    bool is_held = (now & pm->enable & (ENABLE_CLOCK | ENABLE_BUTTON | ENABLE_TIMER)) != 0;
    bool is_armed = (pm->enable & ~now & ENABLE_TIMER) != 0;

    if (is_armed || pm->is_armed) {
        pm->ops.timer(pm->context, is_armed ? half_ns(pm->carry + 1) : 0);
        pm->is_armed = is_armed;
    }
    if (is_held != pm->is_held) {
        pm->is_held = is_held;
        pm->ops.line(pm->context, PM_SCI, is_held);
    }
}

struct pm *pm_create(struct bus *bus, const struct pm_ops *ops, void *context)
{
    struct pm *pm = calloc(1, sizeof(*pm));

    if (pm != NULL) {
        pm->bus = bus;
        pm->ops = *ops;
        pm->context = context;
        pm->control = CONTROL_SCI;
        pm->carry = half(pm);
        (void)pthread_mutex_init(&pm->lock, NULL); /* cannot fail for a plain one */
    }
    return pm;
}

void pm_destroy(struct pm *pm)
{
    if (pm != NULL) {
        (void)pthread_mutex_destroy(&pm->lock); /* nobody holds it */
        free(pm);
    }
}

static uint8_t byte_of(uint64_t value, uint64_t at)
{
    return (uint8_t)(value >> (8 * at));
}

static uint8_t read_byte(const struct pm *pm, uint64_t at)
{
    if (at < PM_EVENT + 2) {
        return byte_of(status(pm), at);
    }
    if (at < PM_EVENT + PM_EVENT_SIZE) {
        return byte_of(pm->enable, at - 2);
    }
    if (at >= PM_CONTROL && at < PM_CONTROL + PM_CONTROL_SIZE) {
        return byte_of(pm->control, at - PM_CONTROL);
    }
    if (at >= PM_GPE0 && at < PM_GPE0 + PM_GPE0_SIZE) {
        return pm->gpe[at - PM_GPE0];
    }
    return at == SMI_ENABLE ? SMI_ENABLE_APMC : 0;
}

/* `mask` are the bits of the register that `at` is byte number of, as is `value`. */
static uint32_t put_byte(uint32_t old, uint64_t at, uint8_t value, uint32_t mask)
{
    uint32_t byte = 0xffu << (8 * at) & mask;

    return (old & ~byte) | ((uint32_t)value << (8 * at) & byte);
}

/* By its own tables' type, or by that of QEMU's chip set, which EDK II takes for granted. */
static bool is_off(const struct pm *pm)
{
    uint32_t type = CONTROL_TYPE(pm->control);

    return type == PM_SLEEP_OFF || type == SLEEP_OFF_EDK;
}

/* Returns whether the guest sleeps for good. */
static bool write_byte(struct pm *pm, uint64_t at, uint8_t value)
{
    if (at < PM_EVENT + 2) {
        uint32_t cleared = (uint32_t)value << (8 * at) & STATUS_ALL;

        pm->status &= ~cleared;
        if ((cleared & STATUS_TIMER) != 0) {
            pm->carry = half(pm);
        }
    } else if (at < PM_EVENT + PM_EVENT_SIZE) {
        pm->enable = put_byte(pm->enable, at - 2, value, ENABLE_ALL);
    } else if (at >= PM_CONTROL && at < PM_CONTROL + PM_CONTROL_SIZE) {
        pm->control = put_byte(pm->control, at - PM_CONTROL, value, CONTROL_ALL) | CONTROL_SCI;
        return at == PM_CONTROL + 1 && (value & CONTROL_SLEEP >> 8) != 0 && is_off(pm);
    } else if (at >= PM_GPE0 + GPE_HALF && at < PM_GPE0 + PM_GPE0_SIZE) {
        pm->gpe[at - PM_GPE0] = value; /* enable bits of events that never come */
    }
    return false;
}

static void on_access(void *device, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write)
{
    struct pm *pm = device;
    bool is_off = false;
    uint64_t result = 0;

    (void)region;
    (void)pthread_mutex_lock(&pm->lock);
    if (!is_write && offset == PM_TIMER) {
        result = timer_value(pm) & TIMER_BITS;
    }
    for (uint32_t i = 0; i < size; i++) {
        if (is_write) {
            is_off = write_byte(pm, offset + i, byte_of(*value, i)) || is_off;
        } else {
            result |= (uint64_t)read_byte(pm, offset + i) << (8 * i);
        }
    }
    update_line(pm);
    (void)pthread_mutex_unlock(&pm->lock);
    *value = is_write ? *value : result;
    if (is_off) {
        pm->ops.off(pm->context);
    }
}

void pm_place(struct pm *pm, uint16_t base)
{
    const struct bus_place place = {.space = BUS_IO,
                                    .start = base,
                                    .size = PM_SIZE,
                                    .fn = on_access,
                                    .device = pm,
                                    .name = "ACPI's power management"};

    if (pm->base == base) {
        return;
    }
    if (pm->base != 0) {
        bus_unmap(pm->bus, BUS_IO, pm->base);
        pm->base = 0;
    }
    if (base != 0 && bus_map(pm->bus, &place) == 0) {
        pm->base = base;
    }
}

static void set_status(struct pm *pm, uint32_t status)
{
    (void)pthread_mutex_lock(&pm->lock);
    pm->status |= status;
    update_line(pm);
    (void)pthread_mutex_unlock(&pm->lock);
}

void pm_press(struct pm *pm)
{
    set_status(pm, STATUS_BUTTON);
}

void pm_ring(struct pm *pm)
{
    set_status(pm, STATUS_CLOCK);
}

void pm_tick(struct pm *pm)
{
    (void)pthread_mutex_lock(&pm->lock);
    update_line(pm);
    (void)pthread_mutex_unlock(&pm->lock);
}

void pm_reset(struct pm *pm)
{
    (void)pthread_mutex_lock(&pm->lock);
    pm->status = 0;
    pm->enable = 0;
    pm->control = CONTROL_SCI;
    pm->carry = half(pm);
    for (uint32_t i = 0; i < PM_GPE0_SIZE; i++) {
        pm->gpe[i] = 0;
    }
    update_line(pm);
    (void)pthread_mutex_unlock(&pm->lock);
}
