/* The interval timer of PCs: an Intel 8254, and the port that opens the speaker's counter.
 *
 * "Data sheet" is Intel's 8254 Programmable Interval Timer, order number 231164-005, September
 * 1993; headings are quoted. Counter 0 raises the interrupt, 1 once refreshed memory, 2 is the
 * speaker's, with its gate and its output in port 0x61 (IBM PC AT, Technical Reference 1502494,
 * "System Timers" and "Port B").
 *
 * Nothing ticks but for counter 0's interrupt: see timer8254.h. Interrupts that came too late to be
 * told one by one are counted, not made up for. */
#include "vdevs/timer8254.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <qvm/vdev.h>
#include <qvm/vdev_fields.h>

#define TIMER_REGION   0u /* ports 0x40 to 0x43 */
#define CONTROL_REGION 1u /* port 0x61 */

#define COUNTER_COUNT 3u
#define CONTROL_WORD  3u /* the port of that number */
#define SPEAKER       2u /* the counter */

#define PORT_B_GATE    0x01u
#define PORT_B_SPEAKER 0x02u
#define PORT_B_REFRESH 0x10u /* changes each 15 us */
#define PORT_B_OUT     0x20u
#define REFRESH_NS     15085u

#define RISES_MAX   (UINT64_C(1) << 46) /* of saved state: years */
#define STOPPED_MAX (INT64_C(1) << 46)

#define PERIOD_MIN_NS 100000u /* no guest keeps the host busy with interrupts more often */

struct timer8254 {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    struct timer8254_counter counters[COUNTER_COUNT];
    uint8_t port_b;       /* what the guest wrote there */
    uint64_t rises_seen;  /* of counter 0, since it was loaded */
    uint64_t last_ns;     /* when the timer fired last */
    uint64_t ticks, lost; /* interrupts told and not told */
};

static uint64_t now_ns(const struct timer8254 *timer)
{
    return timer->host->now_ns(timer->slot);
}

/* Set the timer for counter 0's next rise; in mode 0 the line follows the output. */
static void schedule(struct timer8254 *timer)
{
    const struct timer8254_counter *counter = &timer->counters[0];
    int64_t tick = timer8254_rise_tick(counter, timer->rises_seen + 1);
    uint64_t at;

    if (tick == TIMER8254_NEVER) {
        timer->host->timer(timer->slot, 0, 0);
        return;
    }
    at = counter->start_ns + timer8254_ns((uint64_t)tick);
    if (at < timer->last_ns + PERIOD_MIN_NS) {
        at = timer->last_ns + PERIOD_MIN_NS;
    }
    timer->host->timer(timer->slot, 0, at);
}

/* Counter 0 has another mode or count. */
static void restart(struct timer8254 *timer)
{
    timer->rises_seen = 0;
    timer->host->intr(timer->slot, 0,
                      timer->counters[0].mode == 0 &&
                          timer8254_out(&timer->counters[0], now_ns(timer)));
    schedule(timer);
}

static void timer8254_timer(void *device, uint32_t number)
{
    struct timer8254 *timer = device;
    uint64_t now = now_ns(timer);
    uint64_t rises = timer8254_rises(&timer->counters[0], now);

    (void)number; /* there is one */
    timer->last_ns = now;
    if (rises > timer->rises_seen) {
        timer->ticks++;
        timer->lost += rises - timer->rises_seen - 1;
        timer->rises_seen = rises;
        /* An edge; the line stays high in mode 0 alone, so that others may share it. */
        timer->host->intr(timer->slot, 0, false);
        timer->host->intr(timer->slot, 0, true);
        timer->host->intr(timer->slot, 0, timer->counters[0].mode == 0);
    }
    schedule(timer);
}

static uint8_t read_port_b(const struct timer8254 *timer)
{
    uint64_t now = now_ns(timer);

    return (uint8_t)(timer->port_b | ((now / REFRESH_NS & 1) != 0 ? PORT_B_REFRESH : 0) |
                     (timer8254_out(&timer->counters[SPEAKER], now) ? PORT_B_OUT : 0));
}

static void write_control(struct timer8254 *timer, uint8_t value)
{
    uint64_t now = now_ns(timer);
    uint32_t number = CONTROL_COUNTER(value);

    if (number == COUNTER_READ_BACK) {
        for (uint32_t i = 0; i < COUNTER_COUNT; i++) {
            if ((value & 2u << i) != 0) {
                timer8254_latch(&timer->counters[i], (value & READ_BACK_NO_COUNT) == 0,
                                (value & READ_BACK_NO_STATUS) == 0, now);
            }
        }
    } else if (CONTROL_ACCESS(value) == ACCESS_LATCH) {
        timer8254_latch(&timer->counters[number], true, false, now);
    } else {
        timer8254_control(&timer->counters[number], value);
        if (number == 0) {
            restart(timer);
        }
    }
}

static void write_byte(struct timer8254 *timer, uint32_t region, uint64_t port, uint8_t value)
{
    if (region == CONTROL_REGION) {
        timer->port_b = value & (PORT_B_GATE | PORT_B_SPEAKER);
        timer8254_gate(&timer->counters[SPEAKER], (value & PORT_B_GATE) != 0, now_ns(timer));
    } else if (port == CONTROL_WORD) {
        write_control(timer, value);
    } else if (timer8254_write(&timer->counters[port], value, now_ns(timer)) && port == 0) {
        restart(timer);
    } else if (port == 0) {
        schedule(timer); /* the first of two bytes may have stopped it */
    }
}

static uint64_t timer8254_vdev_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    struct timer8254 *timer = device;
    uint64_t value = 0;

    for (uint32_t i = 0; i < size; i++) {
        uint8_t byte = 0xff; /* the control word cannot be read */

        if (region == CONTROL_REGION) {
            byte = read_port_b(timer);
        } else if (offset + i < COUNTER_COUNT) {
            byte = timer8254_read(&timer->counters[offset + i], now_ns(timer));
        }
        value |= (uint64_t)byte << (8 * i);
    }
    return value;
}

static void timer8254_vdev_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                                 uint64_t value)
{
    for (uint32_t i = 0; i < size; i++) {
        write_byte(device, region, offset + i, (uint8_t)(value >> (8 * i)));
    }
}

/* The chip has no reset: "the mode, count value, and output of all counters are undefined". Here
 * they count from 65,536 as PC firmware leaves them, and counter 0 raises nothing before it is set.
 */
static void timer8254_reset(void *device)
{
    struct timer8254 *timer = device;

    for (uint32_t i = 0; i < COUNTER_COUNT; i++) {
        timer->counters[i] = (struct timer8254_counter){
            .mode = 3, .access = ACCESS_BOTH, .reload = 65536, .gate = i != SPEAKER};
    }
    timer->port_b = 0;
    timer->rises_seen = 0;
    timer->host->timer(timer->slot, 0, 0);
}

static int timer8254_create(const struct vdev_services *host, struct vdev_slot *slot,
                            const struct vdev_config *config, void **device)
{
    struct timer8254 *timer;

    if (config->regions[TIMER_REGION].size != 4 || config->regions[CONTROL_REGION].size != 1) {
        return host->fail(slot, NULL, "the timer has two places, of 4 bytes and of 1 byte");
    }
    timer = calloc(1, sizeof(*timer));
    if (timer == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    timer->host = host;
    timer->slot = slot;
    timer8254_reset(timer);
    *device = timer;
    return 0;
}

static void timer8254_state(void *device, vdev_state_fn add, void *context)
{
    const struct timer8254 *timer = device;
    char name[32], text[96];

    for (uint32_t i = 0; i < COUNTER_COUNT; i++) {
        const struct timer8254_counter *counter = &timer->counters[i];

        (void)snprintf(name, sizeof(name), "counter%" PRIu32, i);
        (void)snprintf(text, sizeof(text), "mode=%u reload=%" PRIu32 "%s out=%d%s", counter->mode,
                       counter->reload, counter->is_bcd ? " bcd" : "",
                       timer8254_out(counter, now_ns(timer)), counter->is_loaded ? "" : " not set");
        add(context, name, text);
    }
    (void)snprintf(text, sizeof(text), "%" PRIu64, timer->ticks);
    add(context, "interrupts", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, timer->lost);
    add(context, "interrupts-late", text);
}

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct timer8254, port_b, PORT_B_GATE | PORT_B_SPEAKER),
    VDEV_NUMBER(2, struct timer8254, rises_seen, RISES_MAX),
    VDEV_TIME(3, struct timer8254, last_ns),
    {0},
};

/* Tags of counter N are those of its table and 32 times N + 1. */
#define COUNTER_TAGS(n) (32u * ((n) + 1))

static const struct vdev_field counter_fields[] = {
    VDEV_NUMBER(1, struct timer8254_counter, mode, 5),
    VDEV_NUMBER(2, struct timer8254_counter, access, ACCESS_BOTH),
    VDEV_NUMBER(3, struct timer8254_counter, is_bcd, 1),
    VDEV_NUMBER(4, struct timer8254_counter, gate, 1),
    VDEV_NUMBER(5, struct timer8254_counter, is_loaded, 1),
    VDEV_NUMBER(6, struct timer8254_counter, is_triggered, 1),
    VDEV_NUMBER(7, struct timer8254_counter, is_stopped, 1),
    VDEV_NUMBER(8, struct timer8254_counter, is_high_next, 1),
    VDEV_NUMBER(9, struct timer8254_counter, reads_high, 1),
    VDEV_NUMBER(10, struct timer8254_counter, has_latch, 1),
    VDEV_NUMBER(11, struct timer8254_counter, has_status, 1),
    VDEV_NUMBER(12, struct timer8254_counter, low, 0),
    VDEV_NUMBER(13, struct timer8254_counter, status, 0),
    VDEV_NUMBER(14, struct timer8254_counter, latch, 0),
    VDEV_NUMBER(15, struct timer8254_counter, reload, 65536),
    VDEV_TIME(16, struct timer8254_counter, start_ns),
    VDEV_NUMBER(17, struct timer8254_counter, stopped_tick, 0), /* checked below: it has a sign */
    {0},
};

static int timer8254_save(void *device)
{
    const struct timer8254 *timer = device;
    int r = vdev_put_fields(timer->host, timer->slot, fields, 0, timer);

    for (uint32_t i = 0; r == 0 && i < COUNTER_COUNT; i++) {
        r = vdev_put_fields(timer->host, timer->slot, counter_fields, COUNTER_TAGS(i),
                            &timer->counters[i]);
    }
    return r;
}

static int restore_counter(struct timer8254 *timer, uint32_t i)
{
    struct timer8254_counter *counter = &timer->counters[i];
    int r = vdev_get_fields(timer->host, timer->slot, counter_fields, COUNTER_TAGS(i), counter);

    if (r == 0 && (counter->reload == 0 || counter->access == ACCESS_LATCH ||
                   counter->stopped_tick < -1 || counter->stopped_tick > STOPPED_MAX)) {
        r = timer->host->fail(timer->slot, NULL, "counter %" PRIu32 " is none", i);
    }
    return r;
}

static int timer8254_restore(void *device)
{
    struct timer8254 *timer = device;
    int r = vdev_get_fields(timer->host, timer->slot, fields, 0, timer);

    for (uint32_t i = 0; r == 0 && i < COUNTER_COUNT; i++) {
        r = restore_counter(timer, i);
    }
    if (r == 0) {
        timer->host->intr(timer->slot, 0, timer->counters[0].mode == 0 && timer->rises_seen > 0);
        schedule(timer);
    }
    return r;
}

static const struct vdev_option options[] = {
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {
    [TIMER_REGION] = {.space = VDEV_SPACE_IO, .start = 0x40, .size = 4},
    [CONTROL_REGION] = {.space = VDEV_SPACE_IO, .start = 0x61, .size = 1},
};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = timer8254_create,
    .destroy = free,
    .reset = timer8254_reset,
    .read = timer8254_vdev_read,
    .write = timer8254_vdev_write,
    .timer = timer8254_timer,
    .state = timer8254_state,
    .save = timer8254_save,
    .restore = timer8254_restore,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "timer8254",
    .doc = "interval timer (8254)",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 2,
    .default_intr = 0,
    .acpi_hid = "PNP0100",
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
