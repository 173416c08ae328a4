#include "tests/guests/bare/smp.h"

#include "tests/guests/bare/acpi.h"
#include "tests/guests/bare/console.h"
#include "tests/guests/bare/interrupts.h"
#include "tests/guests/bare/layout.h"
#include "tests/guests/bare/machine.h"

enum { ICR_INIT = 0x4500, ICR_STARTUP = 0x4600 };
enum { SHORT_IDS = 255 };
enum { SIPI_TRIES = 2, ARRIVAL_MS = 500 };

/* entry.S; a started CPU writes its LAPIC id + 1 to `ap_arrived`. */
extern uint8_t ap_trampoline[], ap_trampoline_end[];
extern volatile uint32_t ap_arrived;
volatile uint32_t ap_arrived;

static bool start_one(uint32_t apic_id)
{
    ap_arrived = 0;
    lapic_send(apic_id, ICR_INIT);
    timer_wait(1);
    for (int try = 0; try < SIPI_TRIES; try++) {
        lapic_send(apic_id, ICR_STARTUP | AP_PAGE >> 12);
        for (int ms = 0; ms < ARRIVAL_MS && ap_arrived == 0; ms++) {
            timer_wait(1);
        }
        if (ap_arrived != 0) {
            return ap_arrived == apic_id + 1U;
        }
    }
    return false;
}

unsigned smp_start(void)
{
    uint32_t boot_id = lapic_id();
    unsigned up = 1;

    for (uint8_t *from = ap_trampoline, *to = (uint8_t *)AP_PAGE; from < ap_trampoline_end;) {
        *to++ = *from++;
    }
    print("cpu %u: boot cpu\n", (uint64_t)boot_id);
    for (unsigned i = 0; i < acpi_cpu_count(); i++) {
        if (acpi_cpu_apic_id(i) >= SHORT_IDS) {
            lapic_use_long_ids();
            break;
        }
    }
    timer_start();
    for (unsigned i = 0; i < acpi_cpu_count(); i++) {
        uint32_t apic_id = acpi_cpu_apic_id(i);

        if (apic_id == boot_id) {
            continue;
        }
        if (start_one(apic_id)) {
            print("cpu %u: up\n", (uint64_t)apic_id);
            up++;
        } else {
            print("cpu %u: did not come up\n", (uint64_t)apic_id);
        }
    }
    timer_stop();
    return up;
}
