#include "qvm-worker/console/bell.h"

#include <time.h>
#include <unistd.h>

void bell_init(struct bell *bell)
{
    bell->fd = -1;
    atomic_init(&bell->last_ms, 0);
}

/* Of several threads one rings; what the others had to tell is there when it is heard. */
void bell_ring(struct bell *bell)
{
    long long last = atomic_load_explicit(&bell->last_ms, memory_order_relaxed);
    struct timespec time;
    long long now;

    if (bell->fd < 0) {
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail */
    now = time.tv_sec * 1000ll + time.tv_nsec / 1000000;
    if ((last == 0 || now - last >= (long long)BELL_MS) &&
        atomic_compare_exchange_strong(&bell->last_ms, &last, now)) {
        (void)!write(bell->fd, "", 1); /* no room: what waits there is as good */
    }
}
