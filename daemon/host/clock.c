/* What time it is. */
#include "daemon/host/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS_PER_S  1000000000
#define NS_PER_MS 1000000

static int64_t read_ns(clockid_t clock)
{
    struct timespec now = {0};

    (void)clock_gettime(clock, &now); /* cannot fail for these clocks */
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t clock_real_ns(void)
{
    return read_ns(CLOCK_REALTIME);
}

int64_t clock_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_boot_ns(void)
{
    return read_ns(CLOCK_BOOTTIME);
}

char *clock_text(int64_t real_ns, char text[CLOCK_TEXT_SIZE])
{
    int64_t ns = real_ns % NS_PER_S;
    time_t seconds = (time_t)(real_ns / NS_PER_S);
    struct tm tm = {0};
    size_t used;

    if (ns < 0) {
        ns += NS_PER_S;
        seconds--;
    }
    (void)gmtime_r(&seconds, &tm); /* 64 bits of nanoseconds end in the year 2262 */
    used = strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(text + used, CLOCK_TEXT_SIZE - used, ".%03dZ", (int)(ns / NS_PER_MS));
    return text;
}

char *clock_now_text(char text[CLOCK_TEXT_SIZE])
{
    return clock_text(clock_real_ns(), text);
}

int clock_parse(const char *text, int64_t *real_ns)
{
    char again[CLOCK_TEXT_SIZE];
    struct tm tm = {0};
    int ms = 0;
    int used = 0;
    int64_t ns;

    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms, &used) != 7 ||
        tm.tm_year < 1970 || tm.tm_year > 2261) {
        return -EINVAL;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    ns = (int64_t)timegm(&tm) * NS_PER_S + (int64_t)ms * NS_PER_MS;
    if (used == 0 || strcmp(clock_text(ns, again), text) != 0) {
        return -EINVAL; /* the 31st of June, a missing digit, something behind it */
    }
    *real_ns = ns;
    return 0;
}
