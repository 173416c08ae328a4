/* The real-time clock of PCs, with its battery-backed memory: the Motorola MC146818A.
 *
 * "Data sheet" is Motorola's MC146818A, "Real-Time Clock Plus RAM (RTC)", ADI-1204 R1; headings are
 * quoted. The port pair 0x70, 0x71 and the places of the memory's size are those of IBM's PC AT,
 * Technical Reference 1502494, "Real-Time Clock/CMOS RAM Information".
 *
 * The clock is the host's, in UTC, plus what the guest set it off by. Nothing ticks: flags are
 * worked out when someone looks, and the timer is set for the next interrupt that is enabled, while
 * none is pending. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/vdev.h>

#define CMOS_SIZE 128u

/* "Address Map" */
#define SECONDS       0x00u
#define SECONDS_ALARM 0x01u
#define MINUTES       0x02u
#define MINUTES_ALARM 0x03u
#define HOURS         0x04u
#define HOURS_ALARM   0x05u
#define WEEKDAY       0x06u /* 1: Sunday */
#define MONTHDAY      0x07u
#define MONTH         0x08u
#define YEAR          0x09u
#define REG_A         0x0au
#define REG_B         0x0bu
#define REG_C         0x0cu
#define REG_D         0x0du
#define FIRST_FREE    0x0eu
#define CENTURY       0x32u /* IBM PC AT */

/* "Register A" */
#define A_UIP      0x80u /* update in progress */
#define A_DV_32KHZ 0x20u
#define A_DV_RESET 0x60u /* 11x: the divider is held in reset */
#define A_RS       0x0fu /* periodic rate */

/* "Register B": the enable bits are at the places of Register C's flags */
#define B_SET 0x80u
#define B_DM  0x04u /* binary, not BCD */
#define B_24H 0x02u

/* "Register C" */
#define C_IRQF 0x80u
#define C_PF   0x40u /* periodic */
#define C_AF   0x20u /* alarm */
#define C_UF   0x10u /* update ended */
#define C_ALL  0x70u

#define B_SQWE 0x08u

#define D_VRT 0x80u /* "Register D": the battery is good */

#define ALARM_ANY 0xc0u /* "Time, Calendar, and Alarm Locations": don't care */
#define HOUR_PM   0x80u

#define NS_PER_S     1000000000ll
#define UPDATE_NS    2228000ll /* "Update Cycle": 244 + 1984 us at 32.768 kHz */
#define DAY_S        86400ll
#define BASE_HZ      32768u
#define ALARM_LOOK_S 60 /* look again that often: the host's clock may be set meanwhile */

struct mc146818 {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    uint8_t index;
    uint8_t ram[CMOS_SIZE];     /* the first 14: as last shown, or as the guest set them */
    int64_t offset_ns;          /* guest's clock - host's */
    int64_t frozen_ns;          /* the clock while it stands still, for its fraction of a second */
    uint64_t periodic_start_ns; /* CLOCK_MONOTONIC */
    uint64_t periodic_seen;     /* periods since then that set PF already */
    int64_t second_seen;        /* last second that set UF and AF already */
};

static bool is_frozen(const struct mc146818 *rtc)
{
    return (rtc->ram[REG_B] & B_SET) != 0 || (rtc->ram[REG_A] & A_DV_RESET) == A_DV_RESET;
}

/* Wraps when the guest has set its clock to the last days that 64 bits can count: to the year
 * 1677, which the calendar below can do as well. */
static int64_t clock_ns(const struct mc146818 *rtc)
{
    return is_frozen(rtc) ? rtc->frozen_ns
                          : (int64_t)(rtc->host->wall_ns(rtc->slot) + (uint64_t)rtc->offset_ns);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/* Days since 1970-01-01 of a date in the Gregorian calendar; the year begins in March here, so
 * that the leap day is its last. */
static int64_t days_of_date(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t from_march = (month + 9) % 12;

    return 365 * y + floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400) +
           (153 * from_march + 2) / 5 + day - 1 - 719468;
}

static void date_of_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    *year = 1970 + floor_div(days * 400, 146097);
    while (days_of_date(*year + 1, 1, 1) <= days) {
        ++*year;
    }
    while (days_of_date(*year, 1, 1) > days) {
        --*year;
    }
    *month = 12;
    while (days_of_date(*year, *month, 1) > days) {
        --*month;
    }
    *day = days - days_of_date(*year, *month, 1) + 1;
}

static uint8_t encode(const struct mc146818 *rtc, int64_t value)
{
    return (uint8_t)((rtc->ram[REG_B] & B_DM) != 0 ? value : value / 10 * 16 + value % 10);
}

static int64_t decode(const struct mc146818 *rtc, uint8_t value)
{
    return (rtc->ram[REG_B] & B_DM) != 0 ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const struct mc146818 *rtc, int64_t hour)
{
    if ((rtc->ram[REG_B] & B_24H) != 0) {
        return encode(rtc, hour);
    }
    return (uint8_t)(encode(rtc, hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? HOUR_PM : 0));
}

static int64_t decode_hour(const struct mc146818 *rtc, uint8_t value)
{
    if ((rtc->ram[REG_B] & B_24H) != 0) {
        return decode(rtc, value);
    }
    return decode(rtc, value & 0x7f) % 12 + ((value & HOUR_PM) != 0 ? 12 : 0);
}

/* Show the clock in the registers. */
static void show_clock(struct mc146818 *rtc)
{
    int64_t seconds = floor_div(clock_ns(rtc), NS_PER_S);
    int64_t days = floor_div(seconds, DAY_S);
    int64_t of_day = seconds - days * DAY_S;
    int64_t year, month, day;

    if (is_frozen(rtc)) {
        return; /* the registers are the guest's now */
    }
    date_of_days(days, &year, &month, &day);
    rtc->ram[SECONDS] = encode(rtc, of_day % 60);
    rtc->ram[MINUTES] = encode(rtc, of_day / 60 % 60);
    rtc->ram[HOURS] = encode_hour(rtc, of_day / 3600);
    rtc->ram[WEEKDAY] = encode(rtc, (days % 7 + 11) % 7 + 1); /* day 0 was a Thursday */
    rtc->ram[MONTHDAY] = encode(rtc, day);
    rtc->ram[MONTH] = encode(rtc, month);
    rtc->ram[YEAR] = encode(rtc, year % 100);
    rtc->ram[CENTURY] = encode(rtc, year / 100);
}

/* Set the clock by the registers, `fraction_ns` into their second. Values that are no time are
 * bent to one. */
static void set_clock(struct mc146818 *rtc, int64_t fraction_ns)
{
    int64_t month = decode(rtc, rtc->ram[MONTH]);
    int64_t year = decode(rtc, rtc->ram[CENTURY]) * 100 + decode(rtc, rtc->ram[YEAR]);
    int64_t days, seconds;

    month = month < 1 ? 1 : month > 12 ? 12 : month;
    days = days_of_date(year, month, decode(rtc, rtc->ram[MONTHDAY]));
    seconds = days * DAY_S + decode_hour(rtc, rtc->ram[HOURS]) * 3600 +
              decode(rtc, rtc->ram[MINUTES]) * 60 + decode(rtc, rtc->ram[SECONDS]);
    /* Two wild bytes say up to the year 25,755: what nanoseconds in 64 bits cannot hold is 1970. */
    if (seconds > INT64_MAX / NS_PER_S - DAY_S || seconds < 0) {
        seconds = 0;
    }
    rtc->offset_ns =
        (int64_t)((uint64_t)(seconds * NS_PER_S + fraction_ns) - rtc->host->wall_ns(rtc->slot));
    rtc->second_seen = seconds;
}

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

/* How far from `now` to `alarm`, both in 0..count-1; 0: it is now, or the alarm is for any. -1:
 * that time never comes. */
static int64_t steps_to(uint8_t alarm, int64_t decoded, int64_t now, int64_t count)
{
    if ((alarm & ALARM_ANY) == ALARM_ANY) {
        return 0;
    }
    return decoded < count ? (decoded - now + count) % count : -1;
}

/* The first second after `after` at which the alarm rings; INT64_MAX: none within a day. */
static int64_t next_alarm(const struct mc146818 *rtc, int64_t after)
{
    int64_t at = after + 1;

    while (at <= after + DAY_S) {
        int64_t of_day = at - floor_div(at, DAY_S) * DAY_S;
        int64_t hours = steps_to(rtc->ram[HOURS_ALARM], decode_hour(rtc, rtc->ram[HOURS_ALARM]),
                                 of_day / 3600, 24);
        int64_t minutes = steps_to(rtc->ram[MINUTES_ALARM], decode(rtc, rtc->ram[MINUTES_ALARM]),
                                   of_day / 60 % 60, 60);
        int64_t seconds = steps_to(rtc->ram[SECONDS_ALARM], decode(rtc, rtc->ram[SECONDS_ALARM]),
                                   of_day % 60, 60);

        if (hours < 0 || minutes < 0 || seconds < 0) {
            return INT64_MAX;
        }
        if (hours > 0) {
            at += hours * 3600 - of_day % 3600; /* the beginning of that hour */
        } else if (minutes > 0) {
            at += minutes * 60 - of_day % 60; /* of that minute, or of its like in the next hour */
        } else if (seconds > 0) {
            at += seconds;
        } else {
            return at;
        }
    }
    return INT64_MAX;
}

/* Set the flags of what happened since the last look. */
static void catch_up(struct mc146818 *rtc)
{
    uint64_t period = period_of_rate(rtc);
    int64_t second = floor_div(clock_ns(rtc), NS_PER_S);

    if (period != 0) {
        uint64_t periods = periods_until(rtc, rtc->host->now_ns(rtc->slot), period);

        if (periods > rtc->periodic_seen) {
            rtc->periodic_seen = periods;
            rtc->ram[REG_C] |= C_PF;
        }
    }
    if (!is_frozen(rtc) && second != rtc->second_seen) {
        /* A clock that was set backward rang nothing; one set far forward at most once. */
        int64_t since = second - rtc->second_seen > DAY_S ? second - DAY_S : rtc->second_seen;

        if (second > since && next_alarm(rtc, since) <= second) {
            rtc->ram[REG_C] |= C_AF;
        }
        rtc->second_seen = second;
        rtc->ram[REG_C] |= C_UF;
    }
}

/* The interrupt line, and the timer for the next enabled interrupt. */
static void update_interrupt(struct mc146818 *rtc)
{
    uint32_t enabled = rtc->ram[REG_B] & C_ALL;
    bool is_pending = (rtc->ram[REG_C] & enabled) != 0;
    uint64_t now_ns = rtc->host->now_ns(rtc->slot);
    uint64_t period = period_of_rate(rtc);
    uint64_t deadline = 0, at;

    rtc->host->intr(rtc->slot, is_pending);
    if (!is_pending && (enabled & C_PF) != 0 && period != 0) {
        deadline = time_of_period(rtc, rtc->periodic_seen + 1, period);
    }
    if (!is_pending && (enabled & (C_UF | C_AF)) != 0 && !is_frozen(rtc)) {
        int64_t ns = clock_ns(rtc);
        int64_t second = floor_div(ns, NS_PER_S);
        int64_t ring =
            (enabled & C_UF) != 0 ? rtc->second_seen + 1 : next_alarm(rtc, rtc->second_seen);
        int64_t wait_s = ring < second + ALARM_LOOK_S ? ring - second : ALARM_LOOK_S;
        int64_t wait = wait_s > 0 ? wait_s * NS_PER_S - (ns - second * NS_PER_S) : 1;

        at = now_ns + (uint64_t)(wait > 0 ? wait : 1);
        deadline = deadline == 0 || at < deadline ? at : deadline;
    }
    rtc->host->timer(rtc->slot, deadline);
}

static void mc146818_timer(void *device)
{
    struct mc146818 *rtc = device;

    catch_up(rtc);
    update_interrupt(rtc);
}

static uint8_t read_data(struct mc146818 *rtc)
{
    uint8_t value;
    int64_t ns;

    switch (rtc->index) {
    case REG_A:
        ns = clock_ns(rtc);
        ns -= floor_div(ns, NS_PER_S) * NS_PER_S;
        return (uint8_t)(rtc->ram[REG_A] |
                         (!is_frozen(rtc) && ns >= NS_PER_S - UPDATE_NS ? A_UIP : 0));
    case REG_C:
        catch_up(rtc);
        value = rtc->ram[REG_C];
        value |= (value & rtc->ram[REG_B] & C_ALL) != 0 ? C_IRQF : 0;
        rtc->ram[REG_C] = 0;
        update_interrupt(rtc);
        return value;
    case REG_D:
        return D_VRT;
    default:
        show_clock(rtc);
        return rtc->ram[rtc->index];
    }
}

/* Registers A and B may stop the clock, and let it go on from what its registers say. */
static void write_control(struct mc146818 *rtc, uint8_t value)
{
    bool was_frozen = is_frozen(rtc);
    bool was_reset = (rtc->ram[REG_A] & A_DV_RESET) == A_DV_RESET;
    int64_t ns = clock_ns(rtc);

    catch_up(rtc);
    show_clock(rtc);
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
    if (!was_frozen && is_frozen(rtc)) {
        rtc->frozen_ns = ns;
    } else if (was_frozen && !is_frozen(rtc)) {
        /* "Divider Control": the first update comes half a second after the reset ends. */
        set_clock(rtc, was_reset ? NS_PER_S / 2
                                 : rtc->frozen_ns - floor_div(rtc->frozen_ns, NS_PER_S) * NS_PER_S);
    }
    update_interrupt(rtc);
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
        update_interrupt(rtc);
        break;
    case SECONDS:
    case MINUTES:
    case HOURS:
    case WEEKDAY:
    case MONTHDAY:
    case MONTH:
    case YEAR:
    case CENTURY:
        ns = clock_ns(rtc);
        show_clock(rtc);
        rtc->ram[rtc->index] = value;
        if (!is_frozen(rtc) && rtc->index != WEEKDAY) {
            set_clock(rtc, ns - floor_div(ns, NS_PER_S) * NS_PER_S);
            update_interrupt(rtc);
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
    update_interrupt(rtc);
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
    rtc->second_seen = floor_div(clock_ns(rtc), NS_PER_S);
    restart_periods(rtc);
    *device = rtc;
    return 0;
}

static void mc146818_destroy(void *device)
{
    free(device);
}

static void mc146818_state(void *device, vdev_state_fn add, void *context)
{
    struct mc146818 *rtc = device;
    int64_t seconds = floor_div(clock_ns(rtc), NS_PER_S);
    int64_t days = floor_div(seconds, DAY_S);
    int64_t of_day = seconds - days * DAY_S;
    int64_t year, month, day;
    char text[128];

    date_of_days(days, &year, &month, &day);
    (void)snprintf(text, sizeof(text), "%04lld-%02lld-%02lld %02lld:%02lld:%02lld%s",
                   (long long)year, (long long)month, (long long)day, (long long)of_day / 3600,
                   (long long)of_day / 60 % 60, (long long)of_day % 60,
                   is_frozen(rtc) ? " stopped" : "");
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
    .destroy = mc146818_destroy,
    .reset = mc146818_reset,
    .read = mc146818_read,
    .write = mc146818_write,
    .timer = mc146818_timer,
    .state = mc146818_state,
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
