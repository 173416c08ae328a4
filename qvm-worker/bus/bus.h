/* Which device answers at a port or an address: found in O(log n), without a lock.
 *
 * Regions are added on the control thread while no vCPU runs. Those of bus_map come and go while
 * vCPUs run (a guest moves its BARs): any number of threads look up at the same time as one
 * changes. A look-up never waits; it sees the tables as they were before a change or after it, and
 * those after it once the change is done. An access that is going on when its region goes is still
 * answered, so a device outlives the bus. Lock order: on top of bus.c. */
#ifndef QVM_WORKER_BUS_H
#define QVM_WORKER_BUS_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct bus;

enum bus_space { BUS_IO, BUS_MEMORY };
#define BUS_SPACE_COUNT 2

#define BUS_REGIONS_MAX 4096u /* of one space */

/* An access of 1, 2, 4 or 8 bytes that lies wholly inside region number `region` of `device`. A
 * read sets *value; bits above `size` bytes are ignored. Called on vCPU threads, several at once:
 * the device takes its own lock. */
typedef void (*bus_access_fn)(void *device, uint32_t region, uint64_t offset, uint32_t size,
                              uint64_t *value, bool is_write);

/* An access of what only keeps its place: reads find all bits set, writes are lost. */
void bus_nobody(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t *value,
                bool is_write);

struct bus *bus_create(void); /* NULL: no memory */
void bus_destroy(struct bus *bus);

/* Give `size` ports or addresses from `start` on to a device. `name` is how people know it ("vdev
 * ser8250", "the power ports"); it must live as long as the bus. -EEXIST: another device is there,
 * `err` names both. -EINVAL: empty, or outside the space. */
int bus_add(struct bus *bus, enum bus_space space, uint64_t start, uint64_t size, bus_access_fn fn,
            void *device, uint32_t region, const char *name, struct err *err);

/* The same at a guest's word, on any thread, also while vCPUs run: without words, and never at the
 * cost of what is there: -EEXIST. -EINVAL as above; -ENOSPC: BUS_REGIONS_MAX are there. */
struct bus_place {
    enum bus_space space;
    uint64_t start, size;
    bus_access_fn fn;
    void *device;
    uint32_t region;
    const char *name;
};
int bus_map(struct bus *bus, const struct bus_place *place);

/* Take back what bus_map put at `start`; nothing else may be there. */
void bus_unmap(struct bus *bus, enum bus_space space, uint64_t start);

/* Whether nobody has any of `size` ports or addresses from `start` on; otherwise *next is the first
 * one behind whom it found there. */
bool bus_is_free(const struct bus *bus, enum bus_space space, uint64_t start, uint64_t size,
                 uint64_t *next);

/* Who answers at `address`, or NULL. */
const char *bus_owner(const struct bus *bus, enum bus_space space, uint64_t address);

/* One access of a guest, `size` (1-8) bytes at `data`, little-endian. What crosses a border, or is
 * no power of two, goes byte by byte; reads that nobody claims give all ones, writes are lost.
 * Returns whether anybody answered. */
bool bus_access(const struct bus *bus, enum bus_space space, uint64_t address, uint8_t *data,
                uint32_t size, bool is_write);

#endif
