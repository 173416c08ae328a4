/* The high-precision event timer of PCs.
 *
 * "HPET" is Intel's IA-PC HPET (High Precision Event Timers) Specification, revision 1.0a, October
 * 2004; section numbers are its. There is a timer for each interrupt line that the configuration
 * gives it, at least three, whose route a guest cannot change; each can send messages instead.
 *
 * Nothing ticks but for timers whose interrupt is enabled. With the legacy route timers 0 and 1
 * keep their lines, which are to be 0 and 8 (see qvmconf(5)), and have them alone. */
#include "vdevs/hpet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/vdev.h>

#define REGION_SIZE   0x400u
#define TIMERS_MIN    3u /* 2.3.4 */
#define NS_PER_S      1000000000ull
#define FS_PER_S      1000000000000000ull
#define FREQUENCY     14318180u
#define FREQUENCY_MIN 10000000u /* 2.3.4: a period of at most 100 ns */
#define FREQUENCY_MAX 1000000000u
#define INTERVAL_NS   100000u /* no guest keeps the host busy more often */

/* 2.3.2 */
#define REG_CAPABILITIES 0x000u
#define REG_CONFIG       0x010u
#define REG_STATUS       0x020u
#define REG_COUNTER      0x0f0u
#define REG_TIMERS       0x100u
#define TIMER_STRIDE     0x20u
#define TIMER_CONFIG     0x00u
#define TIMER_COMPARATOR 0x08u
#define TIMER_MESSAGE    0x10u

/* 2.3.4 */
#define CAP_REVISION 0x01u
#define CAP_64BIT    (UINT64_C(1) << 13)
#define CAP_LEGACY   (UINT64_C(1) << 15)
#define CAP_VENDOR   (UINT64_C(0x8086) << 16)

static bool is_running(const struct hpet *hpet)
{
    return (hpet->config & CONFIG_ENABLE) != 0;
}

static uint64_t ticks_of(const struct hpet *hpet, uint64_t ns)
{
    return ns / NS_PER_S * hpet->frequency + ns % NS_PER_S * hpet->frequency / NS_PER_S;
}

/* Rounded up: when so many ticks are over. */
static uint64_t ns_of(const struct hpet *hpet, uint64_t ticks)
{
    return ticks / hpet->frequency * NS_PER_S +
           (ticks % hpet->frequency * NS_PER_S + hpet->frequency - 1) / hpet->frequency;
}

static uint64_t counter_now(const struct hpet *hpet)
{
    uint64_t now_ns = hpet->host->now_ns(hpet->slot);

    return is_running(hpet) ? hpet->counter + ticks_of(hpet, now_ns - hpet->start_ns)
                            : hpet->counter;
}

static uint64_t mask_of(const struct timer *timer)
{
    return (timer->config & T_32BIT) != 0 ? UINT32_MAX : UINT64_MAX;
}

/* When the counter meets the comparator next. With 64 bits it does not come round. */
static void arm(const struct hpet *hpet, struct timer *timer)
{
    uint64_t now = counter_now(hpet), ahead = (timer->comparator - now) & mask_of(timer);

    timer->due = now + ahead;
    timer->is_armed = timer->is_set && timer->due >= now;
}

/* Set the qvm's timer for timer number `i`, if it has something to tell. */
static void schedule(struct hpet *hpet, uint32_t i)
{
    struct timer *timer = &hpet->timers[i];
    uint64_t deadline = 0, now = counter_now(hpet), ticks;

    if (is_running(hpet) && timer->is_armed && (timer->config & T_ENABLE) != 0) {
        ticks = timer->due > now ? timer->due - now : 0;
        /* What is further away than a year: look again then. */
        deadline = hpet->host->now_ns(hpet->slot) +
                   (ticks < hpet->frequency << 25 ? ns_of(hpet, ticks) : NS_PER_S << 25);
        if (deadline < timer->last_ns + INTERVAL_NS) {
            deadline = timer->last_ns + INTERVAL_NS;
        }
    }
    timer->deadline_ns = deadline;
    hpet->host->timer(hpet->slot, i, deadline);
}

/* 2.3.9.2.2: a periodic comparator goes on by its period, as often as it is behind; another one
 * fires again when 32 bits of the counter have come round. */
static void advance(struct hpet *hpet, struct timer *timer)
{
    if ((timer->config & T_PERIODIC) != 0 && timer->period != 0) {
        timer->due += ((counter_now(hpet) - timer->due) / timer->period + 1) * timer->period;
        timer->comparator = timer->due & mask_of(timer);
    } else if ((timer->config & T_32BIT) != 0) {
        timer->due += UINT64_C(1) << 32;
    } else {
        timer->is_armed = false;
    }
}

static void tell(struct hpet *hpet, uint32_t i)
{
    struct timer *timer = &hpet->timers[i];

    timer->fired++;
    if ((timer->config & T_MESSAGE) != 0) {
        hpet->host->message(hpet->slot, timer->message >> 32, (uint32_t)timer->message);
    } else if ((timer->config & T_LEVEL) != 0) {
        hpet->status |= UINT64_C(1) << i;
        hpet->host->intr(hpet->slot, i, true);
    } else {
        hpet->host->intr(hpet->slot, i, true);
        hpet->host->intr(hpet->slot, i, false);
    }
}

static void hpet_timer(void *device, uint32_t i)
{
    struct hpet *hpet = device;
    struct timer *timer = &hpet->timers[i];

    if (is_running(hpet) && timer->is_armed && counter_now(hpet) >= timer->due) {
        timer->last_ns = hpet->host->now_ns(hpet->slot);
        if ((timer->config & T_ENABLE) != 0) {
            tell(hpet, i);
        }
        advance(hpet, timer);
    }
    schedule(hpet, i);
}

static uint64_t read_timer(const struct hpet *hpet, const struct timer *timer, uint64_t offset)
{
    uint64_t route = timer->route != HPET_NO_ROUTE ? timer->route : 0;

    (void)hpet;
    switch (offset) {
    case TIMER_CONFIG:
        return timer->config | T_CAN_PERIOD | T_CAN_64BIT | T_CAN_MSI | T_ROUTE(route) |
               (timer->route != HPET_NO_ROUTE ? UINT64_C(1) << (32 + route) : 0);
    case TIMER_COMPARATOR:
        return timer->comparator;
    case TIMER_MESSAGE:
        return timer->message;
    default:
        return 0;
    }
}

static uint64_t read_register(const struct hpet *hpet, uint64_t offset)
{
    uint64_t timer = (offset - REG_TIMERS) / TIMER_STRIDE;

    switch (offset) {
    case REG_CAPABILITIES:
        return FS_PER_S / hpet->frequency << 32 | CAP_VENDOR | (hpet->has_legacy ? CAP_LEGACY : 0) |
               CAP_64BIT | (uint64_t)(hpet->timer_count - 1) << 8 | CAP_REVISION;
    case REG_CONFIG:
        return hpet->config;
    case REG_STATUS:
        return hpet->status;
    case REG_COUNTER:
        return counter_now(hpet);
    default:
        return offset >= REG_TIMERS && timer < hpet->timer_count
                   ? read_timer(hpet, &hpet->timers[timer], offset % TIMER_STRIDE)
                   : 0;
    }
}

/* 2.3.5: "LEG_RT_CNF"; from then on the timer and the clock do not interrupt. */
void hpet_route_legacy(struct hpet *hpet)
{
    bool is_taken = (hpet->config & CONFIG_LEGACY) != 0;

    if (is_taken != hpet->is_legacy_taken) {
        hpet->is_legacy_taken = is_taken;
        hpet->host->legacy_route(hpet->slot, is_taken);
    }
}

static void write_config(struct hpet *hpet, uint64_t value)
{
    uint64_t counter = counter_now(hpet);

    hpet->config = value & (CONFIG_ENABLE | (hpet->has_legacy ? CONFIG_LEGACY : 0));
    hpet_route_legacy(hpet);
    hpet->counter = counter;
    hpet->start_ns = hpet->host->now_ns(hpet->slot);
    for (uint32_t i = 0; i < hpet->timer_count; i++) {
        schedule(hpet, i);
    }
}

/* 2.3.6: a 1 takes a level-triggered interrupt back. */
static void write_status(struct hpet *hpet, uint64_t value)
{
    for (uint32_t i = 0; i < hpet->timer_count; i++) {
        if ((hpet->status & value & UINT64_C(1) << i) != 0) {
            hpet->status &= ~(UINT64_C(1) << i);
            hpet->host->intr(hpet->slot, i, false);
        }
    }
}

static void write_timer(struct hpet *hpet, uint32_t i, uint64_t offset, uint64_t value)
{
    struct timer *timer = &hpet->timers[i];
    bool is_periodic = (timer->config & T_PERIODIC) != 0;

    if (offset == TIMER_CONFIG) {
        bool was_32bit = (timer->config & T_32BIT) != 0;

        timer->config = value & T_WRITABLE;
        if ((timer->config & T_32BIT) != 0) {
            timer->comparator &= UINT32_MAX;
            timer->period &= UINT32_MAX;
        }
        if (was_32bit != ((timer->config & T_32BIT) != 0)) {
            arm(hpet, timer);
        }
        if ((timer->config & T_LEVEL) == 0) {
            write_status(hpet, UINT64_C(1) << i);
        }
    } else if (offset == TIMER_COMPARATOR) {
        value &= mask_of(timer);
        if (!is_periodic || (timer->config & T_SET_VALUE) != 0) {
            timer->comparator = value;
            timer->is_set = true;
            arm(hpet, timer);
        }
        timer->period = is_periodic ? value : timer->period;
        timer->config &= ~(uint64_t)T_SET_VALUE; /* 2.3.8: it clears itself */
    } else if (offset == TIMER_MESSAGE) {
        timer->message = value;
    }
    schedule(hpet, i);
}

static void write_register(struct hpet *hpet, uint64_t offset, uint64_t value)
{
    uint64_t timer = (offset - REG_TIMERS) / TIMER_STRIDE;

    if (offset == REG_CONFIG) {
        write_config(hpet, value);
    } else if (offset == REG_STATUS) {
        write_status(hpet, value);
    } else if (offset == REG_COUNTER && !is_running(hpet)) { /* 2.3.7: while it is halted */
        hpet->counter = value;
        for (uint32_t i = 0; i < hpet->timer_count; i++) {
            arm(hpet, &hpet->timers[i]);
        }
    } else if (offset >= REG_TIMERS && timer < hpet->timer_count) {
        write_timer(hpet, (uint32_t)timer, offset % TIMER_STRIDE, value);
    }
}

/* 2.3.3: 32 or 64 bits at a time, aligned. */
static uint64_t hpet_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    (void)region; /* there is one */
    (void)size;
    return read_register(device, offset & ~UINT64_C(7)) >> (8 * (offset & 7));
}

static void hpet_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                       uint64_t value)
{
    struct hpet *hpet = device;
    uint64_t at = offset & ~UINT64_C(7);
    uint64_t low = UINT32_MAX;

    (void)region; /* as above */
    if (size == 8 && offset == at) {
        write_register(hpet, at, value);
    } else if (size == 4 && offset % 4 == 0) {
        /* A half goes beside the other half as it is, but for what a write of ones changes. */
        uint64_t other = at == REG_STATUS ? 0 : read_register(hpet, at);

        value = offset == at ? (other & ~low) | (value & low) : (other & low) | value << 32;
        write_register(hpet, at, value);
    }
}

/* 2.3.5, 2.3.8: all off; the counter begins at 0. */
static void hpet_reset(void *device)
{
    struct hpet *hpet = device;

    hpet->config = 0;
    hpet->status = 0;
    hpet->counter = 0;
    hpet_route_legacy(hpet);
    for (uint32_t i = 0; i < hpet->timer_count; i++) {
        uint32_t route = hpet->timers[i].route;

        hpet->timers[i] = (struct timer){.comparator = UINT64_MAX, .route = route};
        hpet->host->timer(hpet->slot, i, 0);
    }
}

enum option { OPTION_FREQUENCY, OPTION_LEGACY_FREE };

static void set_up(struct hpet *hpet, const struct vdev_config *config)
{
    hpet->has_legacy = true;
    for (uint32_t i = 0; i < config->value_count; i++) {
        if (config->values[i].option == OPTION_FREQUENCY) {
            hpet->frequency = config->values[i].number[0];
        } else {
            hpet->has_legacy = !config->values[i].boolean;
        }
    }
    for (uint32_t i = 0; i < config->intr_count && i < VDEV_TIMERS_MAX; i++) {
        bool has_line = config->intrs[i] < HPET_NO_ROUTE;

        hpet->timer_count += has_line && i == hpet->timer_count ? 1 : 0;
        hpet->timers[i].route = has_line ? config->intrs[i] : HPET_NO_ROUTE;
        hpet->timers[i].route = config->intrs[i] == 0 ? 2 : hpet->timers[i].route; /* as wired */
    }
    hpet->timer_count = hpet->timer_count < TIMERS_MIN ? TIMERS_MIN : hpet->timer_count;
}

static int hpet_create(const struct vdev_services *host, struct vdev_slot *slot,
                       const struct vdev_config *config, void **device)
{
    struct hpet *hpet;

    if (config->regions[0].size < REGION_SIZE) {
        return host->fail(slot, NULL, "an HPET has %u bytes, 'loc' gives %" PRIu64, REGION_SIZE,
                          config->regions[0].size);
    }
    hpet = calloc(1, sizeof(*hpet));
    if (hpet == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    hpet->host = host;
    hpet->slot = slot;
    hpet->frequency = FREQUENCY;
    set_up(hpet, config);
    hpet_reset(hpet);
    *device = hpet;
    return 0;
}

static void hpet_state(void *device, vdev_state_fn add, void *context)
{
    const struct hpet *hpet = device;
    char name[16], text[128];

    (void)snprintf(text, sizeof(text), "%" PRIu64 "%s%s", counter_now(hpet),
                   is_running(hpet) ? "" : " stopped",
                   (hpet->config & CONFIG_LEGACY) != 0 ? " legacy" : "");
    add(context, "counter", text);
    for (uint32_t i = 0; i < hpet->timer_count; i++) {
        const struct timer *timer = &hpet->timers[i];

        (void)snprintf(name, sizeof(name), "timer%" PRIu32, i);
        (void)snprintf(text, sizeof(text),
                       "config=%04" PRIx64 " comparator=%" PRIu64 " period=%" PRIu64
                       " fired=%" PRIu64,
                       timer->config, timer->comparator, timer->period, timer->fired);
        add(context, name, text);
    }
}

static const struct vdev_option options[] = {
    [OPTION_FREQUENCY] = {.name = "frequency",
                          .kind = VDEV_OPTION_NUMBER,
                          .min = FREQUENCY_MIN,
                          .max = FREQUENCY_MAX,
                          .fallback = "14318180",
                          .doc = "of its counter, in Hz"},
    [OPTION_LEGACY_FREE] = {.name = "legacy-free",
                            .kind = VDEV_OPTION_FLAG,
                            .doc = "it cannot take the places of timer and clock"},
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {
    {.space = VDEV_SPACE_MEMORY, .start = 0xfed00000, .size = REGION_SIZE},
};

/* Of lines 1 and up: IRQ 8 is the clock's; the rest have none unless they are given one. */
static const uint32_t default_intrs[VDEV_LINES_MAX - 1] = {
    8,   20,  ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u,
    ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u,
};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = hpet_create,
    .destroy = free,
    .reset = hpet_reset,
    .read = hpet_read,
    .write = hpet_write,
    .timer = hpet_timer,
    .state = hpet_state,
    .save = hpet_save,
    .restore = hpet_restore,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "hpet",
    .doc = "high-precision event timer",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 1,
    .default_intr = 0,
    .ops = &ops,
    .line_count = VDEV_LINES_MAX,
    .timer_count = VDEV_TIMERS_MAX,
    .default_intrs = default_intrs,
};

QVM_VDEV_EXPORT(module);
