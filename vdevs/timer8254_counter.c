/* One counter of an Intel 8254: "Mode Definitions". */
#include "vdevs/timer8254.h"

#define NS_PER_S 1000000000ull

int64_t timer8254_ticks(uint64_t ns)
{
    return (int64_t)(ns / NS_PER_S * TIMER8254_HZ + ns % NS_PER_S * TIMER8254_HZ / NS_PER_S);
}

uint64_t timer8254_ns(uint64_t ticks)
{
    return ticks / TIMER8254_HZ * NS_PER_S +
           (ticks % TIMER8254_HZ * NS_PER_S + TIMER8254_HZ - 1) / TIMER8254_HZ;
}

static bool is_periodic(const struct timer8254_counter *counter)
{
    return counter->mode == 2 || counter->mode == 3;
}

static bool is_triggered_by_gate(const struct timer8254_counter *counter)
{
    return counter->mode == 1 || counter->mode == 5;
}

static bool is_counting(const struct timer8254_counter *counter)
{
    return counter->is_loaded && (counter->is_triggered || !is_triggered_by_gate(counter));
}

/* Ticks since the count was loaded; it is loaded by the tick after it was written. */
static int64_t tick_of(const struct timer8254_counter *counter, uint64_t now_ns)
{
    if (counter->is_stopped) {
        return counter->stopped_tick;
    }
    return now_ns >= counter->start_ns ? timer8254_ticks(now_ns - counter->start_ns) : -1;
}

/* What the counting element holds, in plain binary. */
static uint32_t count_of(const struct timer8254_counter *counter, uint64_t now_ns)
{
    uint32_t n = counter->reload, high = (n + 1) / 2, wrap = counter->is_bcd ? 10000 : 65536;
    int64_t tick = tick_of(counter, now_ns);
    uint32_t at;

    if (!is_counting(counter) || tick < 0) {
        return n % wrap;
    }
    switch (counter->mode) {
    case 2:
        return (n - (uint32_t)(tick % n)) % wrap;
    case 3: /* it counts by two, twice in a period */
        at = (uint32_t)(tick % n);
        return ((n & ~1u) - 2 * (at < high ? at : at - high)) % wrap;
    default: /* on and on */
        return (uint32_t)((n % wrap + wrap - (uint64_t)tick % wrap) % wrap);
    }
}

bool timer8254_out(const struct timer8254_counter *counter, uint64_t now_ns)
{
    int64_t tick = tick_of(counter, now_ns), n = counter->reload;

    if (!is_counting(counter) || tick < 0) {
        return counter->mode != 0;
    }
    switch (counter->mode) {
    case 0:
    case 1:
        return tick >= n;
    case 2:
        return counter->is_stopped || tick % n != n - 1;
    case 3:
        return counter->is_stopped || tick % n < (n + 1) / 2;
    default: /* 4, 5: a strobe */
        return tick != n;
    }
}

uint64_t timer8254_rises(const struct timer8254_counter *counter, uint64_t now_ns)
{
    int64_t tick = tick_of(counter, now_ns), n = counter->reload;

    if (!is_counting(counter) || counter->is_stopped || tick < 0) {
        return 0;
    }
    if (is_periodic(counter)) {
        return (uint64_t)(tick / n);
    }
    return tick >= timer8254_rise_tick(counter, 1) ? 1 : 0;
}

int64_t timer8254_rise_tick(const struct timer8254_counter *counter, uint64_t number)
{
    int64_t n = counter->reload;

    if (!is_counting(counter) || counter->is_stopped || number == 0 ||
        (number > 1 && !is_periodic(counter))) {
        return TIMER8254_NEVER;
    }
    if (is_periodic(counter)) {
        return (int64_t)number * n;
    }
    return counter->mode >= 4 ? n + 1 : n;
}

void timer8254_control(struct timer8254_counter *counter, uint8_t control)
{
    uint8_t mode = CONTROL_MODE(control);

    counter->access = CONTROL_ACCESS(control);
    counter->mode = mode > 5 ? mode - 4 : mode; /* X10 is 2, X11 is 3 */
    counter->is_bcd = (control & CONTROL_BCD) != 0;
    counter->is_loaded = false;
    counter->is_triggered = false;
    counter->is_stopped = false;
    counter->is_high_next = false;
    counter->reads_high = false;
    counter->has_latch = false;
    counter->has_status = false;
}

static uint32_t from_bcd(uint32_t value)
{
    uint32_t number = 0;

    for (int shift = 12; shift >= 0; shift -= 4) {
        number = number * 10 + (value >> shift & 15);
    }
    return number > 9999 ? 9999 : number; /* digits above 9 are not defined */
}

static uint16_t to_bcd(uint32_t number)
{
    uint32_t value = 0;

    for (int shift = 0; shift < 16; shift += 4, number /= 10) {
        value |= number % 10 << shift;
    }
    return (uint16_t)value;
}

/* A whole count was written. While a periodic counter runs, the new count waits for the end of the
 * period; here the period begins anew. */
static void load(struct timer8254_counter *counter, uint32_t value, uint64_t now_ns)
{
    uint32_t number = counter->is_bcd ? from_bcd(value) : value;
    bool was_counting = is_counting(counter);

    counter->reload = number != 0 ? number : (counter->is_bcd ? 10000 : 65536);
    counter->is_loaded = true;
    if (is_triggered_by_gate(counter) && was_counting) {
        return; /* "the current one-shot is not affected"; the next trigger takes it */
    }
    counter->start_ns = now_ns + timer8254_ns(1);
    counter->is_stopped = !counter->gate && !is_triggered_by_gate(counter);
    counter->stopped_tick = 0;
}

bool timer8254_write(struct timer8254_counter *counter, uint8_t value, uint64_t now_ns)
{
    switch (counter->access) {
    case ACCESS_LOW:
        load(counter, value, now_ns);
        return true;
    case ACCESS_HIGH:
        load(counter, (uint32_t)value << 8, now_ns);
        return true;
    default:
        counter->is_high_next = !counter->is_high_next;
        if (counter->is_high_next) {
            counter->low = value;
            if (counter->mode == 0) {
                counter->is_loaded = false; /* "writing the first byte disables counting" */
            }
            return false;
        }
        load(counter, (uint32_t)value << 8 | counter->low, now_ns);
        return true;
    }
}

static uint16_t visible_count(const struct timer8254_counter *counter, uint64_t now_ns)
{
    uint32_t count = count_of(counter, now_ns);

    return counter->is_bcd ? to_bcd(count) : (uint16_t)count;
}

void timer8254_latch(struct timer8254_counter *counter, bool count, bool status, uint64_t now_ns)
{
    /* What is latched already stays until it is read. */
    if (count && !counter->has_latch) {
        counter->latch = visible_count(counter, now_ns);
        counter->has_latch = true;
    }
    if (status && !counter->has_status) {
        bool is_null = !counter->is_loaded || (tick_of(counter, now_ns) < 0);

        counter->status =
            (uint8_t)((timer8254_out(counter, now_ns) ? STATUS_OUT : 0) |
                      (is_null ? STATUS_NULL : 0) | (unsigned)counter->access << 4 |
                      (unsigned)counter->mode << 1 | (counter->is_bcd ? CONTROL_BCD : 0));
        counter->has_status = true;
    }
}

uint8_t timer8254_read(struct timer8254_counter *counter, uint64_t now_ns)
{
    uint16_t count = counter->has_latch ? counter->latch : visible_count(counter, now_ns);
    bool is_high = counter->access == ACCESS_HIGH;

    if (counter->has_status) { /* "the first read operation will return status" */
        counter->has_status = false;
        return counter->status;
    }
    if (counter->access == ACCESS_BOTH) {
        is_high = counter->reads_high;
        counter->reads_high = !counter->reads_high;
    }
    if (counter->access != ACCESS_BOTH || is_high) {
        counter->has_latch = false;
    }
    return (uint8_t)(is_high ? count >> 8 : count);
}

void timer8254_gate(struct timer8254_counter *counter, bool gate, uint64_t now_ns)
{
    bool rises = gate && !counter->gate;

    if (gate == counter->gate) {
        return;
    }
    counter->gate = gate;
    if (is_triggered_by_gate(counter)) {
        if (rises && counter->is_loaded) {
            counter->is_triggered = true;
            counter->start_ns = now_ns + timer8254_ns(1);
        }
    } else if (!gate) {
        counter->stopped_tick = tick_of(counter, now_ns);
        counter->is_stopped = true;
    } else if (is_periodic(counter) || counter->stopped_tick < 0) {
        counter->is_stopped = false; /* "a trigger reloads the counter with the initial count" */
        counter->start_ns = now_ns + timer8254_ns(1);
    } else if (counter->is_stopped) {
        counter->is_stopped = false;
        counter->start_ns = now_ns - timer8254_ns((uint64_t)counter->stopped_tick);
    }
}
