/* ACPI's fixed hardware: what a firmware, and a guest that does not know the hardware-reduced kind,
 * finds as power management. ACPI 6.5, 4.8; offsets as of Intel's ICH9 (13.8.3).
 *
 * Event and control registers PM1a, the power management timer, an empty block of general purpose
 * events. The system control interrupt is level-triggered. There is no system management mode: the
 * machine is in ACPI mode from power-on. The timer's carry sets its status bit.
 *
 * Threads: accesses on vCPU threads, pm_press and pm_ring on any; a lock of a device's kind inside
 * (bus.c). */
#ifndef QVM_WORKER_MACHINE_PM_H
#define QVM_WORKER_MACHINE_PM_H

#include <stdbool.h>
#include <stdint.h>

struct bus;
struct pm;

#define PM_BASE         0x600u /* where it is without firmware, and where firmware puts it */
#define PM_SIZE         128u
#define PM_EVENT        0x00u /* status, enable: 16 bits each */
#define PM_CONTROL      0x04u
#define PM_TIMER        0x08u
#define PM_GPE0         0x20u
#define PM_EVENT_SIZE   4u
#define PM_CONTROL_SIZE 2u
#define PM_TIMER_SIZE   4u
#define PM_GPE0_SIZE    16u
#define PM_SCI          9u /* GSI */
#define PM_TIMER_HZ     3579545u
#define PM_SLEEP_OFF    5u /* sleep type of S5 */

struct pm_ops {
    void (*off)(void *context); /* the guest sleeps for good; on its vCPU's thread */
    void (*line)(void *context, uint32_t gsi, bool is_held);
    uint64_t (*now_ns)(void *context); /* a clock that never goes back */

    /* Call pm_tick at that time of it; 0: never mind. A lock is held. */
    void (*timer)(void *context, uint64_t deadline_ns);
};

struct pm *pm_create(struct bus *bus, const struct pm_ops *ops, void *context); /* NULL: no memory
                                                                                 */
void pm_destroy(struct pm *pm);

/* Have the registers answer at ports `base` on; 0: nowhere. One thread at a time. */
void pm_place(struct pm *pm, uint16_t base);

/* The power button. Any thread. */
void pm_press(struct pm *pm);

/* The real-time clock interrupts, whether or not anybody hears its line (4.8.3.1.1, RTC_STS). */
void pm_ring(struct pm *pm);

/* The time that ops->timer was told has come. Any thread. */
void pm_tick(struct pm *pm);

/* Power-on; the place stays. */
void pm_reset(struct pm *pm);

#endif
