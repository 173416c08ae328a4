/* Which device answers at a port or an address.
 *
 * Lock order, outermost first; nothing is taken against it:
 *   1  the gate of the vCPUs (vcpu_set.c): held for moments, never while a device is entered
 *   2  the configuration space's (pci/): held while BARs move; a device is entered under it
 *   3  a device's own lock (vdev/host.c): one per device, never two at a time
 *   4  an interrupt line's (vdev/service.c, then intr_lines.c)
 *   5  an interrupt controller's that is a vdev, under which no line is set: the IOAPIC's, or the
 *      second 8259's, then the first's (vdev/chip.c)
 *   6  leaves, of which nobody holds two: the bus's own for changes (here), a PCI
 *      function's messages' (pci/message.c), under which alone another is taken, KVM's routes'
 *      (vm/routes.c), a console ring's (console.c), the machine's events' (machine/event.c), a
 *      device's doorbells' (vdev/event.c), an image's (image.c)
 * Kernel calls that set lines are made under 4 or 5; they do not come back to us.
 *
 * Each space has its table twice. A change writes the copy that nobody is sent to and then sends
 * the readers there; a reader that is overtaken by two changes sees by the generation that what it
 * read may be of both, and looks again. So there is no memory to give back, and nobody waits. */
#include "qvm-worker/bus/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
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

/* A region where it may be read while it is written. */
struct bus_cell {
    _Atomic uint64_t first, last;
    _Atomic(bus_access_fn) fn;
    _Atomic(void *) device;
    _Atomic uint32_t region;
    _Atomic(const char *) name;
};

struct bus_table {
    _Atomic uint32_t count;
    struct bus_cell cells[BUS_REGIONS_MAX]; /* ascending, none overlapping */
};

struct bus_side {
    struct bus_table tables[2];
    atomic_uint generation; /* its lowest bit says which one counts */
    pthread_mutex_t lock;   /* of who changes them */
};

struct bus {
    struct bus_side sides[BUS_SPACE_COUNT];
};

void bus_nobody(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t *value,
                bool is_write)
{
    (void)device;
    (void)region;
    (void)offset;
    (void)size;
    if (!is_write) {
        *value = UINT64_MAX;
    }
}

struct bus *bus_create(void)
{
    struct bus *bus = calloc(1, sizeof(*bus)); /* pages that nobody touches cost nothing */

    for (int i = 0; bus != NULL && i < BUS_SPACE_COUNT; i++) {
        (void)pthread_mutex_init(&bus->sides[i].lock, NULL); /* cannot fail for a plain one */
    }
    return bus;
}

void bus_destroy(struct bus *bus)
{
    if (bus != NULL) {
        for (int i = 0; i < BUS_SPACE_COUNT; i++) {
            (void)pthread_mutex_destroy(&bus->sides[i].lock); /* nobody holds it */
        }
        free(bus);
    }
}

static uint64_t get_last(const struct bus_table *table, uint32_t at)
{
    return atomic_load_explicit(&table->cells[at].last, memory_order_relaxed);
}

static uint32_t get_count(const struct bus_table *table)
{
    return atomic_load_explicit(&table->count, memory_order_relaxed);
}

static void get_region(const struct bus_table *table, uint32_t at, struct bus_region *region)
{
    const struct bus_cell *cell = &table->cells[at];

    region->first = atomic_load_explicit(&cell->first, memory_order_relaxed);
    region->last = atomic_load_explicit(&cell->last, memory_order_relaxed);
    region->fn = atomic_load_explicit(&cell->fn, memory_order_relaxed);
    region->device = atomic_load_explicit(&cell->device, memory_order_relaxed);
    region->region = atomic_load_explicit(&cell->region, memory_order_relaxed);
    region->name = atomic_load_explicit(&cell->name, memory_order_relaxed);
}

static void put_region(struct bus_table *table, uint32_t at, const struct bus_region *region)
{
    struct bus_cell *cell = &table->cells[at];

    atomic_store_explicit(&cell->first, region->first, memory_order_relaxed);
    atomic_store_explicit(&cell->last, region->last, memory_order_relaxed);
    atomic_store_explicit(&cell->fn, region->fn, memory_order_relaxed);
    atomic_store_explicit(&cell->device, region->device, memory_order_relaxed);
    atomic_store_explicit(&cell->region, region->region, memory_order_relaxed);
    atomic_store_explicit(&cell->name, region->name, memory_order_relaxed);
}

/* Index of the first region that ends at or after `address`; `count` if none does. */
static uint32_t find_from(const struct bus_table *table, uint32_t count, uint64_t address)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (get_last(table, middle) < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The first region that ends at or after `address`. Any thread, while others change the table. */
static bool find_next(const struct bus_side *side, uint64_t address, struct bus_region *region)
{
    for (;;) {
        unsigned generation = atomic_load_explicit(&side->generation, memory_order_acquire);
        const struct bus_table *table = &side->tables[generation & 1];
        uint32_t count = get_count(table);
        uint32_t at = find_from(table, count, address);

        if (at < count) {
            get_region(table, at, region);
        }
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&side->generation, memory_order_relaxed) == generation) {
            return at < count;
        }
    }
}

static bool find(const struct bus_side *side, uint64_t address, struct bus_region *region)
{
    return find_next(side, address, region) && region->first <= address;
}

/* The table to change, which nobody is sent to. The side is locked. */
static struct bus_table *begin_change(struct bus_side *side, const struct bus_table **now)
{
    unsigned generation = atomic_load_explicit(&side->generation, memory_order_relaxed);

    *now = &side->tables[generation & 1];
    /* Who reads what is written from here on also reads the generation that made it outdated. */
    atomic_thread_fence(memory_order_release);
    return &side->tables[(generation + 1) & 1];
}

static void end_change(struct bus_side *side, uint32_t count)
{
    unsigned generation = atomic_load_explicit(&side->generation, memory_order_relaxed) + 1;

    atomic_store_explicit(&side->tables[generation & 1].count, count, memory_order_relaxed);
    atomic_store_explicit(&side->generation, generation, memory_order_release);
}

/* Copy regions `from` to `count` of the table that counts, `by` places further on. */
static void copy_rest(struct bus_table *next, const struct bus_table *now, uint32_t from,
                      uint32_t count, int by)
{
    struct bus_region region;

    for (uint32_t i = from; i < count; i++) {
        get_region(now, i, &region);
        put_region(next, (uint32_t)((int)i + by), &region);
    }
}

/* -EEXIST: `old` is who is there. */
static int insert(struct bus_side *side, const struct bus_region *region, struct bus_region *old)
{
    const struct bus_table *now;
    struct bus_table *next = begin_change(side, &now);
    uint32_t count = get_count(now);
    uint32_t at = find_from(now, count, region->first);

    if (at < count) {
        get_region(now, at, old);
        if (old->first <= region->last) {
            return -EEXIST;
        }
    }
    if (count == BUS_REGIONS_MAX) {
        return -ENOSPC;
    }
    copy_rest(next, now, 0, at, 0);
    put_region(next, at, region);
    copy_rest(next, now, at, count, 1);
    end_change(side, count + 1);
    return 0;
}

static int locked_insert(struct bus_side *side, enum bus_space space,
                         const struct bus_region *region, uint64_t size, struct bus_region *old)
{
    uint64_t limit = space == BUS_IO ? PORTS_END : UINT64_MAX;
    int r;

    if (size == 0 || region->last < region->first || region->last > limit) {
        return -EINVAL;
    }
    (void)pthread_mutex_lock(&side->lock);
    r = insert(side, region, old);
    (void)pthread_mutex_unlock(&side->lock);
    return r;
}

int bus_add(struct bus *bus, enum bus_space space, uint64_t start, uint64_t size, bus_access_fn fn,
            void *device, uint32_t region, const char *name, struct err *err)
{
    const char *what = space == BUS_IO ? "ports" : "addresses";
    const struct bus_region new = {start, start + size - 1, fn, device, region, name};
    struct bus_region old = {0};
    int r = locked_insert(&bus->sides[space], space, &new, size, &old);

    switch (r) {
    case -EINVAL:
        return err_set(err, r, "%s: no %" PRIu64 " %s at 0x%" PRIx64, name, size, what, start);
    case -EEXIST:
        return err_set(
            err, r, "%s: %s 0x%" PRIx64 "-0x%" PRIx64 " belong to %s (0x%" PRIx64 "-0x%" PRIx64 ")",
            name, what, start, new.last, old.name, old.first, old.last);
    case -ENOSPC:
        return err_set(err, r, "more than %u regions of devices", BUS_REGIONS_MAX);
    default:
        return r;
    }
}

int bus_map(struct bus *bus, const struct bus_place *place)
{
    const struct bus_region new = {place->start,  place->start + place->size - 1,
                                   place->fn,     place->device,
                                   place->region, place->name};
    struct bus_region old;

    return locked_insert(&bus->sides[place->space], place->space, &new, place->size, &old);
}

void bus_unmap(struct bus *bus, enum bus_space space, uint64_t start)
{
    struct bus_side *side = &bus->sides[space];
    const struct bus_table *now;
    struct bus_table *next;
    uint32_t count, at;

    (void)pthread_mutex_lock(&side->lock);
    next = begin_change(side, &now);
    count = get_count(now);
    at = find_from(now, count, start);
    if (at < count && atomic_load_explicit(&now->cells[at].first, memory_order_relaxed) == start) {
        copy_rest(next, now, 0, at, 0);
        copy_rest(next, now, at + 1, count, -1);
        end_change(side, count - 1);
    }
    (void)pthread_mutex_unlock(&side->lock);
}

bool bus_is_free(const struct bus *bus, enum bus_space space, uint64_t start, uint64_t size,
                 uint64_t *next)
{
    struct bus_region region;

    if (!find_next(&bus->sides[space], start, &region) ||
        (region.first > start && region.first - start >= size)) {
        return true;
    }
    *next = region.last + 1;
    return false;
}

const char *bus_owner(const struct bus *bus, enum bus_space space, uint64_t address)
{
    struct bus_region region;

    return find(&bus->sides[space], address, &region) ? region.name : NULL;
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

static bool access_bytes(const struct bus_side *side, uint64_t address, uint8_t *data,
                         uint32_t size, bool is_write)
{
    bool is_claimed = false;

    for (uint32_t i = 0; i < size; i++) {
        struct bus_region region;

        if (find(side, address + i, &region)) {
            access_region(&region, address + i, &data[i], 1, is_write);
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
    const struct bus_side *side = &bus->sides[space];
    struct bus_region region;
    bool is_there = find_next(side, address, &region);
    bool is_plain = size == 1 || size == 2 || size == 4 || size == 8;

    if (is_plain && is_there && region.first <= address && size - 1 <= region.last - address) {
        access_region(&region, address, data, size, is_write);
        return true;
    }
    if (!is_there || (region.first > address && region.first - address >= size)) {
        if (!is_write) {
            memset(data, 0xff, size);
        }
        return false;
    }
    return access_bytes(side, address, data, size, is_write);
}
