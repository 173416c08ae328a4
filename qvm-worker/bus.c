/* Which device answers at a port or an address.
 *
 * Lock order, outermost first; nothing is taken against it:
 *   1  the gate of the vCPUs (vcpu_set.c): held for moments, never while a device is entered
 *   2  a device's own lock (vdev_host.c): one per device, never two at a time
 *   3  leaves, of which nobody holds two: an interrupt line's (vdev_host_service.c), a console
 *      ring's (console.c), the machine's events' (machine_event.c)
 * Kernel calls that set interrupt lines are made under 3; they do not come back to us. */
#include "qvm-worker/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

#define PORTS_END 0xffffull

struct bus_region {
    uint64_t first, last; /* both belong to it */
    bus_access_fn fn;
    void *device;
    uint32_t region;
    const char *name;
};

struct bus_table {
    struct bus_region *regions; /* ascending, none overlapping */
    uint32_t count, room;
};

struct bus {
    struct bus_table tables[BUS_SPACE_COUNT];
};

struct bus *bus_create(void)
{
    return calloc(1, sizeof(struct bus));
}

void bus_destroy(struct bus *bus)
{
    if (bus != NULL) {
        free(bus->tables[BUS_IO].regions);
        free(bus->tables[BUS_MEMORY].regions);
        free(bus);
    }
}

/* Index of the first region that ends at or after `address`; table->count if none does. */
static uint32_t find_from(const struct bus_table *table, uint64_t address)
{
    uint32_t low = 0, high = table->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (table->regions[middle].last < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static const struct bus_region *find(const struct bus_table *table, uint64_t address)
{
    uint32_t at = find_from(table, address);

    return at < table->count && table->regions[at].first <= address ? &table->regions[at] : NULL;
}

static int make_room(struct bus_table *table, struct err *err)
{
    uint32_t room = table->room == 0 ? 16 : 2 * table->room;
    struct bus_region *regions;

    if (table->count < table->room) {
        return 0;
    }
    if (table->count >= BUS_REGIONS_MAX) {
        return err_set(err, -ENOSPC, "more than %u regions of devices", BUS_REGIONS_MAX);
    }
    regions = realloc(table->regions, room * sizeof(*regions));
    if (regions == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    table->regions = regions;
    table->room = room;
    return 0;
}

int bus_add(struct bus *bus, enum bus_space space, uint64_t start, uint64_t size, bus_access_fn fn,
            void *device, uint32_t region, const char *name, struct err *err)
{
    struct bus_table *table = &bus->tables[space];
    const char *what = space == BUS_IO ? "ports" : "addresses";
    uint64_t last = start + size - 1, limit = space == BUS_IO ? PORTS_END : UINT64_MAX;
    uint32_t at;
    int r;

    if (size == 0 || last < start || last > limit) {
        return err_set(err, -EINVAL, "%s: no %" PRIu64 " %s at 0x%" PRIx64, name, size, what,
                       start);
    }
    at = find_from(table, start);
    if (at < table->count && table->regions[at].first <= last) {
        const struct bus_region *old = &table->regions[at];

        return err_set(err, -EEXIST,
                       "%s: %s 0x%" PRIx64 "-0x%" PRIx64 " belong to %s (0x%" PRIx64 "-0x%" PRIx64
                       ")",
                       name, what, start, last, old->name, old->first, old->last);
    }
    r = make_room(table, err);
    if (r != 0) {
        return r;
    }
    memmove(&table->regions[at + 1], &table->regions[at],
            (table->count - at) * sizeof(table->regions[0]));
    table->regions[at] = (struct bus_region){start, last, fn, device, region, name};
    table->count++;
    return 0;
}

const char *bus_owner(const struct bus *bus, enum bus_space space, uint64_t address)
{
    const struct bus_region *region = find(&bus->tables[space], address);

    return region == NULL ? NULL : region->name;
}

/* x86 is little-endian, and so is the process: bytes and value are the same thing. */
static void access_region(const struct bus_region *region, uint64_t address, uint8_t *data,
                          uint32_t size, bool is_write)
{
    uint64_t value = 0;

    if (is_write) {
        memcpy(&value, data, size);
    }
    region->fn(region->device, region->region, address - region->first, size, &value, is_write);
    if (!is_write) {
        memcpy(data, &value, size);
    }
}

static bool access_bytes(const struct bus_table *table, uint64_t address, uint8_t *data,
                         uint32_t size, bool is_write)
{
    bool is_claimed = false;

    for (uint32_t i = 0; i < size; i++) {
        const struct bus_region *region = find(table, address + i);

        if (region != NULL) {
            access_region(region, address + i, &data[i], 1, is_write);
            is_claimed = true;
        } else if (!is_write) {
            data[i] = 0xff;
        }
    }
    return is_claimed;
}

bool bus_access(const struct bus *bus, enum bus_space space, uint64_t address, uint8_t *data,
                uint32_t size, bool is_write)
{
    const struct bus_table *table = &bus->tables[space];
    uint32_t at = find_from(table, address);
    const struct bus_region *region = at < table->count ? &table->regions[at] : NULL;
    bool is_plain = size == 1 || size == 2 || size == 4 || size == 8;

    if (is_plain && region != NULL && region->first <= address &&
        size - 1 <= region->last - address) {
        access_region(region, address, data, size, is_write);
        return true;
    }
    if (region == NULL || (region->first > address && region->first - address >= size)) {
        if (!is_write) {
            memset(data, 0xff, size);
        }
        return false;
    }
    return access_bytes(table, address, data, size, is_write);
}
