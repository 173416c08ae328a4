/* The time of the MC146818A: calendar, encodings, alarm. */
#include "vdevs/mc146818.h"

bool mc146818_is_frozen(const struct mc146818 *rtc)
{
    return (rtc->ram[REG_B] & B_SET) != 0 || (rtc->ram[REG_A] & A_DV_RESET) == A_DV_RESET;
}

/* Wraps when the guest has set its clock to the last days that 64 bits can count: to the year
 * 1677, which the calendar below can do as well. */
int64_t mc146818_clock_ns(const struct mc146818 *rtc)
{
    return mc146818_is_frozen(rtc)
               ? rtc->frozen_ns
               : (int64_t)(rtc->host->wall_ns(rtc->slot) + (uint64_t)rtc->offset_ns);
}

int64_t mc146818_floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/* Days since 1970-01-01 of a date in the Gregorian calendar; the year begins in March here, so
 * that the leap day is its last. */
static int64_t days_of_date(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t from_march = (month + 9) % 12;

    return 365 * y + mc146818_floor_div(y, 4) - mc146818_floor_div(y, 100) +
           mc146818_floor_div(y, 400) + (153 * from_march + 2) / 5 + day - 1 - 719468;
}

static void date_of_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    *year = 1970 + mc146818_floor_div(days * 400, 146097);
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

void mc146818_date_of_second(int64_t seconds, struct mc146818_date *date)
{
    int64_t days = mc146818_floor_div(seconds, DAY_S);
    int64_t of_day = seconds - days * DAY_S;

    date_of_days(days, &date->year, &date->month, &date->day);
    date->hour = of_day / 3600;
    date->minute = of_day / 60 % 60;
    date->second = of_day % 60;
    date->weekday = (days % 7 + 11) % 7 + 1; /* day 0 was a Thursday */
}

void mc146818_show(struct mc146818 *rtc)
{
    struct mc146818_date date;

    if (mc146818_is_frozen(rtc)) {
        return;
    }
    mc146818_date_of_second(mc146818_floor_div(mc146818_clock_ns(rtc), NS_PER_S), &date);
    rtc->ram[SECONDS] = encode(rtc, date.second);
    rtc->ram[MINUTES] = encode(rtc, date.minute);
    rtc->ram[HOURS] = encode_hour(rtc, date.hour);
    rtc->ram[WEEKDAY] = encode(rtc, date.weekday);
    rtc->ram[MONTHDAY] = encode(rtc, date.day);
    rtc->ram[MONTH] = encode(rtc, date.month);
    rtc->ram[YEAR] = encode(rtc, date.year % 100);
    rtc->ram[CENTURY] = encode(rtc, date.year / 100);
}

void mc146818_set(struct mc146818 *rtc, int64_t fraction_ns)
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

/* How far from `now` to `alarm`, both in 0..count-1; 0: it is now, or the alarm is for any. -1:
 * that time never comes. */
static int64_t steps_to(uint8_t alarm, int64_t decoded, int64_t now, int64_t count)
{
    if ((alarm & ALARM_ANY) == ALARM_ANY) {
        return 0;
    }
    return decoded < count ? (decoded - now + count) % count : -1;
}

int64_t mc146818_next_alarm(const struct mc146818 *rtc, int64_t after)
{
    int64_t at = after + 1;

    while (at <= after + DAY_S) {
        int64_t of_day = at - mc146818_floor_div(at, DAY_S) * DAY_S;
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
