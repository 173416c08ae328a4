/* Rounds of an I/O thread: what it begins between two waits, and how long it lets more come. */
#include <time.h>

#include "qvm-worker/vdev/coalesce.h"
#include "qvm-worker/vdev/event_private.h"
#include "qvm-worker/vdev/private.h"

static uint64_t host_clock_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Nobody wakes the thread up: it is short. */
void vdev_host_coalesce(struct vdev_slot *slot)
{
    struct vdev_events *events = slot->events;
    uint64_t delay_ns = coalesce_delay_ns(&events->coalesce), until_ns;
    struct timespec until;

    if (delay_ns == 0) {
        return;
    }
    until_ns = host_clock_ns() + delay_ns;
    until.tv_sec = (time_t)(until_ns / 1000000000u);
    until.tv_nsec = (long)(until_ns % 1000000000u);
    (void)pthread_mutex_lock(&slot->lock);
    while (pthread_cond_clockwait(&events->thread_changed, &slot->lock, CLOCK_MONOTONIC, &until) ==
           0) {
    }
    (void)pthread_mutex_unlock(&slot->lock);
}

void vdev_host_end_round(struct vdev_slot *slot)
{
    struct vdev_events *events = slot->events;
    uint64_t bytes;
    uint32_t begun;

    (void)pthread_mutex_lock(&slot->lock);
    begun = events->begun;
    bytes = events->begun_bytes;
    events->begun = 0;
    events->begun_bytes = 0;
    (void)pthread_mutex_unlock(&slot->lock);
    coalesce_round(&events->coalesce, host_clock_ns(), begun, bytes);
}
