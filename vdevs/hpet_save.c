/* What an HPET saves, and how it is restored. */
#include <qvm/vdev_fields.h>

#include "vdevs/hpet.h"

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct hpet, config, CONFIG_ENABLE | CONFIG_LEGACY),
    VDEV_NUMBER(2, struct hpet, status, UINT32_MAX),
    VDEV_NUMBER(3, struct hpet, counter, 0),
    VDEV_TIME(4, struct hpet, start_ns),
    {0},
};

/* Tags of timer N are those of its table and 16 times N + 1. */
#define TIMER_TAGS(n) (16u * ((n) + 1))

static const struct vdev_field timer_fields[] = {
    VDEV_NUMBER(1, struct timer, config, T_WRITABLE),
    VDEV_NUMBER(2, struct timer, comparator, 0),
    VDEV_NUMBER(3, struct timer, period, 0),
    VDEV_NUMBER(4, struct timer, message, 0),
    VDEV_NUMBER(5, struct timer, is_set, 1),
    VDEV_NUMBER(6, struct timer, is_armed, 1),
    VDEV_NUMBER(7, struct timer, due, 0),
    VDEV_TIME(8, struct timer, last_ns),
    VDEV_TIME(9, struct timer, deadline_ns),
    {0},
};

int hpet_save(void *device)
{
    const struct hpet *hpet = device;
    int r = vdev_put_fields(hpet->host, hpet->slot, fields, 0, hpet);

    for (uint32_t i = 0; r == 0 && i < hpet->timer_count; i++) {
        r = vdev_put_fields(hpet->host, hpet->slot, timer_fields, TIMER_TAGS(i), &hpet->timers[i]);
    }
    return r;
}

int hpet_restore(void *device)
{
    struct hpet *hpet = device;
    int r = vdev_get_fields(hpet->host, hpet->slot, fields, 0, hpet);

    hpet->config &= CONFIG_ENABLE | (hpet->has_legacy ? CONFIG_LEGACY : 0);
    hpet_route_legacy(hpet);
    for (uint32_t i = 0; r == 0 && i < hpet->timer_count; i++) {
        struct timer *timer = &hpet->timers[i];

        r = vdev_get_fields(hpet->host, hpet->slot, timer_fields, TIMER_TAGS(i), timer);
        timer->config &= T_WRITABLE;
        if (r == 0) {
            hpet->host->intr(hpet->slot, i, (hpet->status & UINT64_C(1) << i) != 0);
            hpet->host->timer(hpet->slot, i, timer->deadline_ns);
        }
    }
    return r;
}
