/* One counter of an Intel 8254. Used by vdev-timer8254.c and timer8254_counter.c alone; the data
 * sheet is named in the former.
 *
 * Nothing ticks: a counter is the moment when its count was loaded, and what it shows is worked out
 * when somebody looks. Ticks are those of the PC's 1.193182 MHz. */
#ifndef QVM_VDEVS_TIMER8254_H
#define QVM_VDEVS_TIMER8254_H

#include <stdbool.h>
#include <stdint.h>

#define TIMER8254_HZ    1193182u
#define TIMER8254_NEVER INT64_MAX

/* "Control Word Format" */
#define CONTROL_COUNTER(v) ((v) >> 6)
#define CONTROL_ACCESS(v)  ((v) >> 4 & 3u)
#define CONTROL_MODE(v)    ((v) >> 1 & 7u)
#define CONTROL_BCD        0x01u
#define ACCESS_LATCH       0u
#define ACCESS_LOW         1u
#define ACCESS_HIGH        2u
#define ACCESS_BOTH        3u
#define COUNTER_READ_BACK  3u

/* "Read-Back Command": a bit that is 0 latches. */
#define READ_BACK_NO_COUNT  0x20u
#define READ_BACK_NO_STATUS 0x10u

/* "Status Byte" */
#define STATUS_OUT  0x80u
#define STATUS_NULL 0x40u

struct timer8254_counter {
    uint8_t mode, access; /* mode: 0 to 5 */
    bool is_bcd;
    bool gate;
    bool is_loaded;    /* a whole count was written since the control word */
    bool is_triggered; /* modes 1 and 5: the gate rose since then */
    bool is_stopped;   /* the gate holds it: at `stopped_tick` */
    bool is_high_next; /* the second of two bytes is written next */
    bool reads_high;   /* ... read next */
    bool has_latch, has_status;
    uint8_t low;       /* the first of two bytes written */
    uint8_t status;    /* latched */
    uint16_t latch;    /* as the guest reads it */
    uint32_t reload;   /* 1 to 65,536, or 10,000 */
    uint64_t start_ns; /* when it was loaded */
    int64_t stopped_tick;
};

/* Ticks within `ns`, and ns after which `ticks` have passed. */
int64_t timer8254_ticks(uint64_t ns);
uint64_t timer8254_ns(uint64_t ticks);

void timer8254_control(struct timer8254_counter *counter, uint8_t control);
/* Latch by a read-back command or by the counter latch command (which is one of count alone). */
void timer8254_latch(struct timer8254_counter *counter, bool count, bool status, uint64_t now_ns);
/* A byte of the count; returns whether a new count is there now. */
bool timer8254_write(struct timer8254_counter *counter, uint8_t value, uint64_t now_ns);
uint8_t timer8254_read(struct timer8254_counter *counter, uint64_t now_ns);
void timer8254_gate(struct timer8254_counter *counter, bool gate, uint64_t now_ns);
bool timer8254_out(const struct timer8254_counter *counter, uint64_t now_ns);

/* How often OUT has risen since the count was loaded, and the tick of rise number `number` (from
 * 1); TIMER8254_NEVER: it will not. */
uint64_t timer8254_rises(const struct timer8254_counter *counter, uint64_t now_ns);
int64_t timer8254_rise_tick(const struct timer8254_counter *counter, uint64_t number);

#endif
