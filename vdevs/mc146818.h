/* The clock inside the MC146818A: its registers, its time. Used by vdev-mc146818.c and
 * mc146818_time.c alone; the data sheet is named in the former. */
#ifndef QVM_VDEVS_MC146818_H
#define QVM_VDEVS_MC146818_H

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
    uint64_t periodic_start_ns; /* of now_ns() */
    uint64_t periodic_seen;     /* periods since then that set PF already */
    int64_t second_seen;        /* last second that set UF and AF already */
};

/* A date and a time of day. */
struct mc146818_date {
    int64_t year, month, day, hour, minute, second;
    int64_t weekday; /* 1: Sunday */
};

int64_t mc146818_floor_div(int64_t a, int64_t b);

/* SET, or the divider in reset: the clock stands still and its registers are the guest's. */
bool mc146818_is_frozen(const struct mc146818 *rtc);

/* The guest's clock, ns since 1970. */
int64_t mc146818_clock_ns(const struct mc146818 *rtc);

void mc146818_date_of_second(int64_t seconds, struct mc146818_date *date);

/* Show the clock in the registers, unless it stands still. */
void mc146818_show(struct mc146818 *rtc);

/* Set the clock by the registers, `fraction_ns` into their second. Values that are no time are
 * bent to one. */
void mc146818_set(struct mc146818 *rtc, int64_t fraction_ns);

/* The first second after `after` at which the alarm rings; INT64_MAX: none within a day. */
int64_t mc146818_next_alarm(const struct mc146818 *rtc, int64_t after);

/* The interrupt line, and the timer for the next enabled interrupt. */
void mc146818_update(struct mc146818 *rtc);

/* Periods that are not over yet cannot have been seen: begin anew where they were. */
void mc146818_check_periods(struct mc146818 *rtc);

int mc146818_save(void *device);
int mc146818_restore(void *device);

#endif
