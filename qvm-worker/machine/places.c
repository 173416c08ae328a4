/* What of the ports and addresses no vdev can have. */
#include "qvm-worker/machine/places.h"

#include <stddef.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/vm/vm.h"

#define PHYSICAL_END (1ull << 52) /* Intel's manual, volume 3, 4.1.4: MAXPHYADDR is at most 52 */

/* Where the controllers are that KVM_CREATE_IRQCHIP makes. The LAPIC's page is where a guest finds
 * it; behind it the processor takes writes for interrupt messages. */
static const struct {
    enum bus_space space;
    uint64_t start, size;
    const char *name;
    bool is_chip; /* of those that may be vdevs */
} places[] = {
    {BUS_IO, 0x20, 2, "the 8259 interrupt controller", true},
    {BUS_IO, 0xa0, 2, "the second 8259 interrupt controller", true},
    {BUS_IO, 0x4d0, 2, "the 8259 interrupt controllers", true},
    {BUS_MEMORY, 0xfec00000, 0x1000, "the IOAPIC", true},
    {BUS_MEMORY, VM_RESERVED_START, VM_RESERVED_SIZE, "KVM", false},
    {BUS_MEMORY, 0xfee00000, 0x100000, "the local APICs", false},
    {BUS_MEMORY, PHYSICAL_END, UINT64_MAX - PHYSICAL_END + 1, "no processor", false},
};

int machine_places_claim(struct bus *bus, const struct memory *memory, bool has_kernel_chips,
                         bool has_shadow, struct err *err)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(memory, &count);
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(places); i++) {
        if (has_kernel_chips || !places[i].is_chip) {
            /* A guest that moves its LAPIC away comes here. */
            r = bus_add(bus, places[i].space, places[i].start, places[i].size, bus_nobody, NULL, 0,
                        places[i].name, err);
        }
    }
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        if (has_shadow && regions[i].start >= VM_SHADOW_START && regions[i].start < VM_SHADOW_END) {
            continue;
        }
        r = bus_add(bus, BUS_MEMORY, regions[i].start, regions[i].size, bus_nobody, NULL, 0,
                    "guest RAM", err);
    }
    regions = memory_roms(memory, &count);
    for (uint32_t i = 0; r == 0 && i < count; i++) { /* where writes to it come, and are lost */
        r = bus_add(bus, BUS_MEMORY, regions[i].start, regions[i].size, bus_nobody, NULL, 0,
                    "guest ROM", err);
    }
    return r;
}
