/* What of the ports and addresses no vdev can have. */
#include "qvm-worker/machine_places.h"

#include <stddef.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/bus.h"
#include "qvm-worker/memory.h"
#include "qvm-worker/vm.h"

#define PHYSICAL_END (1ull << 52) /* Intel's manual, volume 3, 4.1.4: MAXPHYADDR is at most 52 */

/* Where the controllers are that KVM_CREATE_IRQCHIP makes. The LAPIC's page is where a guest finds
 * it; behind it the processor takes writes for interrupt messages. */
static const struct {
    enum bus_space space;
    uint64_t start, size;
    const char *name;
} places[] = {
    {BUS_IO, 0x20, 2, "the 8259 interrupt controller"},
    {BUS_IO, 0xa0, 2, "the second 8259 interrupt controller"},
    {BUS_IO, 0x4d0, 2, "the 8259 interrupt controllers"},
    {BUS_MEMORY, 0xfec00000, 0x1000, "the IOAPIC"},
    {BUS_MEMORY, VM_RESERVED_START, VM_RESERVED_SIZE, "KVM"},
    {BUS_MEMORY, 0xfee00000, 0x100000, "the local APICs"},
    {BUS_MEMORY, PHYSICAL_END, UINT64_MAX - PHYSICAL_END + 1, "no processor"},
};

/* A guest that moves its LAPIC away comes here: nobody answers. */
static void on_access(void *device, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write)
{
    (void)device;
    (void)region;
    (void)offset;
    (void)size;
    if (!is_write) {
        *value = UINT64_MAX;
    }
}

int machine_places_claim(struct bus *bus, const struct memory *memory, struct err *err)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(memory, &count);
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(places); i++) {
        r = bus_add(bus, places[i].space, places[i].start, places[i].size, on_access, NULL, 0,
                    places[i].name, err);
    }
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        r = bus_add(bus, BUS_MEMORY, regions[i].start, regions[i].size, on_access, NULL, 0,
                    "guest RAM", err);
    }
    return r;
}
