/* Say once per second that L1 is alive, on the port lab.beat: its uptime and its load.
 *
 * It runs with real-time priority and locked memory, so that only a frozen machine silences it,
 * never a busy one. It goes to the background as soon as the first beat is out. */
#include "tests/lab/inside/port.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

enum { REALTIME_PRIORITY = 50 };

static int beat(int fd, unsigned long count)
{
    struct sysinfo info = {0};
    char line[120];
    int size;

    (void)sysinfo(&info); /* fails only for a bad pointer */
    size = snprintf(line, sizeof(line), "beat %lu uptime %ld load %.2f free %lu MiB\n", count,
                    info.uptime, (double)info.loads[0] / (double)(1 << SI_LOAD_SHIFT),
                    info.freeram * info.mem_unit >> 20);
    return port_write(fd, line, (size_t)size);
}

int main(void)
{
    const struct sched_param param = {.sched_priority = REALTIME_PRIORITY};
    struct timespec next = {0};
    int fd = port_open("lab.beat");
    int r = fd < 0 ? fd : beat(fd, 0);

    if (r < 0) {
        (void)fprintf(stderr, "heartbeat: no port lab.beat: %s\n", strerror(-r));
        return 1;
    }
    if (daemon(0, 0) < 0 || sched_setscheduler(0, SCHED_FIFO, &param) < 0 ||
        mlockall(MCL_CURRENT | MCL_FUTURE) < 0) {
        perror("heartbeat");
        return 1;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &next); /* cannot fail with this clock */
    for (unsigned long count = 1; r == 0; count++) {
        next.tv_sec++;
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL); /* late is fine */
        r = beat(fd, count);
    }
    return 1;
}
