/* The HPET's registers and state: for vdev-hpet.c and hpet_save.c alone. The specification is named
 * in the former. */
#ifndef QVM_VDEVS_HPET_H
#define QVM_VDEVS_HPET_H

#include <qvm/vdev.h>

#define HPET_NO_ROUTE 32u

/* 2.3.5 */
#define CONFIG_ENABLE 0x1u
#define CONFIG_LEGACY 0x2u

/* 2.3.8 */
#define T_LEVEL      0x0002u
#define T_ENABLE     0x0004u
#define T_PERIODIC   0x0008u
#define T_CAN_PERIOD 0x0010u
#define T_CAN_64BIT  0x0020u
#define T_SET_VALUE  0x0040u
#define T_32BIT      0x0100u
#define T_ROUTE(r)   ((uint64_t)(r) << 9)
#define T_MESSAGE    0x4000u
#define T_CAN_MSI    0x8000u
#define T_WRITABLE   (T_LEVEL | T_ENABLE | T_PERIODIC | T_SET_VALUE | T_32BIT | T_MESSAGE)

struct timer {
    uint64_t config;     /* bits of T_WRITABLE */
    uint64_t comparator; /* the value at which it fires */
    uint64_t period;     /* as last written */
    uint64_t message;    /* 2.3.10: address << 32 | data */
    uint32_t route;      /* the line, or HPET_NO_ROUTE */
    bool is_set;         /* the comparator was written since the reset */
    bool is_armed;       /* it will fire when the counter reaches `due` */
    uint64_t due;        /* the comparator, in 64 bits also in 32-bit mode */
    uint64_t last_ns;
    uint64_t deadline_ns; /* of the qvm's timer; 0: none */
    uint64_t fired;
};

struct hpet {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    uint64_t frequency;
    bool has_legacy, is_legacy_taken;
    uint32_t timer_count;
    uint64_t config, status;
    uint64_t counter; /* while it stands still; else its value at start_ns */
    uint64_t start_ns;
    struct timer timers[VDEV_TIMERS_MAX];
};

/* The legacy route is as the configuration register has it. */
void hpet_route_legacy(struct hpet *hpet);

int hpet_save(void *device);
int hpet_restore(void *device);

#endif
