/* What a clock saves, and how it is restored. */
#include <qvm/vdev_fields.h>

#include "vdevs/mc146818.h"

#define OFFSET_MAX_NS (INT64_C(4) << 60) /* a century and more: sums with the host's clock fit */

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct mc146818, index, CMOS_SIZE - 1),
    VDEV_BYTES(2, struct mc146818, ram),
    VDEV_NUMBER(3, struct mc146818, offset_ns, 0), /* signed, as the next and the last */
    VDEV_NUMBER(4, struct mc146818, frozen_ns, 0),
    VDEV_TIME(5, struct mc146818, periodic_start_ns),
    VDEV_NUMBER(6, struct mc146818, periodic_seen, 0),
    VDEV_NUMBER(7, struct mc146818, second_seen, 0),
    {0},
};

int mc146818_save(void *device)
{
    const struct mc146818 *rtc = device;

    return vdev_put_fields(rtc->host, rtc->slot, fields, 0, rtc);
}

static bool is_within(int64_t value, int64_t max)
{
    return value >= -max && value <= max;
}

int mc146818_restore(void *device)
{
    struct mc146818 *rtc = device;
    int r = vdev_get_fields(rtc->host, rtc->slot, fields, 0, rtc);

    if (r == 0 &&
        (!is_within(rtc->offset_ns, OFFSET_MAX_NS) || !is_within(rtc->frozen_ns, OFFSET_MAX_NS) ||
         !is_within(rtc->second_seen, OFFSET_MAX_NS / NS_PER_S))) {
        rtc->offset_ns = rtc->frozen_ns = rtc->second_seen = 0; /* a reset keeps them */
        r = rtc->host->fail(rtc->slot, NULL, "that is no time");
    }
    rtc->ram[REG_A] &= (uint8_t)~A_UIP;
    rtc->ram[REG_C] &= C_ALL;
    mc146818_check_periods(rtc);
    if (r == 0) {
        mc146818_update(rtc); /* an alarm is at a time of the day, however long nobody ran */
    }
    return r;
}
