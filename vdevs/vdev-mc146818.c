/* The real-time clock of PCs, with its battery-backed memory: the Motorola MC146818A.
 *
 * "Data sheet" is Motorola's MC146818A, "Real-Time Clock Plus RAM (RTC)", ADI-1204 R1; headings are
 * quoted. The port pair 0x70, 0x71 and the places of the memory's size are those of IBM's PC AT,
 * Technical Reference 1502494, "Real-Time Clock/CMOS RAM Information".
 *
 * The clock is the host's, in UTC, plus what the guest set it off by. Nothing ticks: flags are
 * worked out when someone looks, and the timer is set for the next interrupt that is enabled, while
 * none is pending. */
#include "vdevs/mc146818.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/vdev.h>

/* "Periodic Interrupt Selection", at 32.768 kHz: the period in 1/32768 s, 0: none. */
static uint64_t period_of_rate(const struct mc146818 *rtc)
{
    uint32_t rate = rtc->ram[REG_A] & A_RS;

    if (rate == 0) {
        return 0;
    }
    return UINT64_C(1) << (rate <= 2 ? rate + 6 : rate - 1);
}

static uint64_t periods_until(const struct mc146818 *rtc, uint64_t now_ns, uint64_t period)
{
    uint64_t ns = now_ns - rtc->periodic_start_ns;
    uint64_t ticks = ns / NS_PER_S * BASE_HZ + ns % NS_PER_S * BASE_HZ / NS_PER_S;

    return ticks / period;
}

static uint64_t time_of_period(const struct mc146818 *rtc, uint64_t number, uint64_t period)
{
    uint64_t ticks = number * period;

    return rtc->periodic_start_ns + ticks / BASE_HZ * NS_PER_S +
           (ticks % BASE_HZ * NS_PER_S + BASE_HZ - 1) / BASE_HZ;
}

static void restart_periods(struct mc146818 *rtc)
{
    rtc->periodic_start_ns = rtc->host->now_ns(rtc->slot);
    rtc->periodic_seen = 0;
}

void mc146818_check_periods(struct mc146818 *rtc)
{
    uint64_t period = period_of_rate(rtc);
    uint64_t now_ns = rtc->host->now_ns(rtc->slot);

    if (period == 0 || rtc->periodic_start_ns > now_ns ||
        rtc->periodic_seen > periods_until(rtc, now_ns, period)) {
        restart_periods(rtc);
    }
}

/* Set the flags of what happened since the last look. */
static void catch_up(struct mc146818 *rtc)
{
    uint64_t period = period_of_rate(rtc);
    int64_t second = mc146818_floor_div(mc146818_clock_ns(rtc), NS_PER_S);

    if (period != 0) {
        uint64_t periods = periods_until(rtc, rtc->host->now_ns(rtc->slot), period);

        if (periods > rtc->periodic_seen) {
            rtc->periodic_seen = periods;
            rtc->ram[REG_C] |= C_PF;
        }
    }
    if (!mc146818_is_frozen(rtc) && second != rtc->second_seen) {
        /* A clock that was set backward rang nothing; one set far forward at most once. */
        int64_t since = second - rtc->second_seen > DAY_S ? second - DAY_S : rtc->second_seen;

        if (second > since && mc146818_next_alarm(rtc, since) <= second) {
            rtc->ram[REG_C] |= C_AF;
        }
        rtc->second_seen = second;
        rtc->ram[REG_C] |= C_UF;
    }
}

/* The interrupt line, and the timer for the next enabled interrupt. */
void mc146818_update(struct mc146818 *rtc)
{
    uint32_t enabled = rtc->ram[REG_B] & C_ALL;
    bool is_pending = (rtc->ram[REG_C] & enabled) != 0;
    uint64_t now_ns = rtc->host->now_ns(rtc->slot);
    uint64_t period = period_of_rate(rtc);
    uint64_t deadline = 0, at;

    rtc->host->intr(rtc->slot, 0, is_pending);
    if (!is_pending && (enabled & C_PF) != 0 && period != 0) {
        deadline = time_of_period(rtc, rtc->periodic_seen + 1, period);
    }
    if (!is_pending && (enabled & (C_UF | C_AF)) != 0 && !mc146818_is_frozen(rtc)) {
        int64_t ns = mc146818_clock_ns(rtc);
        int64_t second = mc146818_floor_div(ns, NS_PER_S);
        int64_t ring = (enabled & C_UF) != 0 ? rtc->second_seen + 1
                                             : mc146818_next_alarm(rtc, rtc->second_seen);
        int64_t wait_s = ring < second + ALARM_LOOK_S ? ring - second : ALARM_LOOK_S;
        int64_t wait = wait_s > 0 ? wait_s * NS_PER_S - (ns - second * NS_PER_S) : 1;

        at = now_ns + (uint64_t)(wait > 0 ? wait : 1);
        deadline = deadline == 0 || at < deadline ? at : deadline;
    }
    rtc->host->timer(rtc->slot, 0, deadline);
}

static void mc146818_timer(void *device, uint32_t timer)
{
    struct mc146818 *rtc = device;

    (void)timer; /* there is one */
    catch_up(rtc);
    mc146818_update(rtc);
}

static uint8_t read_data(struct mc146818 *rtc)
{
    uint8_t value;
    int64_t ns;

    switch (rtc->index) {
    case REG_A:
        ns = mc146818_clock_ns(rtc);
        ns -= mc146818_floor_div(ns, NS_PER_S) * NS_PER_S;
        return (uint8_t)(rtc->ram[REG_A] |
                         (!mc146818_is_frozen(rtc) && ns >= NS_PER_S - UPDATE_NS ? A_UIP : 0));
    case REG_C:
        catch_up(rtc);
        value = rtc->ram[REG_C];
        value |= (value & rtc->ram[REG_B] & C_ALL) != 0 ? C_IRQF : 0;
        rtc->ram[REG_C] = 0;
        mc146818_update(rtc);
        return value;
    case REG_D:
        return D_VRT;
    default:
        mc146818_show(rtc);
        return rtc->ram[rtc->index];
    }
}

/* Registers A and B may stop the clock, and let it go on from what its registers say. */
static void write_control(struct mc146818 *rtc, uint8_t value)
{
    bool was_frozen = mc146818_is_frozen(rtc);
    bool was_reset = (rtc->ram[REG_A] & A_DV_RESET) == A_DV_RESET;
    int64_t ns = mc146818_clock_ns(rtc);

    catch_up(rtc);
    mc146818_show(rtc);
    if (rtc->index == REG_A) {
        uint8_t old_rate = rtc->ram[REG_A] & A_RS;

        rtc->ram[REG_A] = (uint8_t)(value & ~A_UIP);
        if ((value & A_RS) != old_rate) {
            restart_periods(rtc);
        }
    } else {
        /* "Register B": SET forces the update interrupt's enable bit off. */
        rtc->ram[REG_B] = (uint8_t)((value & B_SET) != 0 ? value & ~C_UF : value);
    }
    if (!was_frozen && mc146818_is_frozen(rtc)) {
        rtc->frozen_ns = ns;
    } else if (was_frozen && !mc146818_is_frozen(rtc)) {
        /* "Divider Control": the first update comes half a second after the reset ends. */
        mc146818_set(rtc, was_reset ? NS_PER_S / 2
                                    : rtc->frozen_ns -
                                          mc146818_floor_div(rtc->frozen_ns, NS_PER_S) * NS_PER_S);
    }
    mc146818_update(rtc);
}

static void write_data(struct mc146818 *rtc, uint8_t value)
{
    int64_t ns;

    switch (rtc->index) {
    case REG_A:
    case REG_B:
        write_control(rtc, value);
        break;
    case REG_C:
    case REG_D:
        break; /* read-only */
    case SECONDS_ALARM:
    case MINUTES_ALARM:
    case HOURS_ALARM:
        catch_up(rtc);
        rtc->ram[rtc->index] = value;
        mc146818_update(rtc);
        break;
    case SECONDS:
    case MINUTES:
    case HOURS:
    case WEEKDAY:
    case MONTHDAY:
    case MONTH:
    case YEAR:
    case CENTURY:
        ns = mc146818_clock_ns(rtc);
        mc146818_show(rtc);
        rtc->ram[rtc->index] = value;
        if (!mc146818_is_frozen(rtc) && rtc->index != WEEKDAY) {
            mc146818_set(rtc, ns - mc146818_floor_div(ns, NS_PER_S) * NS_PER_S);
            mc146818_update(rtc);
        }
        break;
    default:
        rtc->ram[rtc->index] = value;
    }
}

/* Port 0 takes the address (bit 7 masks the NMI: there is none) and cannot be read; port 1 is the
 * data. */
static uint64_t mc146818_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    uint64_t value = 0;

    (void)region; /* there is one */
    for (uint32_t i = 0; i < size; i++) {
        uint8_t byte = offset + i == 1 ? read_data(device) : 0xff;

        value |= (uint64_t)byte << (8 * i);
    }
    return value;
}

static void mc146818_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                           uint64_t value)
{
    struct mc146818 *rtc = device;

    (void)region; /* there is one */
    for (uint32_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));

        if (offset + i == 0) {
            rtc->index = byte % CMOS_SIZE;
        } else if (offset + i == 1) {
            write_data(rtc, byte);
        }
    }
}

/* "RESET": interrupts off, flags down; time and memory stay. */
static void mc146818_reset(void *device)
{
    struct mc146818 *rtc = device;

    rtc->index = 0;
    catch_up(rtc);
    rtc->ram[REG_B] &= (uint8_t) ~(C_ALL | B_SQWE);
    rtc->ram[REG_C] = 0;
    mc146818_update(rtc);
}

/* A size at `at`, low byte first, in units of `unit`, no more than fits. */
static void put_size(struct mc146818 *rtc, uint32_t at, uint32_t bytes, uint64_t size,
                     uint64_t unit)
{
    uint64_t max = (UINT64_C(1) << (8 * bytes)) - 1;
    uint64_t value = size / unit < max ? size / unit : max;

    for (uint32_t i = 0; i < bytes; i++) {
        rtc->ram[at + i] = (uint8_t)(value >> (8 * i));
    }
}

static void put_memory_sizes(struct mc146818 *rtc, const struct vdev_config *config)
{
    const uint64_t kib = 1024, mib = 1024 * kib;
    uint64_t low = config->ram_below_4g;

    put_size(rtc, 0x15, 2, low < 640 * kib ? low : 640 * kib, kib);
    put_size(rtc, 0x17, 2, low > mib ? low - mib : 0, kib);
    put_size(rtc, 0x30, 2, low > mib ? low - mib : 0, kib);
    /* What firmware of today reads: in 64 KiB from 16 MiB and from 4 GiB on. */
    put_size(rtc, 0x34, 2, low > 16 * mib ? low - 16 * mib : 0, 64 * kib);
    put_size(rtc, 0x5b, 3, config->ram_above_4g, 64 * kib);
}

static int set_registers(struct mc146818 *rtc, const struct vdev_config *config)
{
    for (uint32_t i = 0; i < config->value_count; i++) {
        const struct vdev_value *value = &config->values[i];

        if (value->number[0] < FIRST_FREE || value->number[0] == CENTURY ||
            value->number[0] >= CMOS_SIZE) {
            return rtc->host->fail(rtc->slot, value,
                                   "reg 0x%02x is not free: 0x0e to 0x7f are, but for 0x32",
                                   (unsigned)value->number[0]);
        }
        rtc->ram[value->number[0]] = (uint8_t)value->number[1];
    }
    return 0;
}

static int mc146818_create(const struct vdev_services *host, struct vdev_slot *slot,
                           const struct vdev_config *config, void **device)
{
    struct mc146818 *rtc;
    int r;

    if (config->regions[0].size != 2) {
        return host->fail(slot, NULL, "the clock has 2 ports, 'loc' gives %llu",
                          (unsigned long long)config->regions[0].size);
    }
    rtc = calloc(1, sizeof(*rtc));
    if (rtc == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    rtc->host = host;
    rtc->slot = slot;
    rtc->ram[REG_A] = A_DV_32KHZ | 6; /* 1,024 Hz, as PC firmware leaves it */
    rtc->ram[REG_B] = B_24H;
    put_memory_sizes(rtc, config);
    r = set_registers(rtc, config);
    if (r != 0) {
        free(rtc);
        return r;
    }
    rtc->second_seen = mc146818_floor_div(mc146818_clock_ns(rtc), NS_PER_S);
    restart_periods(rtc);
    *device = rtc;
    return 0;
}

static void mc146818_state(void *device, vdev_state_fn add, void *context)
{
    struct mc146818 *rtc = device;
    struct mc146818_date date;
    char text[128];

    mc146818_date_of_second(mc146818_floor_div(mc146818_clock_ns(rtc), NS_PER_S), &date);
    (void)snprintf(text, sizeof(text), "%04lld-%02lld-%02lld %02lld:%02lld:%02lld%s",
                   (long long)date.year, (long long)date.month, (long long)date.day,
                   (long long)date.hour, (long long)date.minute, (long long)date.second,
                   mc146818_is_frozen(rtc) ? " stopped" : "");
    add(context, "time", text);
    (void)snprintf(text, sizeof(text), "a=%02x b=%02x c=%02x", rtc->ram[REG_A], rtc->ram[REG_B],
                   rtc->ram[REG_C]);
    add(context, "registers", text);
}

static const struct vdev_option options[] = {
    {
        .name = "reg",
        .kind = VDEV_OPTION_PAIR,
        .may_repeat = true,
        .max = 0xff,
        .doc = "OFFSET,VALUE: a byte of the battery-backed memory",
    },
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {
    {.space = VDEV_SPACE_IO, .start = 0x70, .size = 2},
};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = mc146818_create,
    .destroy = free,
    .reset = mc146818_reset,
    .read = mc146818_read,
    .write = mc146818_write,
    .timer = mc146818_timer,
    .state = mc146818_state,
    .save = mc146818_save,
    .restore = mc146818_restore,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "mc146818",
    .doc = "real-time clock and CMOS memory",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 1,
    .default_intr = 8,
    .acpi_hid = "PNP0B00",
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
